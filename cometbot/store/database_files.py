"""The files of an SQLite database that several processes share: their locks, the log, and damage from outside.

Beside the database stand SQLite's own files ``…-wal`` and ``…-shm``, and ``…-turns`` with the locks of this module.
"""

from __future__ import annotations

import fcntl
import os
import random
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from cometbot.forking import close_in_children

ACQUIRE_TIMEOUT = 0.05
"""Maximum seconds to wait for the write lock: a process that stands still would hold it for ever."""

MAX_SLEEP = 0.0001

FileIdentity = tuple[int, int]
"""Device and inode of a file."""

_fdatasync = getattr(os, "fdatasync", os.fsync)

_RECORD = struct.Struct("=2Q")
_LOCK = "hhqqi4x"
_EXCLUSIVE = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_SHARED = struct.pack(_LOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
_UNLOCKED = struct.pack(_LOCK, fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)

_CHECKPOINT_STATE = struct.Struct("=2I")
_SALTS_OFFSET, _SALTS_SIZE = 32, 8
_BACKFILL_OFFSET, _ATTEMPTED_OFFSET = 96, 128
_SHM_HEADER_SIZE = 136


class WriteLock:
    """An advisory lock that orders the writes of processes, for fairness only; SQLite's own lock protects the data.

    SQLite's lock is held for as long as a transaction lasts, and a process that waits for it sleeps up to 100 ms; of
    two busy processes, one gets a fifth of the turns. This lock is retried after short sleeps of random length. A
    process that does not acquire it in time writes without it. The lock of a process that dies is released.
    """

    def __init__(self, path: str) -> None:
        self.is_held = False
        self._file = -1
        if path:
            with suppress(OSError):
                self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire(self, deadline: float) -> bool:
        """Acquire the lock, and return True if it is held.

        Waits until ``time.monotonic()`` reaches ``deadline``, at most :data:`ACQUIRE_TIMEOUT`.
        """
        deadline = min(deadline, time.monotonic() + ACQUIRE_TIMEOUT)
        while True:
            try:
                if self._file >= 0:
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() >= deadline:
                    return False
                sleep_randomly()
            else:
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
        self._process = 0

    def acquire(self, create: Callable[[], None]) -> str:
        """Acquire the lock; return the reason why the database must not be opened, or "" if it may be.

        The first process calls ``create``, which creates the database if there is none. If the system has no locks of
        open files, every process calls it. After an error or a non-empty result, the lock is not held.
        """
        self.close()
        close_in_children(self)  # a child shares the locks of its parent, and may outlive it
        self._process = os.getpid()
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
        """Release the lock. A child process that inherited it only closes its file."""
        if self._file < 0:
            return
        if self._process == os.getpid() and hasattr(fcntl, "F_OFD_SETLK"):
            # A child that was forked a moment ago may not have closed its file yet.
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _UNLOCKED)
        os.close(self._file)
        self._file = -1


