"""Events between the socket and the store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cometbot.channels.simplex.inbox import Inbox, Room
from cometbot.channels.simplex.protocol import Record

LIMIT = 5.0


def event(number: int) -> Record:
    return Record("event", {"type": "event", "number": number})


@pytest.fixture
def overflows() -> list[str]:
    return []


@pytest.fixture
def inbox(overflows: list[str]) -> Iterator[Inbox]:
    made = Inbox(Room(events=3, size=100), Room(events=5, size=1000), lambda: overflows.append("overflow"))
    yield made
    made.close()


def never() -> bool:
    return False


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def numbers(inbox: Inbox, count: int) -> list[int]:
    found = []
    for _ in range(count):
        taken = inbox.take()
        assert taken is not None
        found.append(taken.raw["number"])
        inbox.done()
    return found


def test_events_come_out_in_their_order(inbox: Inbox) -> None:
    for number in range(3):
        assert inbox.put(event(number), 1, never)
    assert numbers(inbox, 3) == [0, 1, 2]


def test_a_full_inbox_makes_its_writer_wait_and_drops_nothing(inbox: Inbox) -> None:
    for number in range(3):
        inbox.put(event(number), 1, never)
    writer = in_thread(lambda: inbox.put(event(3), 1, never))
    writer.join(0.05)
    assert writer.is_alive()
    assert numbers(inbox, 1) == [0]
    writer.join(LIMIT)
    assert not writer.is_alive()
    assert numbers(inbox, 3) == [1, 2, 3]


def test_bytes_count_as_well_and_an_event_larger_than_all_room_passes_alone(inbox: Inbox) -> None:
    assert inbox.put(event(0), 500, never)
    writer = in_thread(lambda: inbox.put(event(1), 1, never))
    writer.join(0.05)
    assert writer.is_alive()
    assert numbers(inbox, 2) == [0, 1]


def test_a_writer_that_waits_is_let_go_when_nobody_will_ever_read(inbox: Inbox) -> None:
    for number in range(3):
        inbox.put(event(number), 1, never)
    assert not inbox.put(event(3), 1, lambda: True)
    assert len(inbox) == 3


def test_what_is_held_back_comes_after_the_release_and_not_before(inbox: Inbox) -> None:
    inbox.hold()
    for number in range(5):
        assert inbox.put(event(number), 1, never)
    found: list[int] = []
    reader = in_thread(lambda: found.extend(numbers(inbox, 5)))
    reader.join(0.05)
    assert found == []
    inbox.release()
    reader.join(LIMIT)
    assert found == [0, 1, 2, 3, 4]


def test_more_than_can_be_held_back_ends_the_hold_and_says_so(inbox: Inbox, overflows: list[str]) -> None:
    inbox.hold()
    for number in range(5):
        inbox.put(event(number), 1, never)
    writer = in_thread(lambda: inbox.put(event(5), 1, never))
    assert numbers(inbox, 6) == [0, 1, 2, 3, 4, 5]
    writer.join(LIMIT)
    assert overflows == ["overflow"]


def test_idle_means_that_everything_is_stored_not_only_taken(inbox: Inbox) -> None:
    inbox.put(event(0), 1, never)
    assert inbox.take() is not None
    waiter = in_thread(lambda: inbox.wait_idle(never))
    waiter.join(0.05)
    assert waiter.is_alive()
    assert not inbox.wait_idle(lambda: True)
    inbox.done()
    waiter.join(LIMIT)
    assert not waiter.is_alive()
    assert inbox.wait_idle(never)


def test_a_closed_inbox_gives_what_it_has_and_then_nothing(inbox: Inbox) -> None:
    inbox.hold()
    inbox.put(event(0), 1, never)
    inbox.close()
    assert numbers(inbox, 1) == [0]
    assert inbox.take() is None


def test_it_takes_as_much_as_while_it_is_held_for_a_while() -> None:
    inbox = Inbox(Room(events=1), Room(events=3), lambda: None)
    inbox.widen(time.monotonic() + 3600)
    for number in range(3):
        assert inbox.put(Record(f"e{number}", {}), 1, lambda: True)
    assert not inbox.put(Record("e3", {}), 1, lambda: True)

    inbox.widen(0)
    assert inbox.take() is not None
    assert not inbox.put(Record("e3", {}), 1, lambda: True)
