"""Calls in a bounded number of threads."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator

import pytest

from cometbot.channels.cometchat.moderation_threads import AllThreadsBusy, ModerationThreads, TooLate

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def test_result_and_error_come_back() -> None:
    threads = ModerationThreads(1)
    assert threads.call(lambda: 5, timeout=60) == 5
    with pytest.raises(SystemExit):
        threads.call(exit, timeout=60)
    assert threads.call(lambda: 6, timeout=60) == 6


def test_threads_are_used_again() -> None:
    threads = ModerationThreads(4)
    names = {threads.call(lambda: threading.current_thread().name, timeout=60) for _ in range(5)}
    assert names == {"cometbot-moderation-0"}


def test_late_call_keeps_its_thread_until_it_ends(gate: threading.Event) -> None:
    threads = ModerationThreads(1)
    has_ended = threading.Event()

    def wait() -> None:
        gate.wait(60)
        has_ended.set()

    with pytest.raises(TooLate):
        threads.call(wait, timeout=0.01)
    with pytest.raises(AllThreadsBusy):
        threads.call(lambda: 1, timeout=60)
    assert threads.busy == 1
    gate.set()
    assert has_ended.wait(60)
    while threads.busy:
        threading.Event().wait(0.001)
    assert threads.call(lambda: 1, timeout=60) == 1


def test_all_threads_run_at_once() -> None:
    threads = ModerationThreads(3)
    barrier = threading.Barrier(3)
    callers = [threading.Thread(target=threads.call, args=(barrier.wait,), kwargs={"timeout": 60}) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert not barrier.broken
    assert threads.busy == 0


def test_call_has_a_context_of_its_own() -> None:
    threads = ModerationThreads(1)
    threads.call(lambda: variable.set("of an earlier call"), timeout=60)
    assert threads.call(variable.get, timeout=60) == ""
