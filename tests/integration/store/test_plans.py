"""What a message costs does not grow with what is stored: every statement of delivery finds its rows by an index."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from cometbot.bot import Bot
from cometbot.delivery import Delivery, ThreadEngine
from cometbot.delivery.leases import Lease
from cometbot.errors import LeaseLost
from cometbot.models import Conversation
from cometbot.store.database import Prepared, database
from cometbot.store.erasure import Erasure
from cometbot.testing.channel import FakeChannel

BIG = ("mailbox", "outbox", "conversations")

FILL = """
INSERT INTO mailbox (channel, account, bot, event_key, lane, sender, body, received_at, state, ended_at)
SELECT 'fake', 'old', 'helpdesk', 'done:' || n, 'fake/old/helpdesk/' || n % 20000, 'u', 'x', n, 'done', n
FROM generate_series(1, {done}) AS n;
INSERT INTO mailbox (channel, account, bot, event_key, lane, sender, body, received_at)
SELECT 'fake', 'old', 'elsewhere', 'late:' || n, 'fake/old/elsewhere/' || n % 5000, 'u', 'x', n
FROM generate_series(1, {waiting}) AS n;
INSERT INTO outbox (event, ordinal, part, lane, payload, client_id, state, created_at, ended_at, platform_id)
SELECT 'o' || n, 0, 0, 'fake/old/helpdesk/' || n % 20000, '{{}}', 'c' || n, 'sent', n, n, 'p' || n
FROM generate_series(1, 100000) AS n;
INSERT INTO outbox (event, ordinal, part, lane, payload, client_id, state, created_at, due_at)
SELECT 'h' || n, 0, 0, 'fake/old/elsewhere/' || n % 5000, '{{}}', 'h' || n, 'held', n, n
FROM generate_series(1, 5000) AS n;
INSERT INTO conversations (lane, channel, account, bot, conversation, target, is_group, mail, due_at)
SELECT 'fake/old/' || bot || '/' || n, 'fake', 'old', bot, n, n, false, bot = 'elsewhere',
       CASE WHEN bot = 'elsewhere' AND n % 2 = 0 THEN n END
FROM (SELECT 'helpdesk' AS bot, n FROM generate_series(0, 19999) AS n
      UNION ALL SELECT 'elsewhere', n FROM generate_series(0, 4999) AS n) AS all_of_them;
INSERT INTO state (scope, owner, name, value)
SELECT 'conversation', 'fake/old/helpdesk/' || n, 'n', '1' FROM generate_series(1, 20000) AS n;
"""
"""Messages that are done, and others, of another bot, that wait in five thousand conversations."""

SIZES = {
    "stale": {"done": 100_000, "waiting": 20_000},
    "fresh": {"done": 100_000, "waiting": 20_000},
    "large": {"done": 1_000_000, "waiting": 100_000},
}

Statement = tuple[str, Any]


class Statements(dict[str, Any]):
    """Every statement that was run, with the values of its first time; ``prepared``: those of each message."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: set[str] = set()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[Statements]:
    seen = Statements()
    call = Prepared.__call__

    def note_prepared(self: Prepared, connection: Any, values: Any = ()) -> Any:
        given = {**self._constants, **dict(values)}
        seen.prepared.add(self._sql)
        seen.setdefault(self._sql, given if self._names is None else [given[name] for name in self._names])
        return call(self, connection, given)

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, is_many: bool) -> None:
        seen.setdefault(statement, parameters[0] if is_many else parameters)

    monkeypatch.setattr(Prepared, "__call__", note_prepared)
    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


def live(url: str) -> None:
    """A short life of a bot: messages, replies, state, a handler that fails, a restart, a purge, and a look."""
    bot, channel = Bot("helpdesk"), FakeChannel()

    @bot.message("fail")
    def fail(ctx: Any) -> None:
        raise ValueError("as told")

    @bot.fallback
    def answer(ctx: Any) -> str:
        ctx.reply("wait")
        ctx.state["n"] = ctx.state.get("n", 0) + 1
        return "yes"

    with closing(Delivery([bot], [channel], url, engine=ThreadEngine(2))) as delivery:
        delivery.start()
        for text in ("hi", "fail", "ho"):
            delivery.put(channel.incoming(bot, text))
        bot.connect(delivery)
        bot.send(user="maria", text="news")
        end = time.monotonic() + 60
        while len(channel.texts()) < 6 or delivery.store.mailbox is None:
            assert time.monotonic() < end, channel.texts()
            time.sleep(0.02)
        _look(delivery, channel, bot)
        time.sleep(1.2)  # a sweep