class FileGuard:
    """The identity of ``path``, ``path-wal`` and ``path-shm``, as they were when the database was opened.

    ``configured_path`` is the path from the settings, which may contain symbolic links; ``path`` is their target.
    SQLite keeps the files open, so it continues to write to a file that has lost its name. Only a checkpoint changes
    the database file itself, and it changes the counters of the file ``-shm`` as well: a file that changes while they
    stay the same was overwritten by another program. The layout of ``-shm`` is section 2 of sqlite.org/walformat.html.

    Call :meth:`close` when the connections of this database are closed.
    """

    def __init__(self, path: str, configured_path: str = "") -> None:
        self._path = path
        names = (configured_path or path, f"{path}-wal", f"{path}-shm")
        self._identities = [(name, file_identity(name)) for name in names]
        self._shm = _descriptors.acquire(names[2])
        self._content = self._read_content()
        self._problem = ""

    def problem(self) -> str:
        """Return what happened to the files, or "" if nothing did.

        A problem that was found once is returned ever after. This runs before and after each write, so it does little:
        three ``stat``.
        """
        if self._problem:
            return self._problem
        modification = None
        for name, known in self._identities:
            try:
                found = os.stat(name)
            except (FileNotFoundError, NotADirectoryError):
                self._problem = f"{name} was removed or moved while it was in use"
                return self._problem
            except OSError:  # the file system does not respond now: the write itself reports that
                return ""
            if (found.st_dev, found.st_ino) != known:
                self._problem = f"{name} was replaced by another file while it was in use"
                return self._problem
            modification = modification or (found.st_mtime_ns, found.st_size)
        if modification != self._content[0]:
            self._problem = self._check_content()
        return self._problem

    def _check_content(self) -> str:
        """Return the problem of a database file that has changed since the last check."""
        before = self._content
        try:
            now = self._read_content()
        except OSError:
            return ""
        self._content = now
        is_same_log = now[1] == before[1] and now[1] == self._read_counters()
        if now[0] != before[0] and is_same_log and not _is_in_checkpoint(now[1]):
            return f"{self._path} was overwritten while it was in use"
        return ""

    def _read_content(self) -> tuple[tuple[int, int], bytes]:
        counters = self._read_counters()
        found = os.stat(self._path)
        return (found.st_mtime_ns, found.st_size), counters

    def _read_counters(self) -> bytes:
        """Return the salts of the log, the number of frames that were copied, and the number that were to be copied."""
        header = os.pread(self._shm, _SHM_HEADER_SIZE, 0).ljust(_SHM_HEADER_SIZE, b"\0")
        parts = ((_SALTS_OFFSET, _SALTS_SIZE), (_BACKFILL_OFFSET, 4), (_ATTEMPTED_OFFSET, 4))
        return b"".join(header[at : at + length] for at, length in parts)

    def close(self) -> None:
        """Release the file ``-shm``."""
        if self._shm >= 0:
            _descriptors.release(self._shm)
        self._shm = -1


class _Descriptors:
    """The descriptors of ``-shm`` files in this process, at most one per file.

    POSIX releases all locks of a process on a file when the process closes any descriptor of it, and SQLite holds its
    locks on ``-shm`` through a descriptor of its own. Therefore a descriptor is closed only when no guard uses it and
    the file has lost its name: SQLite removes ``-shm`` when the last connection of all processes is closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[tuple[int, int], int] = {}
        self._use_counts: Counter[int] = Counter()

    def acquire(self, name: str) -> int:
        """Return the descriptor of the file ``name``; open the file if necessary."""
        with self._lock:
            file = self._files.get(file_identity(name))
            if file is None:
                file = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
                opened = os.fstat(file)
                file = self._files.setdefault((opened.st_dev, opened.st_ino), file)
            self._use_counts[file] += 1
            return file

    def release(self, file: int) -> None:
        """End one use of a descriptor, and close the descriptors that are no longer needed."""
        with self._lock:
            self._use_counts[file] -= 1
            for found, descriptor in list(self._files.items()):
                if not self._use_counts[descriptor] and not os.fstat(descriptor).st_nlink:
                    del self._files[found], self._use_counts[descriptor]
                    os.close(descriptor)

    def reset_after_fork(self) -> None:
        """Replace the lock, which another thread of the parent may have held. The descriptors stay in use."""
        self._lock = threading.Lock()


_descriptors = _Descriptors()
os.register_at_fork(after_in_child=_descriptors.reset_after_fork)


def _is_in_checkpoint(counters: bytes) -> bool:
    copied, to_copy = _CHECKPOINT_STATE.unpack(counters[_SALTS_SIZE:])
    return bool(copied != to_copy)


def file_identity(path: str) -> FileIdentity:
    """Return the identity of the file at ``path``. Raises ``OSError``."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def sleep_randomly() -> None:
    """Sleep for a short random time, so that waiting processes do not retry in step."""
    time.sleep(random.uniform(0.0, MAX_SLEEP))
