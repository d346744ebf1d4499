"""Everything that runs a bot: web processes, workers and their database, to be broken piece by piece."""

from __future__ import annotations

import os
import random
import resource
import secrets
import signal
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.postgres_server import PostgresServer

from ..conftest import ROOT, WAIT_TIMEOUT, Server, wait_for

COMETBOT = (sys.executable, "-m", "cometbot.cli")
_MARK = "COMETBOT_TEST_SYSTEM"
_MOVED_CLOCK_SITECUSTOMIZE = """
import os, time
_real, _file = time.time, os.environ["COMETBOT_TEST_CLOCK"]
def _moved():
    try:
        return _real() + float(open(_file).read() or 0)
    except OSError:
        return _real()
time.time = _moved
"""


@dataclass(frozen=True)
class Process:
    """One process of a system as it is now; ``role`` is ``supervisor``, ``gunicorn``, ``web`` or ``worker``."""

    pid: int
    parent: int
    role: str


class System(Server, ABC):
    """Processes and their database. What ends is started again by :meth:`restart_ended`, as a service manager would."""

    command = (*COMETBOT, "serve")
    workers = 0
    """How many ``cometbot worker`` run on other machines, so to say."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._mark = secrets.token_hex(8)
        self._clock_file = folder / "clock"
        (folder / "sitecustomize.py").write_text(_MOVED_CLOCK_SITECUSTOMIZE)
        own = {
            _MARK: self._mark,
            "COMETBOT_TEST_CLOCK": str(self._clock_file),
            "PYTHONPATH": f"{folder}:{ROOT}",
            "PYTHONFAULTHANDLER": "1",
        }
        super().__init__(folder, {**own, **self.database_environ(folder), **environ})
        self._other_workers: list[subprocess.Popen[bytes]] = []
        self.random = random.Random(4711)

    @abstractmethod
    def database_environ(self, folder: Path) -> dict[str, str]:
        """What tells processes of the database, which is there afterwards."""

    @contextmanager
    @abstractmethod
    def database_down(self) -> Iterator[None]:
        """Nobody can use the database."""

    def start(self) -> None:
        """Start what does not run, and wait until it is fit to get messages."""
        if self._process is None:
            self.restart_ended()
            self.wait_until(self._is_ready, WAIT_TIMEOUT)

    def restart_ended(self) -> None:
        """Start again what has ended."""
        if self._process is None or self._process.poll() is not None:
            self._process = self._open(self.command)
        self._other_workers = [one for one in self._other_workers if one.poll() is None]
        while len(self._other_workers) < self.workers:
            self._other_workers.append(self._open((*COMETBOT, "worker")))

    def _open(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command, cwd=ROOT, env=self._environ, stdout=log, stderr=log, start_new_session=True
            )

    def processes(self) -> list[Process]:
        """All that run, by the mark in their environment."""
        found: dict[int, tuple[int, str]] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"{_MARK}={self._mark}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                    continue
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                words = (folder / "cmdline").read_text().split("\0")
                kind = next((word for word in ("worker", "--no-handlers") if word in words), "serve")
                if state not in "ZX":
                    found[int(folder.name)] = int(parent), kind
        kinds = {kind for _, kind in found.values()}
        return [Process(pid, parent, self._role(found, parent, kind, kinds)) for pid, (parent, kind) in found.items()]

    @staticmethod
    def _role(found: Mapping[int, tuple[int, str]], parent: int, kind: str, kinds: set[str]) -> str:
        if kind == "worker":
            return kind
        if kind == "serve" and "--no-handlers" in kinds:
            return "supervisor"
        return "web" if parent in found and found[parent][1] == kind else "gunicorn"

    def pick_process(self, *roles: str) -> Process:
        """Some process, of one of these roles or of any."""

        def of_roles() -> list[Process]:
            return sorted((one for one in self.processes() if not roles or one.role in roles), key=lambda one: one.pid)

        return self.random.choice(wait_for(of_roles, or_show=lambda: self.log))

    def kill_one(self, *roles: str) -> None:
        """End a process at once, and have what is gone started again."""
        pid = self.pick_process(*roles).pid
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self.wait_until(lambda: pid not in {one.pid for one in self.processes()})
        for started in (self._process, *self._other_workers):
            if started is not None and started.pid == pid:
                started.wait(WAIT_TIMEOUT)
        self.wait_until_healthy()

    def kill(self) -> None:
        """End everything at once, as the end of the machine would."""
        while running := self.processes():
            for one in running:
                with suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGKILL)
        for process in [self._process, *self._other_workers]:
            if process is not None:
                process.wait(WAIT_TIMEOUT)
        self._process, self._other_workers = None, []

    def restart(self) -> None:
        self.kill()
        self.start()

    def terminate(self) -> int:
        """The worst exit status after SIGTERM to all that were started."""
        assert self._process is not None
        started = [self._process, *self._other_workers]
        for process in started:
            process.terminate()
        for process in started:
            self._wait_for_stop(process)
        self._process, self._other_workers = None, []
        self.wait_until(lambda: not self.processes())
        return max(abs(process.returncode) for process in started)

    def _wait_for_stop(self, process: subprocess.Popen[bytes]) -> None:
        try:
            process.wait(WAIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            for one in self.processes():
                os.kill(one.pid, signal.SIGABRT)  # it writes where all its threads are
            process.wait(WAIT_TIMEOUT)
            pytest.fail(f"{process.args} did not stop within {WAIT_TIMEOUT:g} s\n{self.log}")

    def wait_until_healthy(self) -> None:
        """Start again what has ended, and wait until all is as it should be."""

        def is_whole() -> bool:
            self.restart_ended()
            return self._is_answering()

        self.wait_until(is_whole, WAIT_TIMEOUT)

    def _is_answering(self) -> bool:
        with suppress(Exception):
            return self.get("/readyz").status_code == 200
        return False

    @contextmanager
    def paused(self, *roles: str) -> Iterator[None]:
        """All processes of these roles stand still, and then go on as if nothing had been."""
        stopped = [one.pid for one in self.processes() if one.role in roles]
        assert stopped, "there is nobody to be paused"
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def move_clock(self, seconds: float) -> None:
        """Let the wall clock of all processes differ from the real one by so much, from now on."""
        self._clock_file.write_text(str(seconds))

    def describe(self) -> str:
        """What is undone and who is alive, for a ledger that does not come out."""
        queries = (
            "SELECT state, count(*), min(due_at) FROM mailbox GROUP BY state",
            "SELECT state, count(*), min(due_at), max(attempts), max(error) FROM outbox GROUP BY state",
            "SELECT mail, process, count(*), min(due_at), max(due_at) FROM conversations GROUP BY mail, process",
            "SELECT * FROM processes",
            "SELECT * FROM pauses",
        )
        rows = [f"{sql}\n  {self.query(sql)}" for sql in queries]
        return "\n".join([*rows, *map(str, self.processes()), self.log[-6000:]])

    def close(self) -> None:
        self.kill()


class SQLiteSystem(System):
    """Two gunicorn workers that take in and handle, on one file."""

    def database_environ(self, folder: Path) -> dict[str, str]:
        return {}

    @contextmanager
    def database_down(self) -> Iterator[None]:
        connection = sqlite3.connect(self.database, timeout=WAIT_TIMEOUT, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
            connection.close()

    @contextmanager
    def disk_full(self) -> Iterator[None]:
        """The file of the database, and its log, cannot grow."""
        largest = max(file.stat().st_size for file in self.database.parent.glob(f"{self.database.name}*"))
        before = {}
        for one in self.processes():
            before[one.pid] = resource.prlimit(one.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(one.pid, resource.RLIMIT_FSIZE, (largest, before[one.pid][1]))
        try:
            yield
        finally:
            for pid, limits in before.items():
                with suppress(ProcessLookupError):
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


class PostgreSQLSystem(System):
    """``cometbot serve`` with the worker beside it, and one more ``cometbot worker`` as on another machine."""

    workers = 1
    server: PostgresServer

    def database_environ(self, folder: Path) -> dict[str, str]:
        name = f"faults_{self._mark}"
        self.server.copy("faults_template", name)
        self.database_url = self.server.url(name)
        return {"COMETBOT_DATABASE_URL": self.database_url, "COMETBOT_HANDLER_THREADS": "4"}

    def start(self) -> None:
        """As on one machine, and wait until every worker has begun: what a signal does to one before is no concern."""
        super().start()
        wanted = self.workers + ("--no-handlers" not in self.command)
        self.wait_until(lambda: self.query("SELECT COUNT(*) FROM processes") >= [(wanted,)], WAIT_TIMEOUT)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(sql).fetchall()

    @contextmanager
    def database_down(self) -> Iterator[None]:
        self.server.pg_ctl_stop()
        try:
            yield
        finally:
            self.server.pg_ctl_start()

    def move_clock(self, seconds: float) -> None:
        """The server's clock too, as statements of this database see it."""
        super().move_clock(seconds)
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            for name in ("clock_timestamp", "now"):
                connection.execute(
                    f"CREATE OR REPLACE FUNCTION public.{name}() RETURNS timestamptz LANGUAGE sql STABLE "
                    f"AS $$ SELECT pg_catalog.{name}() + interval '{seconds} s' $$"
                )
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
            # Who is connected keeps the old path: let everybody connect anew.
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
