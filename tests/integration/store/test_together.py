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
from cometbot.store.database import Database, database
from cometbot.store.tables import facts


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Database]:
    made = database(f"sqlite:///{tmp_path}/cometbot.db")
    made.open()
    yield made
    made.close()


@pytest.fixture
def neighbour(opened: Database, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another process, in the middle of a write."""
    connection = sqlite3.connect(tmp_path / "cometbot.db", isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def noting(name: str) -> Callable[[Connection], str]:
    def note(connection: Connection) -> str:
        connection.execute(sa.insert(facts).values(name=name, value="x"))
        return name

    return note


def noted(opened: Database) -> set[str]:
    with opened.read() as connection:
        return set(connection.execute(sa.select(facts.c.name).where(facts.c.value == "x")).scalars())


def wait_for_waiting(opened: Database, count: int) -> None:
    end = time.monotonic() + 60
    while len(opened._together._waiting) < count:  # type: ignore[attr-defined]
        assert time.monotonic() < end
        time.sleep(0.001)


def test_what_waits_for_another_process_is_stored_in_one_transaction(
    opened: Database, neighbour: sqlite3.Connection
) -> None:
    told: list[str] = []
    writer = opened._writer  # type: ignore[attr-defined]
    writer.connection.dbapi_connection.set_trace_callback(told.append)
    with ThreadPoolExecutor(5) as pool:
        futures = [pool.submit(opened.together, noting(f"n{number}")) for number in range(5)]
        wait_for_waiting(opened, 5)
        neighbour.execute("COMMIT")
        assert sorted(future.result(60) for future in futures) == [f"n{number}" for number in range(5)]
    assert told.count("COMMIT") == 1
    assert noted(opened) == {f"n{number}" for number in range(5)}


def test_a_work_that_raises_leaves_nothing_and_takes_nothing_from_the_others(
    opened: Database, neighbour: sqlite3.Connection
) -> None:
    def fail(connection: Connection) -> None:
        noting("lost")(connection)
        raise LeaseLost

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(opened.together, work) for work in (noting("a"), fail, noting("b"))]
        wait_for_waiting(opened, 3)
        neighbour.execute("COMMIT")
        assert [type(future.exception(60)) for future in futures] == [type(None), LeaseLost, type(None)]
    assert noted(opened) == {"a", "b"}


def test_a_write_waits_for_another_process_no_longer_than_it_may(
    opened: Database, neighbour: sqlite3.Connection
) -> None:
    with ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        futures = [pool.submit(opened.together, noting(str(number)), timeout=0.3) for number in range(4)]
        assert {type(future.exception(60)) for future in futures} == {StoreBusy}
        assert 0.25 < time.monotonic() - began < 30
    neighbour.execute("COMMIT")
    assert opened.together(noting("later")) == "later"
    assert noted(opened) == {"later"}
