"""Conversations are worked through in the caller's thread, in order, and only when asked for."""

from __future__ import annotations

import threading

from cometbot.testing import ImmediateEngine, MemoryDatabase


def test_a_wake_only_queues() -> None:
    engine, worked = ImmediateEngine(), list[str]()
    engine.start(worked.append)
    engine.notify("a")

    assert worked == []
    assert engine.checks()[0].detail == "1 conversations queued"


def test_conversations_run_once_in_wake_order() -> None:
    engine, worked = ImmediateEngine(), list[str]()
    engine.start(worked.append)
    for conversation_key in ("a", "b", "a"):
        engine.notify(conversation_key)
    engine.run_until_idle()

    assert worked == ["a", "b"]


def test_lanes_that_are_woken_by_a_lane_are_worked_too() -> None:
    engine, worked = ImmediateEngine(), list[str]()

    def work(conversation_key: str) -> None:
        worked.append(conversation_key)
        if conversation_key == "a":
            engine.notify("b")

    engine.start(work)
    engine.notify("a")
    engine.run_until_idle()

    assert worked == ["a", "b"]


def test_what_waits_when_it_is_stopped_is_not_worked() -> None:
    engine, worked = ImmediateEngine(), list[str]()
    engine.start(worked.append)
    engine.notify("a")

    assert engine.stop(0)
    engine.run_until_idle()
    assert worked == []


def test_it_has_no_threads() -> None:
    before = threading.active_count()
    engine = ImmediateEngine()
    engine.start(lambda conversation_key: None)
    engine.replace_thread(1)

    assert threading.active_count() == before


def test_the_clock_of_the_database_stands_until_it_is_set() -> None:
    database = MemoryDatabase(now=1000.0)
    clock = database.clock

    assert clock() == clock() == 1000.0
    database.now += 5
    assert clock() == 1005.0
