"""Whose turn it is to write, among the processes that share an SQLite file."""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress

try:
    import fcntl
except ImportError:  # pragma: no cover - not on a system with flock
    fcntl = None  # type: ignore[assignment]

ACQUIRE_TIMEOUT = 0.05
"""Seconds that somebody waits for a turn, or to be let alone: a process that stands still would keep it for ever."""

MAX_SLEEP = 0.0001


class WriteLock:
    """A lock on a file beside the database, which orders those who ask for it; what keeps the file whole is SQLite's.

    SQLite's own lock is not to be had for as long as a transaction takes, and who waits for it sleeps up to 100 ms; of
    two busy processes one gets a fifth of the turns. This one is asked for again in short naps of random length. It
    is an order and no more: who does not get it in time goes on without, and a process that dies gives it up by that.
    """

    def __init__(self, path: str) -> None:
        self.is_held = False
        self._file = -1
        if path and fcntl is not None:
            with suppress(OSError):
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self, deadline: float) -> bool:
        """Whether it is ours now; waits for it until ``time.monotonic()`` reaches ``deadline``, and never for long."""
        deadline = min(deadline, time.monotonic() + ACQUIRE_TIMEOUT)
        while not self._try_acquire():
            if time.monotonic() >= deadline:
                return False
            sleep_randomly()
        return True

    def _try_acquire(self) -> bool:
        if self._file >= 0:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
        self.is_held = True
        return True

    def release(self) -> None:
        """Let others have it. Nothing, if it is not ours."""
        if self.is_held and self._file >= 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self.is_held = False

    def close(self) -> None:
        """Give back the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def sleep_randomly() -> None:
    """Sleep for a moment whose length nobody else has."""
    time.sleep(random.uniform(0.0, MAX_SLEEP))
