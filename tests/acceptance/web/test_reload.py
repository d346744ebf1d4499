"""SIGHUP loads the bot's code again; code that cannot be loaded leaves the server as it was."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from cometbot.temporary_folders import TemporaryFolder

from ..conftest import ROOT, WAIT_TIMEOUT, wait_for
from ..test_serve import SERVE, Start, starting_in
from .test_supervisor import MESSAGE, ServedBot

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
        self.folder = folder
        self._ids = itertools.count(1)
        self._lengths = itertools.count(1)
        self._versions = itertools.count(1)
        self.write_next()
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
        (self.folder / "served.py").write_text(text)

    def write_next(self) -> str:
        """Change the bot's code to another version, and return that."""
        version = f"v{next(self._versions)}"
        self.write(version)
        return version

    def configure(self, lines: str) -> None:
        """Change the settings in the file ``.env``."""
        (self.folder / ".env").write_text(lines)

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
        handled, end = self.folder / "handled", f" for message {number}"
        self.wait_for(lambda: handled.exists() and handled.read_text().endswith(end))
        return handled.read_text().removesuffix(end)

    def errors(self) -> list[str]:
        return [line for line in self.log.splitlines() if " ERROR " in line]


MakeServer = Callable[[str], Server]


@pytest.fixture(scope="module")
def make_server(make_postgres_database: Callable[[], str]) -> Iterator[MakeServer]:
    """Makes a server of each kind once: a reload leaves it whole. ``gunicorn`` has the files of ``cometbot init``.

    Each has to end with exit status 0, whatever it has reloaded.
    """
    servers: list[Server] = []
    with ExitStack() as stack:

        @functools.cache
        def make(kind: str) -> Server:
            folder = stack.enter_context(TemporaryFolder("test"))
            start = stack.enter_context(starting_in(folder))
            url = make_postgres_database() if kind == "postgresql" else f"sqlite:///{folder / 'bot.db'}"
            servers.append(Server(start, folder, url, GUNICORN if kind == "gunicorn" else SERVE))
            return servers[-1]

        yield make
        for server in servers:
            server.process.terminate()
        for server in servers:
            assert server.process.wait(WAIT_TIMEOUT) == 0, server.log


@pytest.fixture
def server(request: pytest.FixtureRequest, make_server: MakeServer) -> Iterator[Server]:
    """The server of the kind that a test's parameter names.

    Whatever the test has left, a reload has to load the next version, with an empty ``.env`` again.
    """
    made = make_server(request.param)
    yield made
    made.configure("")
    check_reload(made)


def check_refused(server: Server, cause: str) -> None:
    """Send SIGHUP, and check that the log has one error more and that the old code goes on."""
    before, version = server.errors(), server.get_version()
    server.reload()
    server.wait_for(lambda: len(server.errors()) > len(before))
    [error] = server.errors()[len(before) :]
    assert f"cannot reload: {cause}" in error
    assert "send SIGHUP again" in error
    assert [server.get_version() for _ in range(3)] == [version] * 3


def check_reload(server: Server) -> str:
    """Write another version, send SIGHUP, and return the version when a message was handled by it."""
    version = server.write_next()
    server.reload()
    server.wait_for(lambda: server.get_version() == version)
    return version


@pytest.mark.parametrize("server", ["sqlite", "gunicorn", "postgresql"], indirect=True)
def test_reload_of_a_broken_bot_keeps_the_old_code(server: Server) -> None:
    before = len(server.errors())
    server.write("broken", BROKEN)
    check_refused(server, "the bot served:bot cannot be loaded; served.py, line 14: SyntaxError")
    check_reload(server)
    check_reload(server)
    assert len(server.errors()) == before + 1
    assert "Traceback" not in server.log


@pytest.mark.parametrize("server", ["gunicorn", "postgresql"], indirect=True)
def test_reload_with_a_wrong_setting_keeps_the_old_settings(server: Server) -> None:
    server.configure("COMETBOT_HANDLER_TIMEOUT=soon\n")
    check_refused(server, "COMETBOT_HANDLER_TIMEOUT: expected a number of seconds")


@pytest.mark.parametrize("server", ["sqlite"], indirect=True)
def test_worker_that_cannot_start_again_does_not_end_the_server(server: Server) -> None:
    # /readyz answers from the first worker that is ready; the other one has to have loaded the bot as well.
    with closing(sqlite3.connect(server.folder / "bot.db")) as connection:
        count = "SELECT count(*) FROM processes"
        server.wait_for(lambda: connection.execute(count).fetchone() == (2,))
    version = server.get_version()
    server.write("broken", BROKEN)
    [*_, booted] = [line for line in server.log.splitlines() if "Booting worker with pid" in line]
    os.kill(int(booted.rpartition(" ")[2]), signal.SIGKILL)
    server.wait_for(lambda: any("cannot start a worker" in line for line in server.errors()))
    assert server.get_version() == version
    version = server.write_next()
    server.wait_for(lambda: server.get_version() == version)


@pytest.mark.parametrize(
    ("server", "is_read_again"),
    [("sqlite", False), ("gunicorn", True), ("postgresql", True)],
    indirect=["server"],
    ids=["sqlite", "gunicorn", "postgresql"],
)
def test_reload_reads_the_env_file_where_the_docs_say_so(server: Server, is_read_again: bool) -> None:
    server.configure("COMETBOT_LOG_FORMAT=json\n")
    version = check_reload(server)
    [line] = [line for line in server.log.splitlines() if f"handled by version {version}" in line][:1]
    assert line.startswith("{") == is_read_again
