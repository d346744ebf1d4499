"""The queries for jobs find their rows by an index, however many there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cometbot.models import Conversation, conversation_to_json
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.factory import database_from_url


@pytest.fixture
def statements() -> Iterator[list[tuple[str, Any]]]:
    recorded: list[tuple[str, Any]] = []

    def record(_: Any, __: Any, statement: str, parameters: Any, ___: Any, is_many: bool) -> None:
        if "jobs" in statement and "CREATE" not in statement:
            recorded.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", record)
    yield recorded
    sa.event.remove(sa.Engine, "before_cursor_execute", record)


def test_sqlite_reads_no_whole_table_of_jobs(tmp_path: Path, statements: list[tuple[str, Any]]) -> None:
    with closing(database_from_url(f"sqlite:///{tmp_path}/bot.db")) as database:
        database.open()
        store = DeliveryStore(database)
        conversation = json.dumps(conversation_to_json(Conversation("jobs", "c", "shop", "x", "")))
        fill = (
            "INSERT INTO jobs (bot, scope, name, key, handler, spec, missed, conversation_key, conversation, content, "
            "due_at, on_wall_clock, created_at) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
            "WHERE i < 500) SELECT 'shop', 'a/b/shop/' || i, 'x', '', 'm.f', '', 'once', 'jobs/c/shop/' || i, ?, '{}', "
            "9e9, 0, 0 FROM n"
        )
        with database.write() as connection:
            connection.exec_driver_sql(fill, (conversation,))
        statements.clear()
        assert store.fire_jobs() == []
        with database.write() as connection:
            store.jobs.fire(connection)
            store.jobs.pull_back(connection)
            store.jobs.erase(connection, ["a/b/shop/7"])
            assert len(store.jobs.list(connection, "shop", scope="a/b/shop/8")) == 1
        found = list(statements)
        assert len(found) >= 6
        with database.read() as connection:
            for sql, values in found:
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", tuple(values)).all()
                scans = [row.detail for row in plan if re.match("SCAN jobs(?!.*USING)", row.detail)]
                assert scans == [], sql
