"""``cometbot serve``: started and ended as an operator does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests.ports import HOST, free_port

from .conftest import ROOT, WAIT_TIMEOUT, wait_for

pytestmark = pytest.mark.process

COMETBOT = (sys.executable, "-c", "from cometbot.cli import main; main(prog_name='cometbot')")
SERVE = (*COMETBOT, "serve")
BOT = """
import os
from cometbot import Bot
bot = Bot("shop")
other = Bot("news")
print("spec", os.environ["COMETBOT_BOT"], "threads", os.environ.get("COMETBOT_THREADS"), flush=True)
"""

SLOW = (
    BOT
    + """
import pathlib
import time
loads = pathlib.Path("loads")
with loads.open("a") as file:
    file.write("x")
if loads.stat().st_size > 2:  # the trial, and the first of two processes
    time.sleep(300)
"""
)

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start ``cometbot serve`` with these words in a folder that has a bot; its output goes to the file ``log``."""
    with starting_in(tmp_path) as start:
        yield start


@contextmanager
def starting_in(tmp_path: Path) -> Iterator[Start]:
    """Yield what starts servers in a folder. They end with the block."""
    (tmp_path / "served.py").write_text(BOT)
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "broken.py").write_text("x = 1\ndef f(:\n")
    (tmp_path / "needy.py").write_text("import nonesuch\n")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("COMET", "PROMETHEUS"))}
    given = {
        "COMETBOT_DATABASE_URL": f"sqlite:///{tmp_path / 'bot.db'}",
        "COMETBOT_CALLBACK_USERNAME": "cc",
        "COMETBOT_CALLBACK_PASSWORD": "password",
        "COMETCHAT_APP_ID": "app1",
        "COMETCHAT_API_URL": "http://127.0.0.1:9/v3",
        "COMETCHAT_API_KEY": "key",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(tmp_path),
    }
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, command: Sequence[str] = SERVE, **variables: str) -> subprocess.Popen[str]:
        with (tmp_path / "log").open("w") as log:
            started.append(
                subprocess.Popen(
                    [*command, *words],
                    cwd=tmp_path,
                    env={**kept, **given, **variables},
                    stdout=log,
                    stderr=log,
                    text=True,
                )
            )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.wait(WAIT_TIMEOUT)


def free_address() -> str:
    return f"{HOST}:{free_port()}"


def wait_ready(address: str, process: subprocess.Popen[str], log: Path) -> None:
    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        with suppress(requests.RequestException):
            return requests.get(f"http://{address}/readyz", timeout=WAIT_TIMEOUT, headers={"Connection": "close"}).ok
        return False

    wait_for(is_ready, or_show=log.read_text)


def test_serve_prefers_the_named_bot(start: Start, tmp_path: Path) -> None:
    address = free_address()
    process = start(
        "served:bot", "--bind", address, "--processes", "1", "--threads", "3",
        COMETBOT_BOT="nowhere:bot", COMETBOT_BIND="127.0.0.1:1",
    )  # fmt: skip
    wait_ready(address, process, tmp_path / "log")
    url = f"http://{address}/cometchat"
    assert requests.post(f"{url}/shop", json={}, timeout=WAIT_TIMEOUT).status_code == 401
    assert requests.post(f"{url}/news", json={}, timeout=WAIT_TIMEOUT, auth=("cc", "password")).status_code == 404
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT_TIMEOUT) == 0
    log = (tmp_path / "log").read_text()
    assert "spec served:bot threads 3" in log
    assert log.count("Booting worker") == 1
    assert "alembic" not in log
    assert "Traceback" not in log


def test_it_serves_what_the_environment_names(start: Start, tmp_path: Path) -> None:
    address = free_address()
    process = start(COMETBOT_BOT="served.py:bot,served:other", COMETBOT_BIND=address, COMETBOT_PROCESSES="2")
    wait_ready(address, process, tmp_path / "log")
    for name in ("shop", "news"):
        assert requests.post(f"http://{address}/cometchat/{name}", json={}, timeout=WAIT_TIMEOUT).status_code == 401
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_TIMEOUT) == 0


