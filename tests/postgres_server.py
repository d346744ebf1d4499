"""A PostgreSQL of the tests' own: Debian's binaries, a fresh folder, a unix socket and no port."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psycopg

from cometbot.temporary_folders import TemporaryFolder

SETTINGS = ("fsync=off", "full_page_writes=off", "listen_addresses=", "max_connections=200", "log_min_messages=fatal")
USER = "postgres"


def binaries() -> Path:
    """The folder with ``initdb``. Raises RuntimeError, with what to install, if there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    found = shutil.which("initdb")
    for folder in [*folders, *([Path(found).parent] if found else [])]:
        if (folder / "initdb").exists():
            return folder
    raise RuntimeError("the tests need PostgreSQL: apt-get install postgresql (make test does it)")


class PostgresServer:
    """A server that is there from :meth:`start` to :meth:`stop`. As root it runs as the user postgres, which it
    insists on."""

    def __init__(self, settings: Sequence[str] = SETTINGS) -> None:
        self._settings = settings
        self._bin = binaries()
        self._temporary = TemporaryFolder("pg")
        # This user must own the outer folder: only then is it removed after a kill.
        self._temporary.path.chmod(0o755)
        self._folder = self._temporary.path / "server"
        self._data = self._folder / "data"
        self._folder.mkdir(0o700)
        if os.geteuid() == 0:
            shutil.chown(self._folder, USER, USER)

    def start(self) -> None:
        self._run(
            "initdb",
            "--no-sync",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            f"--username={USER}",
            "-D",
            self._data,
        )
        self.pg_ctl_start()

    def pg_ctl_start(self, mode: str = "start") -> None:
        """Start it, or start it again, on the data that it has."""
        options = " ".join(f"-c {setting}" for setting in (*self._settings, f"unix_socket_directories={self._folder}"))
        self._run("pg_ctl", "-D", self._data, "-o", options, "-l", self._folder / "log", "-w", "-t", "120", mode)

    def start_standby(self, primary: PostgresServer) -> None:
        """Begin as a copy of ``primary`` that follows it and takes no writes until :meth:`promote`."""
        self._run("pg_basebackup", "-D", self._data, "-d", primary.url("replication"), "-R", "--no-sync", "-c", "fast")
        self.pg_ctl_start()

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "-D", self._data, "-w", "promote")

    @property
    def socket(self) -> str:
        """The path of its unix socket."""
        return f"{self._folder}/.s.PGSQL.5432"

    def pg_ctl_stop(self, how: str = "immediate") -> None:
        """Stop it, as a crash would."""
        self._run("pg_ctl", "-D", self._data, "-m", how, "-w", "stop")

    def stop(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self.pg_ctl_stop()
        self._temporary.close()

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}@/{database}?host={self._folder}"

    def copy(self, template: str, name: str) -> None:
        """Make the database ``name`` as ``template`` is, which nobody may be connected to."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            # The other way, the usual one since version 15, writes all of it to the log as well.
            strategy = " STRATEGY FILE_COPY" if connection.info.server_version >= 150_000 else ""
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}{strategy}".encode())

    def drop(self, name: str) -> None:
        """Remove a database, and whoever is connected to it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._bin / program), *map(str, arguments)]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", *command]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=180)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")
