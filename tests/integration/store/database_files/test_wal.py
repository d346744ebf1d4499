"""How the write-ahead log comes to the disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cometbot.errors import StoreUnavailable
from cometbot.store import database_files, metadata, sqlite
from cometbot.store.database_files import WriteAheadLog
from cometbot.store.factory import database_from_url


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "some.db-wal").write_bytes(b"frames")
    return str(tmp_path / "some.db")


@pytest.fixture
def log(path: str) -> Iterator[WriteAheadLog]:
    log = WriteAheadLog(path)
    yield log
    log.close()


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    done: list[int] = []
    monkeypatch.setattr(database_files, "_fdatasync", done.append)
    return done


def test_a_commit_is_synced_before_the_call_returns(log: WriteAheadLog, syncs: list[int]) -> None:
    log.sync()
    assert len(syncs) == 1
    log.sync()
    assert len(syncs) == 2


def test_a_database_in_memory_has_nothing_to_sync(syncs: list[int]) -> None:
    log = WriteAheadLog("")
    log.sync()
    log.close()
    assert syncs == []


def test_a_sync_that_failed_is_tried_again(log: WriteAheadLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(database_files, "_fdatasync", fail)
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output"):
            log.sync()
    done: list[int] = []
    monkeypatch.setattr(database_files, "_fdatasync", done.append)
    log.sync()
    assert len(done) == 1


@dataclass
class SlowDisk:
    """A disk whose first sync takes until it is let go on."""

    syncs: list[int] = field(default_factory=list)
    is_syncing: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def sync(self, file: int) -> None:
        self.syncs.append(file)
        if len(self.syncs) == 1:
            self.is_syncing.set()
            assert self.go_on.wait(60)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SlowDisk:
    disk = SlowDisk()
    monkeypatch.setattr(database_files, "_fdatasync", disk.sync)
    return disk


def test_stopped_sync_does_not_block_other_processes(path: str, log: WriteAheadLog, disk: SlowDisk) -> None:
    stopped = threading.Thread(target=log.sync)
    stopped.start()
    assert disk.is_syncing.wait(60)
    neighbour = WriteAheadLog(path)
    neighbour.sync()
    assert len(disk.syncs) == 2
    neighbour.close()
    disk.go_on.set()
    stopped.join(60)


def test_closing_waits_for_the_sync_that_is_under_way(log: WriteAheadLog, disk: SlowDisk) -> None:
    syncing = threading.Thread(target=log.sync)
    syncing.start()
    assert disk.is_syncing.wait(60)
    closing = threading.Thread(target=log.close)
    closing.start()
    os.fstat(disk.syncs[0])
    assert closing.is_alive()
    disk.go_on.set()
    for thread in (syncing, closing):
        thread.join(60)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(disk.syncs[0])


def test_log_shrinks_when_a_reader_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 256 * 1024
    monkeypatch.setattr(sqlite, "_WAL_SIZE_LIMIT", limit)
    monkeypatch.setattr(sqlite, "_CHECKPOINT_PAGES", 64)
    file = tmp_path / "bot.db"
    with closing(database_from_url(f"sqlite:///{file}")) as opened:
        with opened.read() as reader:
            reader.exec_driver_sql("BEGIN")
            reader.exec_driver_sql("SELECT count(*) FROM facts")
            for number in range(40):
                metadata.set_metadata(opened, "large", str(number) * 20_000, durable=False)
            opened.shrink_wal()
            assert log_size(file) > 2 * limit, "a reader still needs it"
            assert metadata.get_metadata(opened, "large") == "39" * 20_000
            reader.exec_driver_sql("ROLLBACK")
        opened.shrink_wal()
        assert log_size(file) == 0
        metadata.set_metadata(opened, "small", "x")
        assert log_size(file) > 0
        assert opened.problem() == ""


def test_log_within_its_limit_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "bot.db"
    with closing(database_from_url(f"sqlite:///{file}")) as opened:
        metadata.set_metadata(opened, "small", "x")
        size = log_size(file)
        opened.shrink_wal()
        assert log_size(file) == size


def log_size(file: Path) -> int:
    return os.stat(f"{file}-wal").st_size


def test_shrinking_a_removed_log_reports_the_file(tmp_path: Path) -> None:
    file = tmp_path / "bot.db"
    with closing(database_from_url(f"sqlite:///{file}")) as opened:
        metadata.set_metadata(opened, "small", "x")
        Path(f"{file}-wal").unlink()
        with pytest.raises(StoreUnavailable, match="was removed or moved while it was in use"):
            opened.shrink_wal()
