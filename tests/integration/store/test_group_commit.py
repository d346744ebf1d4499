"""Shared transactions on a real file of SQLite."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.errors import LeaseLost, StoreBusy
from cometbot.store.database import Database
from cometbot.store.factory import database_from_url
from cometbot.store.tables import facts


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Database]:
    made = database_from_url(f"sqlite:///{tmp_path}/cometbot.db")
    made.open()
    yield made
    made.close()


@pytest.fixture
def other_process(opened: Database, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another process, in the middle of a write."""
    connection = sqlite3.connect(tmp_path / "cometbot.db", isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def inserting(name: str) -> Callable[[Connection], str]:
    def insert(connection: Connection) -> str:
        connection.execute(sa.insert(facts).values(name=name, value="x"))
        return name

    return insert


def inserted_names(opened: Database) -> set[str]:
    with opened.read() as connection:
        return set(connection.execute(sa.select(facts.c.name).where(facts.c.value == "x")).scalars())


def wait_for_pending(opened: Database, count: int) -> None:
    end = time.monotonic() + 60
    while len(opened._group_commit._pending) < count:  # type: ignore[attr-defined]
        assert time.monotonic() < end
        time.sleep(0.001)


def test_waiting_writes_share_one_transaction(opened: Database, other_process: sqlite3.Connection) -> None:
    told: list[str] = []
    writer = opened._writer  # type: ignore[attr-defined]
    writer.connection.dbapi_connection.set_trace_callback(told.append)
    with ThreadPoolExecutor(5) as pool:
        futures = [pool.submit(opened.group_commit, inserting(f"n{number}")) for number in range(5)]
        wait_for_pending(opened, 5)
        other_process.execute("COMMIT")
        assert sorted(future.result(60) for future in futures) == [f"n{number}" for number in range(5)]
    assert told.count("COMMIT") == 1
    assert inserted_names(opened) == {f"n{number}" for number in range(5)}


def test_failed_write_does_not_affect_its_batch(opened: Database, other_process: sqlite3.Connection) -> None:
    def fail(connection: Connection) -> None:
        inserting("lost")(connection)
        raise LeaseLost

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(opened.group_commit, work) for work in (inserting("a"), fail, inserting("b"))]
        wait_for_pending(opened, 3)
        other_process.execute("COMMIT")
        assert [type(future.exception(60)) for future in futures] == [type(None), LeaseLost, type(None)]
    assert inserted_names(opened) == {"a", "b"}


def test_a_write_waits_for_another_process_no_longer_than_it_may(
    opened: Database, other_process: sqlite3.Connection
) -> None:
    with ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        futures = [pool.submit(opened.group_commit, inserting(str(number)), timeout=0.3) for number in range(4)]
        assert {type(future.exception(60)) for future in futures} == {StoreBusy}
        assert 0.25 < time.monotonic() - began < 30
    other_process.execute("COMMIT")
    assert opened.group_commit(inserting("later")) == "later"
    assert inserted_names(opened) == {"later"}
