"""Whoever lost a lease, or is losing it, stores nothing and sends nothing more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from cometbot import Context
from cometbot.delivery import Delivery
from cometbot.delivery.chains import Chains
from cometbot.delivery.lane import abandon
from cometbot.delivery.leases import Lease, Process
from cometbot.delivery.outbox import Draft
from cometbot.errors import LeaseLost, StoreBusy, Unreachable
from cometbot.store.database import Database, database
from cometbot.store.tables import conversations, mailbox, outbox, processes
from tests.contract.delivery.conftest import World, wait_until


class Contenders:
    """A lease of ``world``, the process that holds it, and another one that takes it to be dead."""

    def __init__(self, world: World) -> None:
        self.kind = "sqlite" if world.url.startswith("sqlite") else "postgresql"
        self.url = world.url
        self.holder = world.process(start=False)
        self.other = database(world.url)
        self.other.open()
        self.holder.put(world.channel.incoming(world.bot, "hi"))
        self.lane = str(world.channel.conversation(world.bot, user="maria").key)
        store = self.holder.store
        with self.holder.database.write() as connection:
            # Its process shows no sign of life, so that others may take the lease.
            lease = store.leases.claim(connection, self.lane, Process(self.holder.database).token)
            mail = store.mailbox.take(connection, self.lane)
        assert lease is not None
        assert mail is not None
        self.lease, self.mail = lease, mail

    def take_over(self) -> Lease | None:
        """What the other process gets: the lease, or None while it has to wait (SQLite says so, PostgreSQL waits)."""
        store = Delivery([], [], self.other).store
        with self.other.write(timeout=0.0 if self.kind == "sqlite" else None) as connection:
            return store.leases.claim(connection, self.lane, "other")


@pytest.fixture
def contenders(world: World) -> Iterator[Contenders]:
    made = Contenders(world)
    yield made
    made.other.close()


def check(contenders: Contenders, connection: object) -> None:
    contenders.holder.store.leases.check(connection, contenders.lease)  # type: ignore[arg-type]


def say_in_one_statement(contenders: Contenders, connection: object) -> None:
    draft = Draft(contenders.mail.event, 0, 0, contenders.lane, [{"text": "x"}])
    chains = _chains(contenders.holder.database)
    if chains.say(connection, contenders.lease, contenders.mail, "greet", draft) is None:  # type: ignore[arg-type]
        raise LeaseLost


def go_on_in_one_statement(contenders: Contenders, connection: object) -> None:
    chains = _chains(contenders.holder.database)
    turn = chains.go_on(
        connection,  # type: ignore[arg-type]
        contenders.lease,
        mail=None,
        handler="",
        note=None,
        begins=False,
    )
    assert not turn.is_released, "its message has not ended"


def _chains(store: Database) -> Chains:
    if not store.takes_chains:
        pytest.skip("this database has no single statements")
    return Chains(store)


@pytest.mark.parametrize("keep", [check, say_in_one_statement, go_on_in_one_statement])
def test_a_checked_lease_holds_until_the_commit(contenders: Contenders, keep: object) -> None:
    """Nobody takes a lease over between its check and the commit that depends on it."""
    taken: list[Lease | None] = []
    with contenders.holder.database.write() as connection:
        keep(contenders, connection)  # type: ignore[operator]
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
        keep(contenders, connection)  # type: ignore[operator]


def test_lease_released_during_a_claim_is_no_recovery(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = world.process(start=False)
    store, lane = holder.store, str(world.channel.conversation(world.bot, user="maria").key)
    process = Process(holder.database)
    process.beat()
    holder.put(world.channel.incoming(world.bot, "hi"))
    with holder.database.write() as connection:
        lease = store.leases.claim(connection, lane, process.token)
    assert lease is not None
    take_free = store.leases._take_free
    released: list[Lease] = []

    def take_free_then_release(connection: Any, values: Any) -> Any:
        """Return what the statement returns; at the first one the holder releases the lease at once."""
        cursor = take_free(connection, values)
        if not released:
            released.append(lease)
            store.leases.release(connection, lease)
        return cursor

    monkeypatch.setattr(store.leases, "_take_free", take_free_then_release)
    with holder.database.write() as connection:
        claimed = store.leases.claim(connection, lane, "other")
    assert claimed is not None
    assert not claimed.recovered


def test_dead_lease_taken_by_another_is_not_taken_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    contenders = Contenders(world)
    store = contenders.holder.store
    find_dead = store.leases._find_dead

    def find_dead_then_lose(connection: Any, values: Any) -> Any:
        """Return what the statement returns, after a process that is new has taken the lease."""
        cursor = find_dead(connection, values)
        connection.execute(conversations.update().values(token="taken", process="new"))
        return cursor

    monkeypatch.setattr(store.leases, "_find_dead", find_dead_then_lose)
    with contenders.holder.database.write() as connection:
        assert store.leases.claim(connection, contenders.lane, "other") is None
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
    wait_until(lambda: "lost a conversation to another worker" in caplog.text)


def test_a_lease_lost_during_a_send_leaves_no_note(world: World, caplog: pytest.LogCaptureFixture) -> None:
    delivery = world.process(start=False)
    world.bot.fallback(lambda ctx: "answer")
    world.say(delivery, "hello")
    world.say(delivery, "waits")
    world.channel.faults.append(lambda sending: take_lease_away(delivery))
    delivery.start()
    wait_until_lost(delivery, caplog)
    assert states(delivery) == (["done", "waiting"], ["sending"])


def test_a_lease_lost_between_parts_ends_the_sending(world: World, caplog: pytest.LogCaptureFixture) -> None:
    delivery = world.process()
    world.bot.fallback(lambda ctx: "word " * 2000)
    world.channel.faults.append(lambda sending: take_lease_away(delivery))
    world.say(delivery, "hello")
    wait_until_lost(delivery, caplog)
    assert len(world.channel.requests) == 1
    assert set(states(delivery)[1]) == {"sending"}


def test_a_reply_after_the_loss_of_the_lease_is_not_stored(world: World, caplog: pytest.LogCaptureFixture) -> None:
    delivery = world.process()

    @world.bot.fallback
    def answer(ctx: Context) -> None:
        take_lease_away(delivery)
        ctx.reply("too late")

    world.say(delivery, "hello")
    wait_until_lost(delivery, caplog)
    assert states(delivery) == (["running"], [])


def test_a_message_that_cannot_be_fetched_is_left_to_the_new_holder(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = world.process()

    def fail(incoming: object) -> None:
        take_lease_away(delivery)
        raise Unreachable("away")

    monkeypatch.setattr(world.channel, "parse", fail)
    world.say(delivery, "hello")
    wait_until_lost(delivery, caplog)
    assert states(delivery) == (["running"], [])


def test_a_handler_past_its_deadline_without_a_lease_is_not_given_up(world: World) -> None:
    delivery = world.process()
    entered, gate = threading.Event(), threading.Event()

    @world.bot.fallback
    def answer(ctx: Context) -> None:
        entered.set()
        gate.wait(60)

    world.say(delivery, "hello")
    assert entered.wait(60)
    crew: Any = delivery._crew
    (run,) = crew._equipment.running._runs.values()
    take_lease_away(delivery)
    assert not abandon(crew._equipment, run)
    assert states(delivery) == (["running"], [])
    gate.set()
