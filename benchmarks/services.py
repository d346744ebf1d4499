"""A PostgreSQL and a Redis of the benchmarks' own, both told to have on the disk what they have confirmed."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from cometbot.store.factory import database_from_url
from tests.postgres_server import PostgresServer

DURABLE = ("listen_addresses=", "max_connections=200", "log_min_messages=fatal", "shared_buffers=256MB")
_PATIENCE = 20.0
_names = count(1)


class Databases:
    """Makes databases with the current schema on one server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    def make(self) -> str:
        """The URL of an empty one."""
        name = f"bench_{next(_names)}"
        self._server.execute(f"CREATE DATABASE {name}")
        made = database_from_url(self._server.url(name))
        made.upgrade()
        made.close()
        return self._server.url(name)

    def drop(self, url: str) -> None:
        """Do without one that nobody uses any more."""
        name = url.rpartition("/")[2].partition("?")[0]
        self._server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def postgresql() -> Iterator[Databases]:
    """A server with its usual durability: fsync on, a commit waits for the disk."""
    server = PostgresServer(DURABLE)
    try:
        server.start()
        yield Databases(server)
    finally:
        server.stop()


@contextmanager
def redis() -> Iterator[str]:
    """The URL for Celery of a server that syncs its log before each answer."""
    with tempfile.TemporaryDirectory(prefix="cometbot-bench-") as folder:
        socket = Path(folder) / "redis.sock"
        options = ("--port", "0", "--unixsocket", str(socket), "--appendonly", "yes", "--appendfsync", "always")
        command = ["redis-server", *options, "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            end = time.monotonic() + _PATIENCE
            while not socket.exists():
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("redis-server did not start; apt-get install redis-server")
                time.sleep(0.05)
            yield f"redis+socket://{socket}"
        finally:
            process.terminate()
            process.wait(_PATIENCE)
