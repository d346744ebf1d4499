"""Whoever lost a lease, or is losing it, stores nothing and sends nothing more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cometbot import Context
from cometbot.delivery import Delivery
from cometbot.errors import LeaseLost, StoreBusy, Unreachable
from cometbot.store.database import Database
from cometbot.store.factory import database_from_url
from cometbot.store.fast_path import FastPath
from cometbot.store.leases import Lease, ProcessRegistration
from cometbot.store.outbox import Draft
from cometbot.store.tables import (
    DEAD,
    DISCARDED,
    DONE,
    HELD,
    READY,
    RUNNING,
    SENDING,
    SENT,
    UNKNOWN,
    WAITING,
    conversations,
    mailbox,
    outbox,
    processes,
)
from tests.contract.delivery.conftest import Harness, wait_until


class Contenders:
    """A lease of ``harness``, the process that holds it, and another one that takes it to be dead."""

    def __init__(self, harness: Harness) -> None:
        self.kind = "sqlite" if harness.url.startswith("sqlite") else "postgresql"
        self.url = harness.url
        self.harness = harness
        self.holder = harness.start_process(start=False)
        self.other = database_from_url(harness.url)
        self.other.open()
        self.holder.enqueue(harness.channel.incoming(harness.bot, "hi"))
        self.conversation_key = str(harness.channel.conversation(harness.bot, user="maria").key)
        store = self.holder.store
        with self.holder.database.write() as connection:
            # Its process shows no sign of life, so that others may take the lease.
            lease = store.leases.claim(
                connection, self.conversation_key, ProcessRegistration(self.holder.database).token
            )
            message = store.mailbox.start_oldest(connection, self.conversation_key)
        assert lease is not None
        assert message is not None
        self.lease, self.message = lease, message

    def take_over(self) -> Lease | None:
        """What the other process gets: the lease, or None while it has to wait (SQLite says so, PostgreSQL waits)."""
        store = Delivery([], [], self.other).store
        with self.other.write(timeout=0.0 if self.kind == "sqlite" else None) as connection:
            return store.leases.claim(connection, self.conversation_key, "other")


@pytest.fixture
def contenders(harness: Harness) -> Iterator[Contenders]:
    made = Contenders(harness)
    yield made
    made.other.close()


def check(contenders: Contenders, connection: object) -> None:
    contenders.holder.store.leases.check(connection, contenders.lease)  # type: ignore[arg-type]


def finish_on_fast_path(contenders: Contenders, connection: object) -> None:
    draft = Draft(contenders.message.event_id, 0, 0, contenders.lease.conversation, [{"text": "x"}])
    fast_path = _fast_path(contenders.holder.database)
    if fast_path.finish_with_reply(connection, contenders.lease, contenders.message, "greet", draft) is None:  # type: ignore[arg-type]
        raise LeaseLost


def advance_on_fast_path(contenders: Contenders, connection: object) -> None:
    fast_path = _fast_path(contenders.holder.database)
    advanced = fast_path.advance(
        connection,  # type: ignore[arg-type]
        contenders.lease,
        message=None,
        handler="",
        result=None,
        begin_next=False,
    )
    assert not advanced.is_released, "its message has not ended"


def _fast_path(store: Database) -> FastPath:
    if not store.supports_writable_ctes:
        pytest.skip("this database has no single statements")
    return FastPath(store)


@pytest.mark.parametrize("message_state", [WAITING, RUNNING, DONE, DEAD, DISCARDED])
@pytest.mark.parametrize("reply_state", [None, READY, SENDING, HELD, UNKNOWN, SENT, DEAD, DISCARDED])
def test_idle_release_agrees_with_a_look_at_the_tables(
    contenders: Contenders, message_state: str, reply_state: str | None
) -> None:
    store, key = contenders.holder.store, contenders.conversation_key
    draft = Draft(contenders.message.event_id, 0, 0, contenders.lease.conversation, [{"text": "x"}])
    with contenders.holder.database.write() as connection:
        connection.execute(mailbox.update().values(state=message_state))
        store.outbox.add(connection, [draft] if reply_state else [], state=reply_state or "")
    with contenders.holder.database.write() as connection:
        is_idle = store.outbox.get_next(connection, key) is None and store.mailbox.get_oldest(connection, key) is None
        store.leases.check(connection, contenders.lease)
        assert store.leases.release_idle(connection, contenders.lease) == is_idle
        assert store.leases.holds(connection, contenders.lease) != is_idle


def test_event_stored_during_an_idle_release_needs_a_notification(contenders: Contenders) -> None:
    """It waits for the conversation's row, and then finds that nobody will handle it."""
    store, harness = contenders.holder.store, contenders.harness
    needed: list[bool] = []

    def enqueue() -> None:
        with contenders.other.write() as connection:
            incoming = harness.channel.incoming(harness.bot, "more")
            needed.append(Delivery([], [], contenders.other).enqueue_in(connection, incoming))

    thread = threading.Thread(target=enqueue)
    with contenders.holder.database.write() as connection:
        store.mailbox.end(connection, contenders.message, DONE, "greet")
        store.leases.check(connection, contenders.lease)
        thread.start()
        thread.join(0.2)
        assert store.leases.release_idle(connection, contenders.lease)
        assert thread.is_alive()
    thread.join(60)
    assert needed == [True]


