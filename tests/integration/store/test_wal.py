"""The write-ahead log of a real SQLite file, and the numbers beside it."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cometbot.store import wal
from cometbot.store.turns import Turns
from cometbot.store.wal import WriteAheadLog


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
    monkeypatch.setattr(wal, "_to_disk", done.append)
    return done


def test_without_a_commit_there_is_nothing_to_sync(log: WriteAheadLog, syncs: list[int]) -> None:
    log.sync()
    assert syncs == []


def test_a_commit_is_synced_once(log: WriteAheadLog, syncs: list[int]) -> None:
    log.committed(in_turn=True)
    log.sync()
    log.sync()
    assert len(syncs) == 1


def test_one_sync_serves_the_commits_of_all_processes(path: str, log: WriteAheadLog, syncs: list[int]) -> None:
    neighbour = WriteAheadLog(path)
    log.committed(in_turn=True)
    neighbour.committed(in_turn=True)
    neighbour.sync()
    log.sync()
    assert len(syncs) == 1
    neighbour.close()


def test_a_commit_during_a_sync_needs_another_one(log: WriteAheadLog, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []

    def sync(file: int) -> None:
        syncs.append(file)
        if len(syncs) == 1:
            log.committed(in_turn=True)

    monkeypatch.setattr(wal, "_to_disk", sync)
    log.committed(in_turn=True)
    log.sync()
    log.sync()
    assert len(syncs) == 2


def test_a_sync_that_failed_is_tried_again(log: WriteAheadLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(wal, "_to_disk", fail)
    log.committed(in_turn=True)
    with pytest.raises(OSError, match="Input/output"):
        log.sync()
    with pytest.raises(OSError, match="Input/output"):
        log.sync()


def test_who_comes_while_others_sync_waits_and_shares_the_next_sync(
    log: WriteAheadLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    syncing, go_on = threading.Event(), threading.Event()

    def sync(file: int) -> None:
        syncs.append(file)
        syncing.set()
        assert go_on.wait(10)

    monkeypatch.setattr(wal, "_to_disk", sync)
    log.committed(in_turn=True)
    first = threading.Thread(target=log.sync)
    first.start()
    assert syncing.wait(10)
    for _ in range(5):
        log.committed(in_turn=True)
    waiting = [threading.Thread(target=log.sync) for _ in range(5)]
    for thread in waiting:
        thread.start()
    go_on.set()
    for thread in (first, *waiting):
        thread.join(10)
    assert len(syncs) == 2


def test_a_commit_out_of_turn_is_not_counted_and_synced_all_the_same(log: WriteAheadLog, syncs: list[int]) -> None:
    log.committed(in_turn=False)
    log.sync()
    log.sync()
    assert len(syncs) == 1


def test_a_process_that_stands_still_while_it_syncs_does_not_stop_the_others(
    path: str, log: WriteAheadLog, syncs: list[int]
) -> None:
    stopped = Turns(f"{path}-syncs")
    assert stopped.take_now()
    log.committed(in_turn=True)
    began = time.monotonic()
    log.sync()
    assert len(syncs) == 1
    assert time.monotonic() - began < 5
    stopped.close()


@pytest.mark.parametrize(("committed", "synced"), [(7, 3), (3, 7), (2**40, 2**40)])
def test_numbers_of_before_a_power_cut_never_make_a_new_commit_look_synced(
    path: str, syncs: list[int], committed: int, synced: int
) -> None:
    Path(f"{path}-syncs").write_bytes(struct.pack("QQ", committed, synced))
    log = WriteAheadLog(path)
    log.committed(in_turn=True)
    log.sync()
    assert len(syncs) == 1
    log.close()
