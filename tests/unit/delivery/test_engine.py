"""The engine with threads of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cometbot.delivery import engine as engine_module
from cometbot.delivery.engine import Check, Load, ProcessorShare, ThreadEngine


class Panic(BaseException):
    pass


def wait_until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.002)


def get_thread_check(engine: ThreadEngine) -> Check:
    return next(check for check in engine.checks() if check.name == "threads")


@pytest.fixture
def engine() -> Iterator[ThreadEngine]:
    made = ThreadEngine(2)
    yield made
    assert made.stop(60)


@pytest.mark.parametrize("error", [ValueError, Panic, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_work_that_raises_anything_ends_no_thread(engine: ThreadEngine, error: type[BaseException]) -> None:
    worked: list[str] = []

    def work(conversation_key: str) -> None:
        worked.append(conversation_key)
        if conversation_key != "good":
            raise error

    engine.start(work)
    before = set(threading.enumerate())
    for number in range(5):
        engine.notify(f"bad {number}")
    wait_until(lambda: len(worked) == 5)
    engine.notify("good")

    wait_until(lambda: "good" in worked)
    assert get_thread_check(engine) == Check("threads", True, "2 of 2 threads alive, 0 conversations queued")
    assert set(threading.enumerate()) == before


def test_many_conversations_wait_behind_others_but_get_turns() -> None:
    engine, go_on, worked = ThreadEngine(1), threading.Event(), list[str]()

    def work(conversation_key: str) -> None:
        go_on.wait(60)
        worked.append(conversation_key)

    engine.start(work)
    engine.notify("first")
    wait_until(lambda: engine.load == Load(1, 0))
    engine.notify_many([f"job {number}" for number in range(6)])
    for number in range(6):
        engine.notify(f"message {number}")
    engine.notify_many(["message 5", "job 0"])
    engine.notify("job 5")
    assert engine.load == Load(1, 12)
    go_on.set()
    wait_until(lambda: len(worked) == 13)
    assert engine.stop(60)
    messages = [f"message {number}" for number in range(6)]
    assert worked == ["first", *messages[:2], "job 0", *messages[2:5], "job 1", *messages[5:], "job 5"] + [
        f"job {number}" for number in (2, 3, 4)
    ]


def kill_threads(engine: ThreadEngine, monkeypatch: pytest.MonkeyPatch, count: int) -> list[threading.Thread]:
    """Has that many threads die, each after a conversation; returns who did."""
    dead: list[threading.Thread] = []
    is_written_off = engine._is_replaced_at_end

    def die() -> bool:
        if len(dead) < count:
            dead.append(threading.current_thread())
            raise Panic("raised into the thread by somebody else")
        return is_written_off()

    monkeypatch.setattr(engine, "_is_replaced_at_end", die)
    return dead


def test_a_thread_that_dies_is_replaced(engine: ThreadEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[str] = []
    engine.start(worked.append)
    dead = kill_threads(engine, monkeypatch, 3)
    for number in range(3):
        engine.notify(f"last of {number}")
    wait_until(lambda: len(dead) == 3 and not any(thread.is_alive() for thread in dead))
    engine.notify("next")

    wait_until(lambda: "next" in worked)
    assert get_thread_check(engine) == Check("threads", True, "2 of 2 threads alive, 0 conversations queued")


def test_check_fails_while_a_thread_cannot_be_replaced(engine: ThreadEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[str] = []
    engine.start(worked.append)
    dead = kill_threads(engine, monkeypatch, 1)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        engine.notify("last")
        wait_until(lambda: dead and not dead[0].is_alive())
        engine.notify("next")
        wait_until(lambda: "next" in worked)
        wait_until(lambda: not get_thread_check(engine).ok)
        assert get_thread_check(engine).detail.startswith("1 of 2 threads alive")
    engine.notify("one more")

    wait_until(lambda: "one more" in worked)
    assert get_thread_check(engine).ok


def test_stuck_thread_is_replaced_once(engine: ThreadEngine) -> None:
    release, begun = threading.Event(), list[int]()

    def work(conversation_key: str) -> None:
        if conversation_key == "hang":
            begun.append(threading.get_ident())
            release.wait(60)
            raise Panic

    engine.start(work)
    engine.notify("hang")
    wait_until(lambda: begun)
    engine.replace_thread(begun[0])
    engine.replace_thread(begun[0])
    assert [check.detail for check in engine.checks()] == [
        "2 of 2 threads alive, 0 conversations queued",
        "1 handlers ran past their deadline and still run",
    ]
    release.set()

    wait_until(lambda: begun[0] not in [thread.ident for thread in threading.enumerate()])
    assert get_thread_check(engine).detail.startswith("2 of 2 threads alive")
    assert engine.checks()[1].detail.startswith("0 handlers")


def test_thread_that_has_ended_its_conversation_is_not_replaced(engine: ThreadEngine) -> None:
    begun: list[int] = []
    engine.start(lambda conversation_key: begun.append(threading.get_ident()))
    engine.notify("quick")
    wait_until(lambda: begun and engine.load.running == 0)
    engine.replace_thread(begun[0])
    assert [check.detail for check in engine.checks()] == [
        "2 of 2 threads alive, 0 conversations queued",
        "0 handlers ran past their deadline and still run",
    ]
    assert engine.stop(60)


def test_notify_before_start_only_queues(engine: ThreadEngine) -> None:
    engine.notify("early")
    assert get_thread_check(engine) == Check("threads", False, "0 of 2 threads alive, 1 conversations queued")
    worked: list[str] = []
    engine.start(worked.append)
    wait_until(lambda: worked == ["early"])


@pytest.fixture
def growing() -> Iterator[ThreadEngine]:
    made = ThreadEngine(2, 20)
    yield made
    assert made.stop(60)


def let_all_meet(engine: ThreadEngine, count: int) -> None:
    """Run conversations that wait for each other, which takes a thread for each; return when all have ended."""
    met = threading.Barrier(count)
    ended: list[str] = []

    def meet(conversation_key: str) -> None:
        met.wait(60)
        ended.append(conversation_key)

    engine._process_conversation = meet
    for number in range(count):
        engine.notify(str(number))
    wait_until(lambda: len(ended) == count)
    wait_until(lambda: engine.load == Load(0, 0))


def test_threads_grow_with_what_waits(growing: ThreadEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessorShare, "measure", lambda self: 0.0)
    growing.start(lambda conversation_key: None)
    let_all_meet(growing, 20)
    assert get_thread_check(growing).detail == "20 of 20 threads alive, 0 conversations queued"


def test_threads_do_not_grow_past_the_limit(growing: ThreadEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []

    def measure(self: ProcessorShare) -> float:
        looks.append(0.0)
        return 0.0

    monkeypatch.setattr(ProcessorShare, "measure", measure)
    release = threading.Event()
    growing.start(lambda conversation_key: release.wait(60))
    for number in range(30):
        growing.notify(str(number))
    wait_until(lambda: growing.load == Load(20, 10))
    before = len(looks)
    growing.notify("one more")
    wait_until(lambda: len(looks) >= before + 2)  # it has looked once more
    assert growing.load == Load(20, 11)
    release.set()


def test_threads_do_not_grow_while_the_processor_is_busy(
    growing: ThreadEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = [1.0]
    measured: list[float] = []

    def measure(self: ProcessorShare) -> float:
        measured.append(share[0])
        return share[0]

    monkeypatch.setattr(ProcessorShare, "measure", measure)
    release = threading.Event()
    growing.start(lambda conversation_key: release.wait(60))
    for number in range(5):
        growing.notify(str(number))
    wait_until(lambda: len(measured) > 6)
    assert growing.load == Load(2, 3)
    share[0] = 0.1
    wait_until(lambda: growing.load == Load(5, 0))
    release.set()


def test_idle_threads_end(growing: ThreadEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessorShare, "measure", lambda self: 0.0)
    monkeypatch.setattr(engine_module, "SHRINK_INTERVAL", 0.05)
    growing.start(lambda conversation_key: None)
    let_all_meet(growing, 10)
    wait_until(lambda: get_thread_check(growing).detail == "2 of 2 threads alive, 0 conversations queued")
    let_all_meet(growing, 3)


def test_growth_ends_where_no_thread_can_be_started(growing: ThreadEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessorShare, "measure", lambda self: 0.0)
    release = threading.Event()
    growing.start(lambda conversation_key: release.wait(60))

    refused: list[threading.Thread] = []

    def refuse(thread: threading.Thread) -> None:
        refused.append(thread)
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        for number in range(4):
            growing.notify(str(number))
        wait_until(lambda: len(refused) > 1)
        assert growing.load == Load(2, 2)
    wait_until(lambda: growing.load == Load(4, 0))
    release.set()


def test_share_of_the_processor_is_that_since_the_last_look() -> None:
    share = ProcessorShare()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    busy = share.measure()
    time.sleep(0.2)
    assert share.measure() < busy