def test_a_stop_while_a_process_is_still_starting_is_no_failure(start: Start, tmp_path: Path) -> None:
    address = free_address()
    process = start("slow:bot", "--bind", address, "--processes", "2")
    wait_ready(address, process, tmp_path / "log")
    wait_for(lambda: (tmp_path / "loads").stat().st_size == 3, or_show=(tmp_path / "log").read_text)
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT_TIMEOUT) == 0, (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("words", "variables", "sentence"),
    [
        ([], {}, "cometbot: no bot is named and there is no bot.py here in"),
        (["served:bott"], {}, "cometbot: the module served has no 'bott'; it has: bot, other"),
        (["served:bot", "--threads", "many"], {}, "cometbot: COMETBOT_THREADS: expected a whole number"),
        (["served:bot", "--bind", "here"], {}, "cometbot: COMETBOT_BIND: expected HOST:PORT"),
        (["served:bot"], {"COMETBOT_CALLBACK_USERNAME": ""}, "COMETBOT_CALLBACK_PASSWORD is set and"),
        (["broken:bot"], {}, "cometbot: the bot broken:bot cannot be loaded; broken.py, line 2: SyntaxError: invalid"),
        (["served:bot"], {"COMETCHAT_API_KEY": ""}, "COMETCHAT_API_KEY"),
        (
            ["served:bot"],
            {"COMETBOT_CALLBACK_USERNAME": "", "COMETBOT_CALLBACK_PASSWORD": ""},
            "the callback of shop has no credentials",
        ),
        (
            ["served:bot"],
            {"COMETBOT_DATABASE_URL": "sqlite:////nowhere/bot.db"},
            "cometbot: the folder /nowhere of the database does not exist. Create it, or set COMETBOT_DATABASE_URL.",
        ),
        (["served:bot"], {"COMETBOT_DATABASE_URL": "sqlite:///served.py"}, "served.py: file is not a database. Check"),
        (["served:bot"], {"COMETBOT_DATABASE_URL": "sqlite:///:memory:"}, "set one with three slashes"),
        (["needy:bot"], {}, "needy.py, line 1: ModuleNotFoundError: No module named 'nonesuch'"),
    ],
)
def test_serve_of_an_invalid_bot_exits_with_2(
    start: Start, tmp_path: Path, words: list[str], variables: dict[str, str], sentence: str
) -> None:
    process = start(*words, **{"COMETBOT_BIND": free_address(), **variables})
    assert process.wait(WAIT_TIMEOUT) == 2
    log = (tmp_path / "log").read_text()
    assert log.startswith("cometbot: ")
    assert sentence in log
    assert log.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite:////nowhere/bot.db", "cometbot: the folder /nowhere of the database does not exist"),
        ("sqlite://", "cometbot: COMETBOT_DATABASE_URL names no file"),
        ("postgresql://u:p@127.0.0.1:1/d?pgbouncer=true", 'invalid connection option "pgbouncer"'),
        ("postgresql://u:p@s3cret@127.0.0.1:1/d", "write @ in the password as %40"),
    ],
)
def test_gunicorn_exits_with_2_before_any_worker(tmp_path: Path, url: str, sentence: str) -> None:
    (tmp_path / "served.py").write_text(BOT)
    for name in ("wsgi.py", "gunicorn.conf.py"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("COMET", "PROMETHEUS"))}
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        cwd=tmp_path,
        env={
            **kept,
            "COMETBOT_BOT": "served:bot",
            "COMETBOT_DATABASE_URL": url,
            "COMETBOT_BIND": free_address(),
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        timeout=WAIT_TIMEOUT,
    )
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr.splitlines()[-1]
    assert "Booting worker" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr
