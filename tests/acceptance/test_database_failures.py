"""A server whose SQLite database is lost, or whose disk is full, as its operator and its callers see it.

What each kind of damage is answered stands in `tests/integration/web/test_database_failures.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from .conftest import GUNICORN, CometChatDriver, Server, StartServer

PROBES = 20
"""Requests on connections of their own, which reach every process of a server."""


def errors(server: Server) -> list[str]:
    """The log lines of level ERROR on the database."""
    return [line for line in server.log.splitlines() if re.search(r"ERROR +cometbot\.", line)]


def test_replaced_database_is_refused_by_old_and_new_processes(
    start_server: StartServer, platform: CometChatDriver
) -> None:
    server = start_server(COMETBOT_PROCESSES="2")
    assert server.post(platform.callback(platform.write("hello"))).status_code == 200
    server.wait_until(lambda: server.query("SELECT count(*) FROM processes") == [(2,)])

    copy = server.database.with_name("backup.db")
    shutil.copyfile(server.database, copy)
    os.replace(copy, server.database)
    workers = re.findall(r"Booting worker with pid: (\d+)", server.log)
    os.kill(int(workers[0]), signal.SIGKILL)
    server.wait_until(lambda: server.get("/readyz") is not None and "while other processes use it" in server.log)

    answers = [server.post(platform.callback(platform.write("hello"))) for _ in range(PROBES)]
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(503, "ERR_UNAVAILABLE")}
    checks = [server.get("/readyz") for _ in range(PROBES)]
    assert {answer.status_code for answer in checks} == {503}
    assert all(answer.json()["checks"]["database"].startswith("failed: ") for answer in checks)
    assert 1 <= len(errors(server)) <= len(workers) + 1, server.log
    assert all("docs/upgrading.md" in error for error in errors(server))


class SmallDiskServer(Server):
    """A server whose database is on a disk of 3 MB: a file system in memory, in a user namespace of its own."""

    @property
    def folder(self) -> Path:
        return self.marks_folder.with_name("disk")

    def start(self) -> None:
        """Begin on a disk of its own, and wait until it is fit to get messages."""
        self.folder.mkdir()
        self._environ["COMETBOT_DATABASE_URL"] = f"sqlite:///{self.folder}/bot.db"
        mount = 'mount -t tmpfs -o size=3m tmpfs "$0" && exec "$@"'
        self.command = ("unshare", "-Urm", "sh", "-c", mount, str(self.folder), *GUNICORN)
        super().start()

    @property
    def disk(self) -> Path:
        """The disk as other processes see it."""
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/root{self.folder}")


@pytest.fixture
def small_disk_server(start_server: StartServer) -> SmallDiskServer:
    tried = subprocess.run(["unshare", "-Urm", "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.fail(
            f"cannot make a file system for this test: {tried.stderr.strip()}. "
            "Allow user namespaces (sysctl kernel.unprivileged_userns_clone=1), or run the tests as root."
        )
    server = start_server(kind=SmallDiskServer, COMETBOT_PROCESSES="1")
    assert isinstance(server, SmallDiskServer)
    return server


def test_full_disk_is_reported_until_there_is_room(
    small_disk_server: SmallDiskServer, platform: CometChatDriver
) -> None:
    server = small_disk_server
    filler = server.disk / "filler"
    filler.write_bytes(b"\0" * (os.statvfs(server.disk).f_bavail * 4096 - 32768))
    server.wait_until(lambda: server.get("/readyz").status_code == 503)
    answers = [server.post(platform.callback(platform.write("x" * 8_000)))]
    while answers[-1].status_code == 200 and len(answers) < PROBES:
        answers.append(server.post(platform.callback(platform.write("x" * 8_000))))
    answer = answers[-1]
    assert answer.json()["error"]["code"] == "ERR_UNAVAILABLE"
    assert "full" in answer.text
    assert "full" in server.get("/readyz").json()["checks"]["database"]
    assert len(errors(server)) == 1, server.log
    assert 'cometbot_database_failures_total{kind="full"}' in server.get("/metrics").text

    filler.unlink()
    server.wait_until(lambda: server.post(platform.callback(platform.write("hello"))).status_code == 200)
