"""Old rows are deleted by one process at a time, in batches that others can write between."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot.delivery import Delivery
from cometbot.store import purge
from cometbot.store.tables import facts, mailbox

from .conftest import Harness, wait_until

OLD = 1200


@pytest.fixture
def processes(harness: Harness) -> tuple[Delivery, Delivery]:
    """Two processes, and rows that are old."""
    first, second = harness.start_process(start=False), harness.start_process(start=False)
    with first.database.write() as connection:
        ended = {"state": "done", "ended_at": first.database.clock() - 30 * 86400, "received_at": 0.0}
        row = {
            "channel": "fake",
            "account": "test",
            "bot": "helpdesk",
            "conversation_key": "x",
            "sender": "u",
            "body": b"{}",
        }
        rows = [{**row, **ended, "event_key": f"old:{number}"} for number in range(OLD)]
        connection.execute(mailbox.insert(), rows)
    return first, second


def count(delivery: Delivery) -> int:
    with delivery.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(mailbox)).scalar_one())


def test_only_one_thread_and_process_purges_at_a_time(
    processes: tuple[Delivery, Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = processes
    is_between, may_continue = threading.Event(), threading.Event()

    def pause(seconds: float) -> None:
        is_between.set()
        assert may_continue.wait(60)

    monkeypatch.setattr(purge, "sleep", pause)
    removed: list[int] = []
    thread = threading.Thread(target=lambda: removed.append(first.purge()))
    thread.start()
    assert is_between.wait(60)
    left = count(first)
    assert 0 < left < OLD
    assert (first.purge(), second.purge(), count(first)) == (0, 0, left)

    may_continue.set()
    thread.join(60)
    assert (removed, count(first)) == ([OLD], 0)
    with first.database.read() as connection:
        assert not connection.execute(facts.select().where(facts.c.name.startswith("purge."))).all()


def test_purge_of_a_dead_process_is_taken_over(processes: tuple[Delivery, Delivery]) -> None:
    first, second = processes
    leases = {
        "running out": lambda now: now + purge.PURGE_LEASE_TTL,
        "over": lambda now: now - 1,
        "absurd": lambda now: now * 2,
    }
    for name, ends_at in leases.items():
        with first.database.write() as connection:
            connection.execute(facts.delete().where(facts.c.name == "purge.delivery"))
            value = f"dead {ends_at(first.database.clock())!r}"
            connection.execute(facts.insert().values(name="purge.delivery", value=value))
        assert second.purge() == {"running out": 0, "over": OLD, "absurd": 0}[name]
    with first.database.read() as connection:
        assert not connection.execute(facts.select().where(facts.c.name == "purge.delivery")).all()


def test_failed_purge_releases_its_lease(processes: tuple[Delivery, Delivery], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = processes

    def fail(*_: Any) -> int:
        raise RuntimeError("not now")

    monkeypatch.setattr(first.store.mailbox, "purge", fail)
    with pytest.raises(RuntimeError, match="not now"):
        first.purge()
    assert second.purge() == OLD


def test_batches_are_bounded_in_rows_and_time(
    processes: tuple[Delivery, Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = processes
    limits: list[int] = []
    delete = first.store.mailbox.purge

    def delete_slowly(connection: Any, before: float, limit: int) -> int:
        limits.append(limit)
        started_at = time.monotonic()
        removed = delete(connection, before, limit)
        wait_until(lambda: time.monotonic() - started_at > limit * 0.0005)
        return removed

    monkeypatch.setattr(first.store.mailbox, "purge", delete_slowly)
    assert first.purge() == OLD
    if first.database.server_url:  # writers do not wait for a deletion there
        assert set(limits) == {purge.MAX_BATCH_ROWS}
        return
    # 0.5 ms a row: 20 rows fit into a batch.
    assert limits[0] == purge.MIN_BATCH_ROWS
    assert max(limits) <= 2 * purge.MIN_BATCH_ROWS
