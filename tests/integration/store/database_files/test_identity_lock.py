"""A process that opens an SQLite file which others have open under the same name, and another file behind it."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from cometbot.errors import StoreUnavailable
from cometbot.store.factory import database_from_url
from cometbot.store.sqlite import SQLite


def opened(path: Path) -> SQLite:
    made = database_from_url(f"sqlite:///{path}")
    assert isinstance(made, SQLite)
    made.open()
    return made


def replace(path: Path) -> None:
    copy = path.with_name("backup.db")
    shutil.copyfile(path, copy)
    os.replace(copy, path)


@pytest.mark.parametrize(("damage", "found"), [(replace, "was replaced"), (Path.unlink, "was removed")])
def test_file_of_others_cannot_be_opened_after_damage(
    tmp_path: Path, damage: Callable[[Path], None], found: str
) -> None:
    path = tmp_path / "bot.db"
    late = database_from_url(f"sqlite:///{path}")
    with closing(opened(path)), closing(late):
        damage(path)
        with pytest.raises(StoreUnavailable, match=found):
            late.open()
        with pytest.raises(StoreUnavailable, match=found), late.write():
            pass
        assert found in late.failures.problem
        assert path.exists() == (damage is replace)


def test_restored_file_can_be_opened_when_all_have_closed(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    opened(path).close()
    replace(path)
    opened(path).close()


def test_second_process_opens_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    with closing(opened(path)) as first, closing(opened(path)) as second:
        assert first.problem() == second.problem() == ""


LIBC = ctypes.PyDLL(None)
"""Functions that keep the interpreter's lock: in a child of a process with threads, nobody could give it back."""


def fork_without_hooks() -> int:
    """Fork a child that does not come to Python's hooks."""
    return int(LIBC.fork())


@pytest.mark.parametrize("fork", [os.fork, fork_without_hooks])
def test_orphaned_child_does_not_keep_the_file(tmp_path: Path, fork: Callable[[], int]) -> None:
    path = tmp_path / "bot.db"
    kept = opened(path)
    child = fork()
    if child == 0:
        LIBC.pause()
    try:
        kept.close()
        replace(path)
        opened(path).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_failed_opening_does_not_keep_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bot.db"
    path.write_bytes(b"no database" * 100)
    for _ in range(2):
        with pytest.raises(Exception, match="cannot use the database"):
            opened(path)
        replace(path)


@pytest.mark.parametrize(("damage", "found"), [(replace, "was replaced"), (Path.unlink, "was removed")])
def test_new_connection_opens_no_other_file(tmp_path: Path, damage: Callable[[Path], None], found: str) -> None:
    path = tmp_path / "bot.db"
    with closing(opened(path)) as made:
        damage(path)  # after the check at the start of a read, say
        with pytest.raises(StoreUnavailable, match=found):
            made._connect()
        assert path.exists() == (damage is replace)


def test_path_with_characters_of_a_url_is_opened(tmp_path: Path) -> None:
    folder = tmp_path / "50% ?#&é"
    folder.mkdir()
    path = folder / "bot.db"
    with closing(SQLite(sa.URL.create("sqlite", database=str(path)))) as made:
        made.open()
        with made.read() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar() == 1
        assert path.stat().st_size
