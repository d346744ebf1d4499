"""A PgBouncer as Debian ships it, in session mode."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from cometbot.temporary_folders import TemporaryFolder
from tests.ports import HOST, free_port
from tests.postgres_server import USER

SETTINGS = """
[databases]
* = host={folder} user={user}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = session
default_pool_size = {size}
logfile = {place}/log
pidfile = {place}/pid
"""


class PgBouncer:
    """Hands out at most ``size`` connections to the server whose sockets are in ``folder``."""

    def __init__(self, folder: Path, size: int = 20) -> None:
        self.port = free_port()
        self._temporary = TemporaryFolder("pgbouncer")
        # This user must own the outer folder: only then is it removed after a kill.
        self._temporary.path.chmod(0o755)
        self._place = self._temporary.path / "server"
        self._place.mkdir()
        values = {"folder": folder, "user": USER, "host": HOST, "port": self.port, "size": size, "place": self._place}
        (self._place / "ini").write_text(SETTINGS.format(**values))
        command = [shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", str(self._place / "ini")]
        if os.geteuid() == 0:
            shutil.chown(self._place, USER, USER)
            command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", *command]
        self._process = subprocess.Popen(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()

    def _wait(self, seconds: float = 60.0) -> None:
        ends_at = time.monotonic() + seconds
        while True:
            with suppress(OSError), socket.create_connection((HOST, self.port), timeout=seconds):
                return
            assert self._process.poll() is None, (self._place / "log").read_text()
            assert time.monotonic() < ends_at, "pgbouncer does not listen"
            time.sleep(0.02)

    def url(self, database: str) -> str:
        """The URL of a database behind it."""
        return f"postgresql://{USER}@{HOST}:{self.port}/{database}"

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)
        self._temporary.close()
