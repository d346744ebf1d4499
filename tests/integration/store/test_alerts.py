"""The statements behind alerts: each finds its rows by an index, however many messages are stored."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from cometbot.store import alerts
from cometbot.store.alerts import Claim, begin_check, claim, load_claims, release
from cometbot.store.factory import database_from_url


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (alerts._dead_messages, "mailbox_dead"),
        (alerts._dead_replies, "outbox_dead"),
        (alerts._waiting_replies, "outbox_undone"),
        (alerts._has_ended, "mailbox_ended"),
    ],
)
def test_each_statement_uses_its_index(tmp_path: Path, statement: sa.Select[tuple[object]], index: str) -> None:
    database = database_from_url(f"sqlite:///{tmp_path}/bot.db")
    database.open()
    text = str(statement.params(since=0, before=0, b="shop").compile(
        dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
    ))  # fmt: skip
    with database.read() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    database.close()
    assert f"INDEX {index}" in plan[0]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return (
        str(request.getfixturevalue("postgres_url")) if request.param == "postgresql" else f"sqlite:///{tmp_path}/a.db"
    )


def test_a_claim_is_given_to_one_process(url: str) -> None:
    first, second = database_from_url(url), database_from_url(url)
    first.open()
    second.open()
    new, later = Claim(1.0, 0.5), Claim(2.0, 1.5)
    assert [claim(database, "a", None, new) for database in (first, second)] == [True, False]
    assert [claim(database, "a", new, later) for database in (second, first)] == [True, False]
    release(first, "a", later, new)
    with second.read() as connection:
        assert load_claims(connection) == {"a": new}
    release(first, "a", later, Claim(0.0, 0.0))
    with second.read() as connection:
        assert load_claims(connection) == {"a": new}
    first.close()
    second.close()


def test_one_check_in_an_interval_for_the_same_bots(url: str) -> None:
    database = database_from_url(url)
    database.open()
    assert [begin_check(database, bots, 600.0) for bots in (["a", "b"], ["b", "a"], ["c"])] == [True, False, True]
    assert begin_check(database, ["c"], 0.0)
    database.close()
