"""SIGHUP loads the bot's code again; code that cannot be loaded leaves the server as it was."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from ..conftest import ROOT, WAIT_TIMEOUT, wait_for
from ..test_serve import SERVE, Start, start
from .test_supervisor import MESSAGE, ServedBot

__all__ = ["start"]
pytestmark = pytest.mark.process

BOT = """
import logging
import pathlib

from cometbot import Bot

bot = Bot("shop")


@bot.fallback
def write(ctx):
    logging.getLogger("shop").warning("handled by version VERSION")
    pathlib.Path("handled").write_text("VERSION for " + ctx.event.text)
"""
BROKEN = BOT + "def f(:\n"
GUNICORN = (sys.executable, "-m", "gunicorn", "wsgi:app")


class Server(ServedBot):
    """A server of two processes whose bot's code changes under it."""

    def __init__(self, start: Start, folder: Path, url: str, command: tuple[str, ...] = SERVE) -> None:
        self._folder = folder
        self._ids = itertools.count(1)
        self._lengths = itertools.count(1)
        self.write("one")
        for name in ("wsgi.py", "gunicorn.conf.py"):
            shutil.copy(ROOT / name, folder)
        super().__init__(start, folder, url, command=command, COMETBOT_PROCESSES="2")
        wait_for(self.is_ready, WAIT_TIMEOUT, or_show=lambda: self.log)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log
        with suppress(requests.RequestException):
            return self.get("/readyz").ok
        return False

    def write(self, version: str, code: str = BOT) -> None:
        """Change the bot's code, and its length: Python takes a file of the same second and size for the same."""
        text = code.replace("VERSION", version) + "#" * next(self._lengths) + "\n"
        (self._folder / "served.py").write_text(text)

    def configure(self, lines: str) -> None:
        """Change the settings in the file ``.env``."""
        (self._folder / ".env").write_text(lines)

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def wait_for(self, condition: Callable[[], object]) -> None:
        wait_for(condition, WAIT_TIMEOUT, or_show=lambda: self.log)

    def get_version(self) -> str:
        """Return which version of the bot handled a new message, whose callback is answered with 200."""
        number = str(next(self._ids))
        data: dict[str, Any] = {**MESSAGE["data"], "id": number}  # type: ignore[dict-item]
        data["data"] = {**data["data"], "text": f"message {number}"}
        answer = requests.post(
            f"http://{self.address}/cometchat/shop",
            json={**MESSAGE, "data": data},
            auth=("cc", "password"),
            timeout=WAIT_TIMEOUT,
            headers={"Connection": "close"},
        )
        assert answer.status_code == 200, answer.text
        handled, end = self._folder / "handled", f" for message {number}"
        self.wait_for(lambda: handled.exists() and handled.read_text().endswith(end))
        return handled.read_text().removesuffix(end)

    def errors(self) -> list[str]:
        return [line for line in self.log.splitlines() if " ERROR " in line]


@pytest.fixture
def sqlite(start: Start, tmp_path: Path) -> Server:
    return Server(start, tmp_path, f"sqlite:///{tmp_path / 'bot.db'}")


@pytest.fixture
def gunicorn(start: Start, tmp_path: Path) -> Server:
    """``gunicorn wsgi:app`` with the files that ``cometbot init`` writes."""
    return Server(start, tmp_path, f"sqlite:///{tmp_path / 'bot.db'}", GUNICORN)


@pytest.fixture
def postgresql(start: Start, tmp_path: Path, postgres_url: str) -> Server:
    return Server(start, tmp_path, postgres_url)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Server:
    """The server that a test's parameter names."""
    made: Server = request.getfixturevalue(request.param)
    return made


def check_refused(server: Server, cause: str) -> None:
    """Send SIGHUP, and check that the log has one error more and that the old code goes on."""
    before = server.errors()
    server.reload()
    server.wait_for(lambda: len(server.errors()) > len(before))
    [error] = server.errors()[len(before) :]
    assert f"cannot reload: {cause}" in error
    assert "send SIGHUP again" in error
    assert [server.get_version() for _ in range(3)] == ["one"] * 3


@pytest.mark.parametrize("server", ["sqlite", "gunicorn", "postgresql"], indirect=True)
def test_reload_of_a_broken_bot_keeps_the_old_code(server: Server) -> None:
    assert server.get_version() == "one"
    server.write("two", BROKEN)
    check_refused(server, "the bot served:bot cannot be loaded; served.py, line 14: SyntaxError")
    for version in ("three", "four"):
        server.write(version)
        server.reload()
        server.wait_for(lambda version=version: server.get_version() == version)  # type: ignore[misc]
    assert len(server.errors()) == 1
    assert "Traceback" not in server.log
    server.process.terminate()
    assert server.process.wait(WAIT_TIMEOUT) == 0


@pytest.mark.parametrize("server", ["gunicorn", "postgresql"], indirect=True)
def test_reload_with_a_wrong_setting_keeps_the_old_settings(server: Server) -> None:
    server.configure("COMETBOT_HANDLER_TIMEOUT=soon\n")
    check_refused(server, "COMETBOT_HANDLER_TIMEOUT: expected a number of seconds")
    server.configure("")
    server.write("two")
    server.reload()
    server.wait_for(lambda: server.get_version() == "two")


@pytest.mark.parametrize(
    ("server", "is_read_again"),
    [("sqlite", False), ("gunicorn", True), ("postgresql", True)],
    indirect=["server"],
    ids=["sqlite", "gunicorn", "postgresql"],
)
def test_reload_reads_the_env_file_where_the_docs_say_so(server: Server, is_read_again: bool) -> None:
    server.configure("COMETBOT_LOG_FORMAT=json\n")
    server.write("two")
    server.reload()
    server.wait_for(lambda: server.get_version() == "two")
    [line] = [line for line in server.log.splitlines() if "handled by version two" in line][:1]
    assert line.startswith("{") == is_read_again


def test_worker_that_cannot_start_again_does_not_end_the_server(sqlite: Server, tmp_path: Path) -> None:
    # /readyz answers from the first worker that is ready; the other one has to have loaded the bot as well.
    with closing(sqlite3.connect(tmp_path / "bot.db")) as connection:
        count = "SELECT count(*) FROM processes"
        sqlite.wait_for(lambda: connection.execute(count).fetchone() == (2,))
    sqlite.write("two", BROKEN)
    [*_, booted] = [line for line in sqlite.log.splitlines() if "Booting worker with pid" in line]
    os.kill(int(booted.rpartition(" ")[2]), signal.SIGKILL)
    sqlite.wait_for(lambda: any("cannot start a worker" in line for line in sqlite.errors()))
    assert sqlite.get_version() == "one"
    sqlite.write("three")
    sqlite.wait_for(lambda: sqlite.get_version() == "three")
