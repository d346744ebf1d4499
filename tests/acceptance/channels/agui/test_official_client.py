"""The official client of AG-UI and the protocol's validator, on what the real server sends, in both forms."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.channels.agui.conftest import TOKEN, AgentServer, StartAgent, run_validator
from tests.acceptance.conftest import ROOT, WAIT_TIMEOUT
from tests.acceptance.npm import find_node, install_package

pytestmark = pytest.mark.process

SCRIPT = Path(__file__).with_name("official_client.cjs")
VERSION = "1.0.0"
OLD_VERSION = "0.0.59"
"""The version that CopilotKit 1.75 has."""


@pytest.fixture(scope="module")
def server(start_agent: StartAgent) -> AgentServer:
    """A server that sends everything that it can."""
    return start_agent(AGUI_CUSTOM_EVENTS="1")


@pytest.mark.parametrize(("client", "protocol"), [(VERSION, "1.0"), (VERSION, "old"), (OLD_VERSION, "old")])
def test_official_client_and_validator_accept_every_answer(
    server: AgentServer, tmp_path: Path, client: str, protocol: str
) -> None:
    environ = {
        **os.environ,
        "PACKAGE": str(install_package("@ag-ui/client", client)),
        "CLIENT": client,
        "RUN_URL": server.run_url,
        "TOKEN": TOKEN,
        "VERSION": protocol,
        "RECORDINGS": str(tmp_path),
    }
    ended = subprocess.run(
        [find_node(), str(SCRIPT)], env=environ, capture_output=True, text=True, timeout=2 * WAIT_TIMEOUT, check=False
    )
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}\n{server.log[-3000:]}"
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert sorted(seen["done"]) == sorted(seen["known"])
    recordings = sorted(tmp_path.glob("*.sse"))
    assert len(recordings) > len(seen["done"])
    for recording in recordings:
        run_validator(str(recording))
    silent = (tmp_path / "silence-1.sse").read_bytes()
    assert b"\n\n: ping\n\ndata: " in silent


def test_validator_accepts_the_live_server(server: AgentServer) -> None:
    run_validator(server.run_url, "--header", f"Authorization: Bearer {TOKEN}")


def test_example_of_the_docs_runs(start_agent: StartAgent, tmp_path: Path) -> None:
    """The JavaScript of the page runs as it stands there, but for the host."""
    page = (ROOT / "docs" / "agui.md").read_text()
    found = re.search(r"```python\n(# bot.py\n.*?)```.*?```text\n(import { HttpAgent }.*?)```", page, re.DOTALL)
    assert found is not None
    bot, script = found.groups()
    (tmp_path / "bot.py").write_text(bot)
    server = start_agent(COMETBOT_BOT=f"{tmp_path}/bot.py:bot", COMETBOT_PROCESSES="1")
    assert "https://bots.example.com" in script
    (tmp_path / "call.mjs").write_text(script.replace("https://bots.example.com", server.url))
    (tmp_path / "node_modules").symlink_to(install_package("@ag-ui/client", VERSION) / "node_modules")
    command = [find_node(), str(tmp_path / "call.mjs")]
    environ = {**os.environ, "AGUI_TOKEN": TOKEN}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=WAIT_TIMEOUT, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Ask for /tea." in ended.stdout
    server.close()
