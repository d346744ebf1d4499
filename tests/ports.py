"""Ports for servers that tests start, each of them nobody else's as long as this process runs.

A port that is asked of the kernel and given back is anybody's until the server listens on it: another test process
may get it, and so may a connection, even the one that asks whether the server is there yet.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path

HOST = "127.0.0.1"
_FIRST, _LAST = 20_000, 32_000
"""Below what Linux gives to connections and to servers that ask for any port."""
_PORTS_PER_WORKER = 200
"""How many ports one process takes for itself."""


def free_port() -> int:
    """A port of this machine on which nobody listens, and which no other test process is given."""
    for port in itertools.islice(_ports(), _PORTS_PER_WORKER):
        try:
            socket.create_server((HOST, port)).close()
        except OSError:
            continue
        return port
    raise RuntimeError(f"all {_PORTS_PER_WORKER} ports of this process are taken")


@cache
def _ports() -> Iterator[int]:
    """This process's ports, over and over."""
    folder = Path("/tmp", f"cometbot-test-ports-{os.getuid()}")  # of all runs, whatever TMPDIR they have
    folder.mkdir(exist_ok=True)
    for first in range(_FIRST, _LAST, _PORTS_PER_WORKER):
        # The lock is held until the process ends: nobody closes this.
        lock = os.open(folder / str(first), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return itertools.cycle(range(first, first + _PORTS_PER_WORKER))
    raise RuntimeError(f"all ports from {_FIRST} to {_LAST} are taken by test processes")
