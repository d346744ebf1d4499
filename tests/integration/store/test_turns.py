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

from cometbot.store.turns import Turns

FORK = multiprocessing.get_context("fork")
LIMIT = 60.0

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "some.db-turns")


Hold = Callable[[], BaseProcess]


@pytest.fixture
def hold(path: str) -> Iterator[Hold]:
    """Starts a process that takes the turn and keeps it."""
    started: list[BaseProcess] = []

    def keep(taken: Callable[[], None]) -> None:
        assert Turns(path).take(math.inf)
        taken()
        time.sleep(LIMIT)

    def start() -> BaseProcess:
        is_taken = FORK.Event()
        started.append(FORK.Process(target=keep, args=(is_taken.set,), daemon=True))
        started[-1].start()
        assert is_taken.wait(LIMIT)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join(LIMIT)


def test_only_one_process_has_the_turn(path: str, hold: Hold) -> None:
    hold()
    assert not Turns(path).take(math.inf)


def test_who_waits_gets_the_turn_when_it_is_given(path: str) -> None:
    mine = Turns(path)
    assert mine.take(math.inf)
    got, order = FORK.Event(), FORK.Queue()

    def wait() -> None:
        got.set()
        theirs = Turns(path)
        while not theirs.take(math.inf):
            order.put("impatient")
        order.put("theirs")

    process = FORK.Process(target=wait, daemon=True)
    process.start()
    assert got.wait(LIMIT)
    assert order.get(timeout=LIMIT) == "impatient"
    mine.give()
    assert "theirs" in iter(lambda: order.get(timeout=LIMIT), None)
    process.join(LIMIT)


def test_the_turn_of_a_killed_process_is_free_at_once(path: str, hold: Hold) -> None:
    holder = hold()
    holder.kill()
    holder.join(LIMIT)
    assert Turns(path).take(0.0)


def test_nobody_waits_long_for_a_process_that_stands_still(path: str, hold: Hold) -> None:
    holder = hold()
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGSTOP)
    mine = Turns(path)
    began = time.monotonic()
    assert not mine.take(math.inf)
    assert time.monotonic() - began < LIMIT
    mine.give()
    assert not mine.take(math.inf), "it is still the other one's"
    os.kill(holder.pid, signal.SIGCONT)
    holder.kill()
    holder.join(LIMIT)
    assert mine.take(math.inf)
