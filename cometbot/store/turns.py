"""Whose turn it is to write, among the processes that share an SQLite file."""

from __future__ import annotations

import os
from contextlib import suppress

try:
    import fcntl
except ImportError:  # pragma: no cover - not on a system with flock
    fcntl = None  # type: ignore[assignment]


class Turns:
    """A lock on a file beside the database, for which the system lets processes sleep and wakes them in time.

    SQLite's own lock can only be asked for again and again: under load half of the time nobody writes, because who
    waits is asleep. This one only orders those who ask; what keeps the file whole is SQLite's. A process that dies
    gives it up by that.
    """

    def __init__(self, path: str) -> None:
        self._file = -1
        if path and fcntl is not None:
            with suppress(OSError):
                self._file = os.open(f"{path}-turns", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> None:
        """Wait for the turn. Others give it back within the time of a transaction."""
        if self._file >= 0:
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def give(self) -> None:
        """Let others have it."""
        if self._file >= 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give back the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
