"""Folders in the system's temporary folder. If their owner is killed, the next process that starts removes them."""

from __future__ import annotations

import functools
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from cometbot import private_files

try:
    import fcntl
except ImportError:  # pragma: no cover - not on a system with flock
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".owner"
"""The file in each folder that its owners lock. A folder without it is never removed."""

_MAX_ATTEMPTS = 20


class SharedFolder:
    """A folder used by several processes. The first creates it, the last removes it."""

    def __init__(self, path: Path) -> None:
        remove_abandoned()
        self.path, self._lock = _create_locked(lambda: _make_folder(path))

    def close(self) -> None:
        """Remove the folder, unless another process uses it."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)
            _remove_if_unlocked(self.path)


class TemporaryFolder:
    """A new folder of this process, removed by :meth:`close` or at the end of the process.

    A forked child does not remove it. Its name begins with ``cometbot-`` and the purpose.
    """

    def __init__(self, purpose: str) -> None:
        remove_abandoned()
        self.path, lock = _create_locked(lambda: Path(tempfile.mkdtemp(prefix=f"cometbot-{purpose}-")))
        self._close = weakref.finalize(self, _remove, self.path, lock, os.getpid())

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder and its content."""
        self._close()


@functools.cache
def remove_abandoned() -> None:
    """Remove this user's folders whose owners were killed. Only the first call in a process does so."""
    for path in Path(tempfile.gettempdir()).glob(f"cometbot-*/{LOCK_FILE}"):
        with suppress(OSError):
            found = path.parent.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                _remove_if_unlocked(path.parent)


def _make_folder(path: Path) -> Path:
    private_files.make_folder(path)
    return path


def _create_locked(create: Callable[[], Path]) -> tuple[Path, int]:
    """Return a folder and the descriptor of its lock. Retry if another process removes it before it is locked."""
    for _ in range(_MAX_ATTEMPTS):
        path = create()
        with suppress(FileNotFoundError):
            return path, _lock_shared(path)
    raise FileNotFoundError(f"cannot keep the folder {path}: it is removed again and again")


def _lock_shared(folder: Path) -> int:
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_SH)
        if not os.path.samestat(os.fstat(lock), os.stat(folder / LOCK_FILE)):
            raise FileNotFoundError(folder)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _remove_if_unlocked(folder: Path) -> None:
    with suppress(OSError):
        lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)


def _remove(folder: Path, lock: int, owner: int) -> None:
    # A forked child that exits runs the finalizers of its parent.
    if os.getpid() == owner:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)
