"""SQLite's write-ahead log, brought to the disk by us and not by SQLite."""

from __future__ import annotations

import os
import threading

_fdatasync = getattr(os, "fdatasync", os.fsync)


class WriteAheadLog:
    """The file ``…-wal`` beside an open database, into which every commit of every process goes.

    With ``synchronous=FULL`` SQLite syncs it inside of the commit, while the write lock is held and nobody else can
    write. With ``NORMAL`` it does so only before it copies the log into the database. So a commit is on the disk when
    the file has been synced after it.
    """

    def __init__(self, database: str) -> None:
        self._file = os.open(f"{database}-wal", os.O_RDWR | os.O_CLOEXEC) if database else -1
        self._lock = threading.Lock()

    def sync(self) -> None:
        """Return when all that this thread has committed is on the disk. Raises ``OSError`` where it cannot be."""
        with self._lock:
            if self._file >= 0:
                _fdatasync(self._file)

    def close(self) -> None:
        """Give back the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
