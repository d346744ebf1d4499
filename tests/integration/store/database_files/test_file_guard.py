"""The guard of SQLite's files reads ``-shm`` without giving up the locks that SQLite holds on it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from cometbot.errors import StoreUnavailable
from cometbot.store import failures
from cometbot.store.database_files import FileGuard
from cometbot.store.factory import database_from_url
from cometbot.store.sqlite import SQLite

_LOCK = "hhqqi4x"
_FIRST, _COUNT = 120, 9  # bytes of -shm that SQLite locks: section 2.3 of sqlite.org/walformat.html
_WRITE = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"


def opened(path: Path) -> SQLite:
    made = database_from_url(f"sqlite:///{path}")
    assert isinstance(made, SQLite)
    made.open()
    return made


def start_lock_holder(path: Path) -> int:
    """Return the id of a process that holds a lock on ``-shm``, as a forked child sees it; 0 if there is none."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        file = os.open(f"{path}-shm", os.O_RDWR)
        asked = struct.pack(_LOCK, fcntl.F_WRLCK, os.SEEK_SET, _FIRST, _COUNT, 0)
        kind, _, _, _, owner = struct.unpack(_LOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
        os.write(write, str(0 if kind == fcntl.F_UNLCK else owner).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with closing(os.fdopen(read)) as answer:
        return int(answer.read())


def can_be_written_by_others(path: Path) -> bool:
    return subprocess.run([sys.executable, "-c", _WRITE, path], capture_output=True, timeout=60).returncode == 0


def test_closing_a_database_keeps_locks_of_another(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    with closing(opened(path)) as kept:
        first = opened(path)
        with kept.write():
            assert not can_be_written_by_others(path)
            first.close()
            assert start_lock_holder(path) == os.getpid()
            assert not can_be_written_by_others(path)
        assert can_be_written_by_others(path)


def test_closing_a_database_keeps_locks_of_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    with closing(opened(path)) as kept, kept.read() as reader:
        reader.exec_driver_sql("BEGIN")
        reader.exec_driver_sql("SELECT count(*) FROM facts")
        for _ in range(3):
            opened(path).close()
        assert start_lock_holder(path) == os.getpid()
        reader.exec_driver_sql("ROLLBACK")


def test_forked_child_keeps_locks_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    with closing(opened(path)) as kept:
        child = os.fork()
        if child == 0:
            is_right = False
            try:
                kept.open()
                other = opened(path)
                with kept.write():
                    other.close()
                    is_right = not can_be_written_by_others(path)
            finally:
                os._exit(0 if is_right else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert start_lock_holder(path) == os.getpid()


def test_many_databases_leave_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with ExitStack() as stack:
        for number in range(20):
            stack.enter_context(closing(opened(tmp_path / f"{number}.db")))
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_database_that_is_overwritten_in_place_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    with closing(opened(path)):
        guard = FileGuard(str(path))
        assert guard.problem() == ""
        before = path.stat().st_mtime_ns
        while path.stat().st_mtime_ns == before:  # the file system's clock has ticks
            path.write_bytes(path.read_bytes())
        assert guard.problem() == f"{path} was overwritten while it was in use"


def test_a_checkpoint_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    with closing(opened(path)) as made:
        guard = FileGuard(str(path))
        with made.write() as connection:
            connection.exec_driver_sql("CREATE TABLE more (n)")
        with made.read() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
        assert guard.problem() == ""


@pytest.mark.parametrize("action", ["read", "write"])
def test_error_of_a_removed_file_names_the_removal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, action: str
) -> None:
    path = tmp_path / "bot.db"

    def fail_after_removal() -> None:
        path.unlink()
        # SQLite's own words for a file that has gone meanwhile.
        raise sa.exc.OperationalError("SELECT 1", {}, sqlite3.OperationalError("disk I/O error"))

    with closing(opened(path)) as store:
        with pytest.raises(StoreUnavailable) as caught, getattr(store, action)():
            fail_after_removal()
        assert caught.value.kind == failures.FILE_MISSING
        errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert len(errors) == 1
        assert "was removed or moved" in errors[0]
