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
from cometbot.errors import LeaseLost
from cometbot.models import Conversation
from cometbot.store.database import PreparedStatement
from cometbot.store.erasure import Erasure
from cometbot.store.factory import database_from_url
from cometbot.store.fast_path import FastPath
from cometbot.store.leases import Lease
from cometbot.store.outbox import OldReplyPurge
from cometbot.testing.fake_channel import FakeChannel

BIG_TABLES = ("mailbox", "outbox", "conversations")

FILL_TABLES = """
INSERT INTO mailbox (channel, account, bot, event_key, conversation_key, sender, body, received_at, state, ended_at)
SELECT 'fake', 'old', 'helpdesk', 'done:' || n, 'fake/old/helpdesk/' || n % 20000, 'u', 'x', n, 'done', n
FROM generate_series(1, {done}) AS n;
INSERT INTO mailbox (channel, account, bot, event_key, conversation_key, sender, body, received_at)
SELECT 'fake', 'old', 'elsewhere', 'late:' || n, 'fake/old/elsewhere/' || n % 5000, 'u', 'x', n
FROM generate_series(1, {waiting}) AS n;
INSERT INTO outbox
    (event, ordinal, part, conversation_key, payload, client_id, state, created_at, ended_at, platform_id)
SELECT 'o' || n, 0, 0, 'fake/old/helpdesk/' || n % 20000, '{{}}', 'c' || n, 'sent', n, n, 'p' || n
FROM generate_series(1, 100000) AS n;
INSERT INTO outbox (event, ordinal, part, conversation_key, payload, client_id, state, created_at, due_at)
SELECT 'h' || n, 0, 0, 'fake/old/elsewhere/' || n % 5000, '{{}}', 'h' || n, 'held', n, n
FROM generate_series(1, 5000) AS n;
INSERT INTO conversations (conversation_key, channel, account, bot, conversation, target, is_group, mail, due_at)
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


class RecordedStatements(dict[str, Any]):
    """Every statement that was run, with the values of its first time; ``prepared``: those of each message."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: set[str] = set()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordedStatements]:
    recorded = RecordedStatements()
    call = PreparedStatement.__call__

    def record_prepared(self: PreparedStatement, connection: Any, values: Any = ()) -> Any:
        given = {**self._constants, **dict(values)}
        recorded.prepared.add(self._sql)
        recorded.setdefault(self._sql, given if self._names is None else [given[name] for name in self._names])
        return call(self, connection, given)

    def record_statement(_: Any, __: Any, statement: str, parameters: Any, ___: Any, is_many: bool) -> None:
        recorded.setdefault(statement, parameters[0] if is_many else parameters)

    monkeypatch.setattr(PreparedStatement, "__call__", record_prepared)
    sa.event.listen(sa.Engine, "before_cursor_execute", record_statement)
    yield recorded
    sa.event.remove(sa.Engine, "before_cursor_execute", record_statement)


def exercise_delivery(url: str) -> None:
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
            delivery.enqueue(channel.incoming(bot, text))
        bot.connect(delivery)
        bot.send(user="maria", text="news")
        end = time.monotonic() + 60
        while len(channel.texts()) < 6 or delivery.store.mailbox is None:
            assert time.monotonic() < end, channel.texts()
            time.sleep(0.02)
        exercise_operations(delivery, channel, bot)
        time.sleep(1.2)  # a sweep


def exercise_operations(delivery: Delivery, channel: FakeChannel, bot: Bot) -> None:
    delivery.purge()
    delivery.backlog()
    delivery.find_sent_conversation("fake", "old", "p77")
    delivery.find_received_conversation("fake", "old", bot.name, "message:77")
    for letter in delivery.dead_letters.list():
        delivery.retry(letter.id)
    assert delivery._workers.existing is not None
    delivery._workers.existing._process.mark_uncertain()
    delivery._workers.existing._process.release_lost(delivery.store.leases)
    with delivery.database.read() as connection:
        dead = channel.incoming(bot, "x").conversation.key
        delivery.store.leases.claim(connection, str(dead), "nobody")
    with delivery.database.write() as connection:
        erasure = Erasure(delivery.database)
        conversation_keys = erasure.find_conversation_keys(connection, "fake", "old", "77")
        erasure.erase_and_delete(connection, [*conversation_keys, "fake/old/elsewhere/7"])
        erasure.clear_replies(connection, "fake/old/elsewhere/8")
        erasure.clear_sent_replies(connection, "fake/old/helpdesk/8")
        erasure.clear_messages(connection, "fake", "old", "helpdesk", ["done:1"])


def select_big_table_statements(statements: RecordedStatements) -> list[Statement]:
    pattern = re.compile(rf"\b(FROM|UPDATE|INTO|JOIN)\s+({'|'.join(BIG_TABLES)})\b", re.I)
    found = [(sql, values) for sql, values in statements.items() if pattern.search(sql) and "sqlite_master" not in sql]
    assert len(found) > 20
    return found


def test_sqlite_delivery_scans_no_whole_table(tmp_path: Path, statements: RecordedStatements) -> None:
    exercise_delivery(f"sqlite:///{tmp_path}/bot.db")
    found = []
    with closing(database_from_url(f"sqlite:///{tmp_path}/bot.db")) as opened, opened.read() as connection:
        for sql, values in select_big_table_statements(statements):
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", tuple(values)).all()
            found += [
                (row.detail, sql) for row in plan if re.match(rf"SCAN ({'|'.join(BIG_TABLES)})(?!.*USING)", row.detail)
            ]
    assert found == []