@pytest.mark.parametrize("use_lease", [check, finish_on_fast_path, advance_on_fast_path])
def test_a_checked_lease_holds_until_the_commit(contenders: Contenders, use_lease: object) -> None:
    """Nobody takes a lease over between its check and the commit that depends on it."""
    taken: list[Lease | None] = []
    with contenders.holder.database.write() as connection:
        use_lease(contenders, connection)  # type: ignore[operator]
        if contenders.kind == "sqlite":
            with pytest.raises(StoreBusy):
                contenders.take_over()
        else:
            thread = threading.Thread(target=lambda: taken.append(contenders.take_over()))
            thread.start()
            wait_until(lambda: taken or _waits_for_row(contenders.url))
            assert taken == [], "the other process took the lease over"
    if contenders.kind == "sqlite":
        taken.append(contenders.take_over())
    else:
        thread.join(60)
    assert len(taken) == 1
    assert taken[0] is not None
    with pytest.raises(LeaseLost), contenders.holder.database.write() as connection:
        use_lease(contenders, connection)  # type: ignore[operator]


def test_lease_released_during_a_claim_is_no_recovery(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = harness.start_process(start=False)
    store, conversation_key = holder.store, str(harness.channel.conversation(harness.bot, user="maria").key)
    process = ProcessRegistration(holder.database)
    process.heartbeat()
    holder.enqueue(harness.channel.incoming(harness.bot, "hi"))
    with holder.database.write() as connection:
        lease = store.leases.claim(connection, conversation_key, process.token)
    assert lease is not None
    take_free = store.leases._claim_free
    released: list[Lease] = []

    def take_free_then_release(connection: Any, values: Any) -> Any:
        """Return what the statement returns; at the first one the holder releases the lease at once."""
        cursor = take_free(connection, values)
        if not released:
            released.append(lease)
            store.leases.release(connection, lease)
        return cursor

    monkeypatch.setattr(store.leases, "_claim_free", take_free_then_release)
    with holder.database.write() as connection:
        claimed = store.leases.claim(connection, conversation_key, "other")
    assert claimed is not None
    assert not claimed.is_recovered


def test_dead_lease_taken_by_another_is_not_taken_twice(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    contenders = Contenders(harness)
    store = contenders.holder.store
    find_dead = store.leases._find_dead_holder

    def find_dead_then_lose(connection: Any, values: Any) -> Any:
        """Return what the statement returns, after a process that is new has taken the lease."""
        cursor = find_dead(connection, values)
        connection.execute(conversations.update().values(token="taken", process="new"))
        return cursor

    monkeypatch.setattr(store.leases, "_find_dead_holder", find_dead_then_lose)
    with contenders.holder.database.write() as connection:
        assert store.leases.claim(connection, contenders.conversation_key, "other") is None
    contenders.other.close()


def _waits_for_row(url: str) -> bool:
    """Whether a transaction waits for the end of another one, as the server says."""
    query = (
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) "
        "WHERE datname = current_database() AND NOT granted AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    return bool(row and row[0])


def take_lease_away(delivery: Delivery) -> None:
    """Give every conversation to a process that lives, as if its holder had been taken to be dead."""
    with delivery.database.write() as connection:
        connection.execute(conversations.update().values(token="taken", process="another"))
        values = {"token": "another", "lease_until": delivery.database.clock() + 600, "handles": True, "address": ""}
        connection.execute(processes.delete().where(processes.c.token == "another"))
        connection.execute(processes.insert(), values)


def states(delivery: Delivery) -> tuple[list[str], list[str]]:
    """The states of all messages and of all replies."""
    with delivery.database.read() as connection:
        tables = ((mailbox, mailbox.c.seq), (outbox, outbox.c.id))
        found = [connection.execute(table.select().order_by(order)).all() for table, order in tables]
        messages, replies = ([row.state for row in rows] for rows in found)
    return messages, replies


def wait_until_lost(delivery: Delivery, caplog: pytest.LogCaptureFixture) -> None:
    wait_until(lambda: "lost the lease of a conversation to another worker" in caplog.text)


def test_lease_lost_during_a_send_saves_no_result(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    delivery = harness.start_process(start=False)
    harness.bot.fallback(lambda ctx: "answer")
    harness.enqueue(delivery, "hello")
    harness.enqueue(delivery, "waits")
    harness.channel.faults.append(lambda sending: take_lease_away(delivery))
    delivery.start()
    wait_until_lost(delivery, caplog)
    assert states(delivery) == (["done", "waiting"], ["sending"])


def test_a_lease_lost_between_parts_ends_the_sending(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    delivery = harness.start_process()
    harness.bot.fallback(lambda ctx: "word " * 2000)
    harness.channel.faults.append(lambda sending: take_lease_away(delivery))
    harness.enqueue(delivery, "hello")
    wait_until_lost(delivery, caplog)
    assert len(harness.channel.requests) == 1
    assert set(states(delivery)[1]) == {"sending"}


def test_a_reply_after_the_loss_of_the_lease_is_not_stored(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    delivery = harness.start_process()

    @harness.bot.fallback
    def answer(ctx: Context) -> None:
        take_lease_away(delivery)
        ctx.reply("too late")

    harness.enqueue(delivery, "hello")
    wait_until_lost(delivery, caplog)
    assert states(delivery) == (["running"], [])


def test_failed_fetch_without_a_lease_changes_nothing(
    harness: Harness, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = harness.start_process()

    def fail(incoming: object) -> None:
        take_lease_away(delivery)
        raise Unreachable("away")

    monkeypatch.setattr(harness.channel, "parse", fail)
    harness.enqueue(delivery, "hello")
    wait_until_lost(delivery, caplog)
    assert states(delivery) == (["running"], [])


def test_handler_timeout_without_a_lease_changes_nothing(harness: Harness) -> None:
    delivery = harness.start_process()
    entered, gate = threading.Event(), threading.Event()

    @harness.bot.fallback
    def answer(ctx: Context) -> None:
        entered.set()
        gate.wait(60)

    harness.enqueue(delivery, "hello")
    assert entered.wait(60)
    worker: Any = delivery._workers.existing
    (run,) = worker._handlers._runs.values()
    take_lease_away(delivery)
    assert not worker._runner.abandon_handler(run)
    assert states(delivery) == (["running"], [])
    gate.set()
