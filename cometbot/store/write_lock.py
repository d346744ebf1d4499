"""The lock that orders the writes of the processes that share an SQLite file."""

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
"""Maximum seconds to wait for the lock: a process that stands still would hold it for ever."""

MAX_SLEEP = 0.0001


class WriteLock:
    """An advisory lock on a file beside the database, for fairness only; SQLite's own lock protects the data.

    SQLite's lock is held for as long as a transaction lasts, and a process that waits for it sleeps up to 100 ms; of
    two busy processes, one gets a fifth of the turns. This lock is retried after short sleeps of random length. A
    process that does not acquire it in time writes without it. The lock of a process that dies is released.
    """

    def __init__(self, path: str) -> None:
        self.is_held = False
        self._file = -1
        if path and fcntl is not None:
            with suppress(OSError):
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self, deadline: float) -> bool:
        """Acquire the lock, and return True if it is held.

        Waits until ``time.monotonic()`` reaches ``deadline``, at most :data:`ACQUIRE_TIMEOUT`.
        """
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
        """Release the lock; do nothing if it is not held."""
        if self.is_held and self._file >= 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self.is_held = False

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def sleep_randomly() -> None:
    """Sleep for a short random time, so that waiting processes do not retry in step."""
    time.sleep(random.uniform(0.0, MAX_SLEEP))
