"""SQLite's write-ahead log, synced by cometbot and not by SQLite."""

from __future__ import annotations

import os
import threading

_fdatasync = getattr(os, "fdatasync", os.fsync)


class WriteAheadLog:
    """The file ``…-wal`` beside an open database, to which every process writes its commits.

    With ``synchronous=FULL`` SQLite syncs the file inside the commit, while the write lock is held and no other process
    can write. With ``NORMAL`` it does so only before it copies the log into the database. So a commit is on disk once
    the file has been synced after it.
    """

    def __init__(self, database: str) -> None:
        self._file = os.open(f"{database}-wal", os.O_RDWR | os.O_CLOEXEC) if database else -1
        self._lock = threading.Lock()

    def sync(self) -> None:
        """Sync the file, so that all commits of this thread are on disk. Raises ``OSError`` on failure."""
        with self._lock:
            if self._file >= 0:
                _fdatasync(self._file)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
