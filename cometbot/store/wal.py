"""SQLite's write-ahead log, brought to the disk by us and not by SQLite."""

from __future__ import annotations

import mmap
import os
import threading
import time
from contextlib import suppress
from typing import Any

from cometbot.store.turns import PATIENCE, Turns, nap

_to_disk = getattr(os, "fdatasync", os.fsync)
_COMMITTED, _SYNCED = 0, 1
_SIZE = 16


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
        self._turns = Turns(f"{database}-syncs" if database else "")
        self._counts: Any = [0, 0]
        self._of_thread = threading.local()
        if self._turns.is_shared:
            with suppress(OSError):
                self._counts = _shared_counts(f"{database}-syncs")

    def committed(self, *, in_turn: bool) -> None:
        """Note a commit of this thread. Only who has the turn to write may count: then nobody else does."""
        if in_turn:
            self._counts[_COMMITTED] = max(self._counts[_COMMITTED], self._counts[_SYNCED]) + 1
        else:
            self._of_thread.is_uncounted = True

    def sync(self) -> None:
        """Return when all that this thread has committed is on the disk. Raises ``OSError`` where it cannot be."""
        if self._file < 0:
            return
        if getattr(self._of_thread, "is_uncounted", False):
            self._of_thread.is_uncounted = False
            _to_disk(self._file)
            return
        mine = self._counts[_COMMITTED]
        if self._counts[_SYNCED] >= mine:
            return
        with self._syncing:
            self._sync(mine)

    def _sync(self, mine: int) -> None:
        """One process syncs at a time: the next sync then serves all who came meanwhile. Nobody waits for it long."""
        ends_at = time.monotonic() + PATIENCE
        while self._counts[_SYNCED] < mine:
            if not self._turns.take_now() and time.monotonic() < ends_at:
                nap()
                continue
            try:
                reached = self._counts[_COMMITTED]
                _to_disk(self._file)
                self._counts[_SYNCED] = max(self._counts[_SYNCED], reached)
            finally:
                self._turns.give()

    def close(self) -> None:
        """Give back the files."""
        with self._syncing:
            self._turns.close()
            if self._file >= 0:
                os.close(self._file)
            self._file = -1


def _shared_counts(path: str) -> Any:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.truncate(file, _SIZE)
        return memoryview(mmap.mmap(file, _SIZE)).cast("Q")
    finally:
        os.close(file)
