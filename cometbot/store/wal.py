"""SQLite's write-ahead log, brought to the disk by us and not by SQLite."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

try:
    import fcntl
except ImportError:  # pragma: no cover - not on a system with flock
    fcntl = None  # type: ignore[assignment]

_to_disk = getattr(os, "fdatasync", os.fsync)
_COMMITTED, _SYNCED = 0, 1


class WriteAheadLog:
    """The file ``…-wal`` beside an open database, into which every commit of every process goes.

    With ``synchronous=FULL`` SQLite syncs it inside of the commit, while the write lock is held and nobody else can
    write. With ``NORMAL`` it does so only before it copies the log into the database. So a commit is on the disk when
    the file has been synced after it, by whoever it was. All processes count commits in ``…-syncs``, and one sync
    serves all who wait for one. Numbers that outlive a power cut do no harm: the next commit's is above them.
    """

    def __init__(self, database: str) -> None:
        self._syncing = threading.Lock()
        self._file = os.open(f"{database}-wal", os.O_RDWR | os.O_CLOEXEC) if database else -1
        self._lock = -1
        self._counts: Any = [0, 0]
        if database and fcntl is not None:
            self._lock = os.open(f"{database}-syncs", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.truncate(self._lock, 16)
            self._counts = memoryview(mmap.mmap(self._lock, 16)).cast("Q")

    def committed(self) -> None:
        """Note a commit; to be called by who has the turn to write, before it is given back."""
        self._counts[_COMMITTED] = max(self._counts[_COMMITTED], self._counts[_SYNCED]) + 1

    def sync(self) -> None:
        """Return when all that was committed before the call is on the disk. Raises ``OSError`` where it cannot be."""
        mine = self._counts[_COMMITTED]
        if self._file < 0 or self._counts[_SYNCED] >= mine:
            return
        with self._syncing, self._alone():
            reached = self._counts[_COMMITTED]
            if self._counts[_SYNCED] < mine:
                _to_disk(self._file)
                self._counts[_SYNCED] = reached

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process syncs: the next sync then serves all who came meanwhile."""
        if self._lock < 0:
            yield
            return
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give back the files."""
        with self._syncing:
            for file in (self._file, self._lock):
                if file >= 0:
                    os.close(file)
            self._file = self._lock = -1