def _look(delivery: Delivery, channel: FakeChannel, bot: Bot) -> None:
    delivery.purge()
    delivery.backlog()
    delivery.find_sent("fake", "old", "p77")
    delivery.find_received("fake", "old", bot.name, "message:77")
    for letter in delivery.dead_letters.list():
        delivery.retry(letter.id)
    assert delivery._crew is not None
    delivery._crew._process.doubt()
    delivery._crew._process.give_back_lost(delivery.store.leases)
    with delivery.database.read() as connection:
        dead = channel.incoming(bot, "x").conversation.key
        delivery.store.leases.claim(connection, str(dead), "nobody")
    with delivery.database.write() as connection:
        erasure = Erasure(delivery.database)
        lanes = erasure.lanes_with(connection, "fake", "old", "77")
        erasure.drop(connection, [*lanes, "fake/old/elsewhere/7"])
        erasure.empty_told(connection, "fake/old/elsewhere/8")
        erasure.empty_sent(connection, "fake/old/helpdesk/8")
        erasure.empty_messages(connection, "fake", "old", "helpdesk", ["done:1"])


def about_big_tables(statements: Statements) -> list[Statement]:
    pattern = re.compile(rf"\b(FROM|UPDATE|INTO|JOIN)\s+({'|'.join(BIG)})\b", re.I)
    found = [(sql, values) for sql, values in statements.items() if pattern.search(sql) and "sqlite_master" not in sql]
    assert len(found) > 20
    return found


def test_on_sqlite_no_statement_of_delivery_reads_a_whole_table(tmp_path: Path, statements: Statements) -> None:
    live(f"sqlite:///{tmp_path}/bot.db")
    found = []
    with closing(database(f"sqlite:///{tmp_path}/bot.db")) as opened, opened.read() as connection:
        for sql, values in about_big_tables(statements):
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", tuple(values)).all()
            found += [(row.detail, sql) for row in plan if re.match(rf"SCAN ({'|'.join(BIG)})(?!.*USING)", row.detail)]
    assert found == []