@pytest.fixture
def full_url(postgres_url: str, request: pytest.FixtureRequest) -> str:
    """A database with much in it; the server knows how much, or believes that it is empty (``stale``)."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for table in BIG_TABLES:
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
            connection.execute(f"ANALYZE {table}")
        connection.execute(FILL_TABLES.format(**SIZES[request.param]).encode())
        if request.param != "stale":
            connection.execute("VACUUM ANALYZE")
    return postgres_url


@pytest.mark.parametrize("full_url", ["fresh"], indirect=True)
def test_postgresql_delivery_scans_no_whole_table(full_url: str, statements: RecordedStatements) -> None:
    exercise_delivery(full_url)
    assert find_full_scans(full_url, select_big_table_statements(statements)) == []


@pytest.mark.parametrize("full_url", ["stale"], indirect=True)
def test_postgresql_scans_no_table_with_stale_statistics(full_url: str, statements: RecordedStatements) -> None:
    exercise_delivery(full_url)
    assert len(statements.prepared) > 10
    each_message = [
        (sql, values) for sql, values in select_big_table_statements(statements) if sql in statements.prepared
    ]
    assert find_full_scans(full_url, each_message) == []


def find_full_scans(url: str, statements: list[Statement]) -> list[str]:
    """The statements that read a whole table, planned for their values or for any."""
    found = []
    with psycopg.connect(url) as connection:
        for mode in ("force_custom_plan", "force_generic_plan"):
            connection.execute(f"SET plan_cache_mode = {mode}")
            for sql, values in statements:
                for node in iter_plan_nodes(explain(connection, sql, values)):
                    if node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG_TABLES:
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


def iter_plan_nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from iter_plan_nodes(child)


FREQUENT_QUERIES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "head": (lambda store, c: store.mailbox.get_oldest(c, "fake/old/elsewhere/7"), "mailbox_undone"),
    "next reply": (lambda store, c: store.outbox.get_next(c, "fake/old/elsewhere/7"), "outbox_undone"),
    "sweep": (lambda store, c: store.leases.find_abandoned(c, ["elsewhere"], ["fake"]), "conversations_undone"),
    "sweep of some apps": (
        lambda store, c: store.leases.find_abandoned(c, ["elsewhere"], ["fake"], accounts={"fake": {"old", "other"}}),
        "conversations_undone",
    ),
    "what is held": (lambda store, c: store.leases.list_held_by(c, "me"), "conversations_undone"),
    "what is stuck": (lambda store, c: store.leases.count_stuck(c, 60.0), "conversations_undone"),
    "purge of mail": (lambda store, c: store.mailbox.purge(c, 50000.0), "mailbox_ended"),
    "purge of replies": (lambda store, c: OldReplyPurge(50000.0).delete_batch(c, 500), "outbox_ended"),
    "whose is a reply": (lambda store, c: store.outbox.find_sent(c, "fake", "old", "p77"), "outbox_platform_id"),
}


def claim_conversation(store: Any, connection: Any) -> None:
    FastPath(store.database).claim(connection, "fake/old/elsewhere/7", "me", "mine")


def advance_conversation(store: Any, connection: Any) -> None:
    lease = Lease("fake/old/elsewhere/7", "mine", Conversation("fake", "old", "elsewhere", "7", "7"))
    with suppress(LeaseLost):
        FastPath(store.database).advance(connection, lease, message=None, handler="", result=None, begin_next=True)


CTE_QUERIES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "claim": (
        lambda store, c: FastPath(store.database).claim(c, "fake/old/elsewhere/7", "me", "mine"),
        "mailbox_undone",
    ),
    "go on: the next message": (advance_conversation, "mailbox_undone"),
    "go on: a reply before it": (advance_conversation, "outbox_undone"),
    "go on: what ended": (advance_conversation, "mailbox_pkey"),
    "go on: what is remembered": (advance_conversation, "state_pkey"),
}


@pytest.mark.parametrize("full_url", ["large"], indirect=True)
def test_postgresql_frequent_queries_use_their_index(full_url: str, statements: RecordedStatements) -> None:
    used: dict[str, set[str]] = {}
    with psycopg.connect(full_url) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        for name, (sql, values) in record_first_statements(
            full_url, statements, FREQUENT_QUERIES | CTE_QUERIES
        ).items():
            used[name] = {node.get("Index Name", "") for node in iter_plan_nodes(explain(connection, sql, values))}
    assert {
        name: index for name, (_, index) in (FREQUENT_QUERIES | CTE_QUERIES).items() if index not in used[name]
    } == {}


def test_sqlite_frequent_queries_use_their_index(tmp_path: Path, statements: RecordedStatements) -> None:
    url = f"sqlite:///{tmp_path}/bot.db"
    used: dict[str, str] = {}
    frequent = record_first_statements(url, statements, FREQUENT_QUERIES)
    with closing(database_from_url(url)) as opened, opened.read() as connection:
        for name, (sql, values) in frequent.items():
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", tuple(values)).all()
            used[name] = "; ".join(row.detail for row in plan)
    assert {name: used[name] for name, (_, index) in FREQUENT_QUERIES.items() if index not in used[name]} == {}


def record_first_statements(
    url: str, statements: RecordedStatements, operations: Mapping[str, tuple[Callable[..., Any], str]]
) -> dict[str, Statement]:
    """The first statement of each thing that is done often."""
    found = {}
    with closing(Delivery([Bot("helpdesk")], [FakeChannel()], url)) as delivery:
        delivery.database.clock()
        with delivery.database.write() as connection:
            for name, (operation, _) in operations.items():
                statements.clear()
                operation(delivery.store, connection)
                found[name] = next(iter(statements.items()))
    return found
