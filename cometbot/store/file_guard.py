"""Detects that the files of an open SQLite database were removed, replaced or overwritten."""

from __future__ import annotations

import os
import struct
import threading
from collections import Counter

from cometbot.store.identity_lock import file_identity

_CHECKPOINT_STATE = struct.Struct("=2I")
_SALTS_OFFSET, _SALTS_SIZE = 32, 8
_BACKFILL_OFFSET, _ATTEMPTED_OFFSET = 96, 128
_SHM_HEADER_SIZE = 136


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

        A problem that was found once is returned ever after.
        """
        if not self._problem:
            self._problem = self._find_problem()
        return self._problem

    def _find_problem(self) -> str:
        """Return the problem, "" for none. It runs before and after each write, so it does little: three ``stat``."""
        modification = None
        for name, known in self._identities:
            try:
                found = os.stat(name)
            except (FileNotFoundError, NotADirectoryError):
                return f"{name} was removed or moved while it was in use"
            except OSError:  # the file system does not respond now: the write itself reports that
                return ""
            if (found.st_dev, found.st_ino) != known:
                return f"{name} was replaced by another file while it was in use"
            modification = modification or (found.st_mtime_ns, found.st_size)
        return "" if modification == self._content[0] else self._check_content()

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