@pytest.fixture
def full_url(postgres_url: str, request: pytest.FixtureRequest) -> str:
    """A database with much in it; the server knows how much, or believes that it is empty (``stale``)."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for table in BIG:
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
            connection.execute(f"ANALYZE {table}")
        connection.execute(FILL.format(**SIZES[request.param]).encode())
        if request.param != "stale":
            connection.execute("VACUUM ANALYZE")
    return postgres_url


@pytest.mark.parametrize("full_url", ["fresh"], indirect=True)
def test_on_postgresql_no_statement_of_delivery_reads_a_whole_table(full_url: str, statements: Statements) -> None:
    live(full_url)
    assert scans(full_url, about_big_tables(statements)) == []


@pytest.mark.parametrize("full_url", ["stale"], indirect=True)
def test_on_postgresql_no_message_reads_a_whole_table_where_the_server_believes_that_it_is_empty(
    full_url: str, statements: Statements
) -> None:
    live(full_url)
    assert len(statements.prepared) > 10
    each_message = [(sql, values) for sql, values in about_big_tables(statements) if sql in statements.prepared]
    assert scans(full_url, each_message) == []


def scans(url: str, statements: list[Statement]) -> list[str]:
    """The statements that read a whole table, planned for their values or for any."""
    found = []
    with psycopg.connect(url) as connection:
        for mode in ("force_custom_plan", "force_generic_plan"):
            connection.execute(f"SET plan_cache_mode = {mode}")
            for sql, values in statements:
                for node in nodes(explain(connection, sql, values)):
                    if node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG:
                        found.append(f"{node['Relation Name']} {mode}: {sql}")
    return found


def explain(connection: psycopg.Connection[Any], sql: str, values: Any) -> dict[str, Any]:
    """The plan of a statement as the server keeps it for one that it has prepared."""
    order: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in order:
            order.append(match[1])
        return f"${order.index(match[1]) + 1}"

    numbered = re.sub(r"%\((\w+)\)s", number, sql).replace("%%", "%")
    literals = ", ".join(psycopg.sql.Literal(values[name]).as_string(connection) for name in order)
    connection.prepare_threshold = None
    connection.execute("DEALLOCATE ALL")
    connection.execute(f"PREPARE it AS {numbered}".encode())
    call = f"EXECUTE it({literals})" if order else "EXECUTE it"
    [(plan,)] = connection.execute(f"EXPLAIN (FORMAT JSON) {call}".encode()).fetchall()
    root: dict[str, Any] = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
    return root


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from nodes(child)


OFTEN: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "head": (lambda store, c: store.mailbox.head(c, "fake/old/elsewhere/7"), "mailbox_undone"),
    "next reply": (lambda store, c: store.outbox.next(c, "fake/old/elsewhere/7"), "outbox_undone"),
    "sweep": (lambda store, c: store.leases.forgotten(c, ["elsewhere"], ["fake"]), "conversations_undone"),
    "what is held": (lambda store, c: store.leases.held_by(c, "me"), "conversations_undone"),
    "what is stuck": (lambda store, c: store.leases.stuck(c, 60.0), "conversations_undone"),
    "purge of mail": (lambda store, c: store.mailbox.purge(c, 50000.0), "mailbox_ended"),
    "purge of replies": (lambda store, c: store.outbox.purge(c, 50000.0), "outbox_ended"),
    "whose is a reply": (lambda store, c: store.outbox.find_sent(c, "fake", "old", "p77"), "outbox_platform_id"),
}


def going_on(store: Any, connection: Any) -> None:
    lease = Lease("fake/old/elsewhere/7", "mine", Conversation("fake", "old", "elsewhere", "7", "7"))
    with suppress(LeaseLost):
        store.chains.go_on(connection, lease, mail=None, handler="", note=None, begins=True)


CHAINS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "claim": (lambda store, c: store.chains.claim(c, "fake/old/elsewhere/7", "me", "mine"), "mailbox_undone"),
    "go on: the next message": (going_on, "mailbox_undone"),
    "go on: a reply before it": (going_on, "outbox_undone"),
    "go on: what ended": (going_on, "mailbox_pkey"),
    "go on: what is remembered": (going_on, "state_pkey"),
}


@pytest.mark.parametrize("full_url", ["large"], indirect=True)
def test_on_postgresql_what_is_looked_for_often_has_an_index_of_its_own(full_url: str, statements: Statements) -> None:
    used: dict[str, set[str]] = {}
    with psycopg.connect(full_url) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        for name, (sql, values) in often(full_url, statements, OFTEN | CHAINS).items():
            used[name] = {node.get("Index Name", "") for node in nodes(explain(connection, sql, values))}
    assert {name: index for name, (_, index) in (OFTEN | CHAINS).items() if index not in used[name]} == {}


def test_on_sqlite_what_is_looked_for_often_has_an_index_of_its_own(tmp_path: Path, statements: Statements) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    used: dict[str, str] = {}
    looked = often(url, statements, OFTEN)
    with closing(database(url)) as opened, opened.read() as connection:
        for name, (sql, values) in looked.items():
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", tuple(values)).all()
            used[name] = "; ".join(row.detail for row in plan)
    assert {name: used[name] for name, (_, index) in OFTEN.items() if index not in used[name]} == {}


def often(
    url: str, statements: Statements, things: Mapping[str, tuple[Callable[..., Any], str]]
) -> dict[str, Statement]:
    """The first statement of each thing that is done often."""
    found = {}
    with closing(Delivery([Bot("helpdesk")], [FakeChannel()], url)) as delivery:
        delivery.database.clock()
        with delivery.database.write() as connection:
            for name, (does, _) in things.items():
                statements.clear()
                does(delivery.store, connection)
                found[name] = next(iter(statements.items()))
    return found
