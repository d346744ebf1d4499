"""The command line, where something is not set up or not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial

from cometbot.testing import FakeSimplexCLI
from tests.cases.case import Case, Finding, check
from tests.cases.server import ROOT, wait_for
from tests.ports import HOST, free_port

BOT = """
from cometbot import Bot
bot = Bot("shop", description="Sells.")
@bot.fallback
def answer(ctx):
    return "hello"
"""
WITHOUT_EXTRA = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jwt", "ulid"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Missing())
"""
"""As installed without the extra ``chat``."""


def clean_environ(case: Case) -> dict[str, str]:
    """The environment without settings of cometbot."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COMET", "PLATFORM_", "CHAT_API_", "SIMPLEX"))}
    return {**kept, "PYTHONPATH": f"{case.work}:{ROOT}"}


def run(case: Case, arguments: Sequence[str], **variables: str) -> tuple[int, str]:
    """Exit status and output of ``cometbot`` in the case's folder."""
    environ = {**clean_environ(case), **variables}
    command = [sys.executable, "-m", "cometbot.cli", *arguments]
    done = subprocess.run(command, cwd=case.work, env=environ, capture_output=True, text=True, timeout=180, check=False)
    return done.returncode, done.stdout + done.stderr


@check("chat/11-doctor-other-channels")
def doctor(case: Case) -> Finding:
    """A sound installation without the CometChat channel: served, and without callback credentials."""
    (case.work / "bot.py").write_text(BOT)
    cli = case.stack.enter_context(FakeSimplexCLI())
    seen = {}
    for channel in ("platform", "chat_api", "simplex"):
        place = f"sqlite:///{case.work}/{channel}.db"
        variables = {"COMETBOT_CHANNELS": channel, "COMETBOT_DATABASE_URL": place, "SIMPLEX_URL": cli.url}
        serve(case, "simplex" if channel == "simplex" else "serve", variables)
        examine = partial(run, case, ["doctor", "bot.py:bot"], **variables)
        wait_for(lambda examine=examine: examine()[0] == 0, 20)  # type: ignore[misc]
        status, text = examine()
        failed = [line.strip() for line in text.splitlines() if line.strip().startswith("✗")]
        seen[channel] = f"exit {status} {failed}"
    return Finding("exit 0 for each channel", str(seen), all(text.startswith("exit 0") for text in seen.values()))


def serve(case: Case, command: str, variables: Mapping[str, str]) -> None:
    """Serve the case's bot until the case ends."""
    environ = {**clean_environ(case), **variables, "COMETBOT_BIND": f"{HOST}:{free_port()}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "cometbot.cli", command, "bot.py:bot"],
        cwd=case.work,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    case.stack.callback(process.wait, 60)
    case.stack.callback(process.terminate)


@check("chat/22-platform-command-without-extra")
def without_extra(case: Case) -> Finding:
    (case.work / "bot.py").write_text(BOT)
    (case.work / "sitecustomize.py").write_text(WITHOUT_EXTRA)
    variables = {"COMETBOT_CHANNELS": "platform", "COMETBOT_BOT": "bot.py:bot"}
    status, text = run(case, ["platform", "files", "list"], **variables)
    is_well = status == 2 and "pip install 'cometbot[chat]'" in text and "Traceback" not in text
    lines = text.strip().splitlines()
    seen = f"exit {status}, {len(lines)} lines, the last: {lines[-1] if lines else ''}"
    return Finding("exit 2 and pip install 'cometbot[chat]'", seen, is_well)
