"""Whose turn it is among processes; also when one of them dies or stands still."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from cometbot.store.database_files import WriteLock

FORK = multiprocessing.get_context("fork")
TIMEOUT = 60.0

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "some.db-turns")


Hold = Callable[[], BaseProcess]


@pytest.fixture
def hold_in_process(path: str) -> Iterator[Hold]:
    """Starts a process that takes the turn and keeps it."""
    started: list[BaseProcess] = []

    def hold_lock(on_acquired: Callable[[], None]) -> None:
        assert WriteLock(path).acquire(math.inf)
        on_acquired()
        time.sleep(TIMEOUT)

    def start() -> BaseProcess:
        is_acquired = FORK.Event()
        started.append(FORK.Process(target=hold_lock, args=(is_acquired.set,), daemon=True))
        started[-1].start()
        assert is_acquired.wait(TIMEOUT)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join(TIMEOUT)


def test_only_one_process_holds_the_lock(path: str, hold_in_process: Hold) -> None:
    hold_in_process()
    assert not WriteLock(path).acquire(math.inf)


def test_waiter_acquires_a_released_lock(path: str) -> None:
    lock = WriteLock(path)
    assert lock.acquire(math.inf)
    got, order = FORK.Event(), FORK.Queue()

    def wait() -> None:
        got.set()
        other_lock = WriteLock(path)
        while not other_lock.acquire(math.inf):
            order.put("impatient")
        order.put("theirs")

    process = FORK.Process(target=wait, daemon=True)
    process.start()
    assert got.wait(TIMEOUT)
    assert order.get(timeout=TIMEOUT) == "impatient"
    lock.release()
    assert "theirs" in iter(lambda: order.get(timeout=TIMEOUT), None)
    process.join(TIMEOUT)


def test_lock_of_a_killed_process_is_free(path: str, hold_in_process: Hold) -> None:
    holder = hold_in_process()
    holder.kill()
    holder.join(TIMEOUT)
    assert WriteLock(path).acquire(0.0)


def test_acquire_times_out_for_a_stopped_process(path: str, hold_in_process: Hold) -> None:
    holder = hold_in_process()
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGSTOP)
    lock = WriteLock(path)
    began = time.monotonic()
    assert not lock.acquire(math.inf)
    assert time.monotonic() - began < TIMEOUT
    lock.release()
    assert not lock.acquire(math.inf), "it is still the other one's"
    os.kill(holder.pid, signal.SIGCONT)
    holder.kill()
    holder.join(TIMEOUT)
    assert lock.acquire(math.inf)
