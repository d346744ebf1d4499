"""Events between the socket and the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cometbot.channels.simplex.event_queue import EventQueue, QueueLimit
from cometbot.channels.simplex.protocol import Record

LIMIT = 5.0


def event(number: int) -> Record:
    return Record("event", {"type": "event", "number": number})


@pytest.fixture
def overflows() -> list[str]:
    return []


@pytest.fixture
def queue(overflows: list[str]) -> Iterator[EventQueue]:
    made = EventQueue(
        QueueLimit(events=3, size=100), QueueLimit(events=5, size=1000), lambda: overflows.append("overflow")
    )
    yield made
    made.close()


def never() -> bool:
    return False


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def numbers(queue: EventQueue, count: int) -> list[int]:
    found = []
    for _ in range(count):
        taken = queue.dequeue()
        assert taken is not None
        found.append(taken.raw["number"])
        queue.task_done()
    return found


def test_events_come_out_in_their_order(queue: EventQueue) -> None:
    for number in range(3):
        assert queue.enqueue(event(number), 1, never)
    assert numbers(queue, 3) == [0, 1, 2]


def test_a_full_inbox_makes_its_writer_wait_and_drops_nothing(queue: EventQueue) -> None:
    for number in range(3):
        queue.enqueue(event(number), 1, never)
    writer = in_thread(lambda: queue.enqueue(event(3), 1, never))
    writer.join(0.05)
    assert writer.is_alive()
    assert numbers(queue, 1) == [0]
    writer.join(LIMIT)
    assert not writer.is_alive()
    assert numbers(queue, 3) == [1, 2, 3]


def test_byte_limit_lets_one_oversized_event_pass(queue: EventQueue) -> None:
    assert queue.enqueue(event(0), 500, never)
    writer = in_thread(lambda: queue.enqueue(event(1), 1, never))
    writer.join(0.05)
    assert writer.is_alive()
    assert numbers(queue, 2) == [0, 1]


def test_waiting_writer_is_cancelled(queue: EventQueue) -> None:
    for number in range(3):
        queue.enqueue(event(number), 1, never)
    assert not queue.enqueue(event(3), 1, lambda: True)
    assert len(queue) == 3


def test_paused_events_come_after_resume(queue: EventQueue) -> None:
    queue.pause()
    for number in range(5):
        assert queue.enqueue(event(number), 1, never)
    found: list[int] = []
    reader = in_thread(lambda: found.extend(numbers(queue, 5)))
    reader.join(0.05)
    assert found == []
    queue.resume()
    reader.join(LIMIT)
    assert found == [0, 1, 2, 3, 4]


def test_overflow_ends_the_pause(queue: EventQueue, overflows: list[str]) -> None:
    queue.pause()
    for number in range(5):
        queue.enqueue(event(number), 1, never)
    writer = in_thread(lambda: queue.enqueue(event(5), 1, never))
    assert numbers(queue, 6) == [0, 1, 2, 3, 4, 5]
    writer.join(LIMIT)
    assert overflows == ["overflow"]


def test_idle_means_processed_not_dequeued(queue: EventQueue) -> None:
    queue.enqueue(event(0), 1, never)
    assert queue.dequeue() is not None
    waiter = in_thread(lambda: queue.wait_idle(never))
    waiter.join(0.05)
    assert waiter.is_alive()
    assert not queue.wait_idle(lambda: True)
    queue.task_done()
    waiter.join(LIMIT)
    assert not waiter.is_alive()
    assert queue.wait_idle(never)


def test_a_closed_inbox_gives_what_it_has_and_then_nothing(queue: EventQueue) -> None:
    queue.pause()
    queue.enqueue(event(0), 1, never)
    queue.close()
    assert numbers(queue, 1) == [0]
    assert queue.dequeue() is None


def test_startup_limit_applies_until_deadline() -> None:
    queue = EventQueue(QueueLimit(events=1), QueueLimit(events=3), lambda: None)
    queue.use_startup_limit_until(time.monotonic() + 3600)
    for number in range(3):
        assert queue.enqueue(Record(f"e{number}", {}), 1, lambda: True)
    assert not queue.enqueue(Record("e3", {}), 1, lambda: True)

    queue.use_startup_limit_until(0)
    assert queue.dequeue() is not None
    assert not queue.enqueue(Record("e3", {}), 1, lambda: True)
