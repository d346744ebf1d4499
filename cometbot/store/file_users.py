"""Keeps the processes that share an SQLite database from opening different files under one name."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakSet

Identity = tuple[int, int]
"""Device and inode of a file."""

_RECORD = struct.Struct("=2Q")
_LOCK = "hhqqi4x"
_ALONE = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_SHARED = struct.pack(_LOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)


def identity(path: str) -> Identity:
    """Return the identity of the file at ``path``. Raises ``OSError``."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


class FileUsers:
    """The processes that have one database open.

    Each holds a shared lock on the file ``path-turns``, in which the first one has written the identity of the
    database. A process that starts after the database was replaced would otherwise open the new file with the log of
    the old one, to which the others still write. A lock ends with its process, so a restore between two runs is free.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1
        _used.add(self)

    def join(self, create: Callable[[], None]) -> str:
        """Become a user; return why the database must not be opened, empty if it may be.

        The first user calls ``create``, which makes the database where there is none. Where the system has no locks
        of open files, every user does. Who got an answer that is not empty, or an error, is no user.
        """
        self.leave()
        try:
            problem = self._join(create)
        except BaseException:
            self.leave()
            raise
        if problem:
            self.leave()
        return problem

    def _join(self, create: Callable[[], None]) -> str:
        with suppress(OSError):  # of a folder that cannot be written to: for SQLite to report
            self._file = os.open(f"{self._path}-turns", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if self._file < 0 or not hasattr(fcntl, "F_OFD_SETLK"):
            create()
            return ""
        if not self._is_first():
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLKW, _SHARED)
            return self._compare()
        create()
        os.pwrite(self._file, _RECORD.pack(*identity(self._path)), 0)
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _SHARED)
        return ""

    def _is_first(self) -> bool:
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _ALONE)
        except BlockingIOError:
            return False
        return True

    def _compare(self) -> str:
        try:
            found = _RECORD.pack(*identity(self._path))
        except FileNotFoundError:
            return f"{self._path} was removed or moved while other processes use it"
        if found != os.pread(self._file, _RECORD.size, 0):
            return f"{self._path} was replaced by another file while other processes use it"
        return ""

    def leave(self) -> None:
        """Be a user no longer."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


_used: WeakSet[FileUsers] = WeakSet()


def _leave_all() -> None:
    for users in list(_used):
        users.leave()


# A child shares the locks of its parent, and may outlive it.
os.register_at_fork(after_in_child=_leave_all)
