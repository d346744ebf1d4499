"""Prevents processes that share an SQLite database from opening different files under one name."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import suppress

from cometbot.forking import close_in_children

FileIdentity = tuple[int, int]
"""Device and inode of a file."""

_RECORD = struct.Struct("=2Q")
_LOCK = "hhqqi4x"
_EXCLUSIVE = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_SHARED = struct.pack(_LOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)


def file_identity(path: str) -> FileIdentity:
    """Return the identity of the file at ``path``. Raises ``OSError``."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


class IdentityLock:
    """A shared lock held by each process that has one database open.

    The lock is on the file ``path-turns``, to which the first process has written the identity of the database. Without
    it, a process that starts after the database was replaced would open the new file with the log of the old one, to
    which the other processes still write. A lock ends with its process, so a database may be restored while no process
    runs.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1

    def acquire(self, create: Callable[[], None]) -> str:
        """Acquire the lock; return the reason why the database must not be opened, or "" if it may be.

        The first process calls ``create``, which creates the database if there is none. If the system has no locks of
        open files, every process calls it. After an error or a non-empty result, the lock is not held.
        """
        self.close()
        close_in_children(self)  # a child shares the locks of its parent, and may outlive it
        try:
            problem = self._acquire(create)
        except BaseException:
            self.close()
            raise
        if problem:
            self.close()
        return problem

    def _acquire(self, create: Callable[[], None]) -> str:
        with suppress(OSError):  # a folder that is not writable: SQLite reports that
            self._file = os.open(f"{self._path}-turns", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._file < 0 or not hasattr(fcntl, "F_OFD_SETLK"):
            create()
            return ""
        if not self._try_lock_exclusively():
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLKW, _SHARED)
            return self._find_identity_problem()
        create()
        os.pwrite(self._file, _RECORD.pack(*file_identity(self._path)), 0)
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _SHARED)
        return ""

    def _try_lock_exclusively(self) -> bool:
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _EXCLUSIVE)
        except BlockingIOError:
            return False
        return True

    def _find_identity_problem(self) -> str:
        try:
            found = _RECORD.pack(*file_identity(self._path))
        except FileNotFoundError:
            return f"{self._path} was removed or moved while other processes use it"
        if found != os.pread(self._file, _RECORD.size, 0):
            return f"{self._path} was replaced by another file while other processes use it"
        return ""

    def close(self) -> None:
        """Release the lock."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
