"""Bots, processes and databases for tests of dialogs, and the check that nothing is left of a dialog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from cometbot import Bot
from cometbot.delivery import Delivery
from cometbot.testing import BotClient
from tests.contract.delivery.conftest import check_no_dialogs
from tests.contract.dialogs.crashing import Databases, PostgreSQLDatabases, SQLiteDatabases, shared_dialects
from tests.contract.dialogs.processes import Processes


@pytest.fixture
def bot() -> Bot:
    return Bot("helpdesk")


@pytest.fixture(params=["sqlite", "postgresql"])
def processes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Processes]:
    is_file = request.param == "sqlite"
    made = Processes(f"sqlite:///{tmp_path}/bot.db" if is_file else request.getfixturevalue("postgres_url"))
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Databases]:
    is_file = request.param == "sqlite"
    with shared_dialects():
        yield SQLiteDatabases(tmp_path) if is_file else PostgreSQLDatabases(request.getfixturevalue("postgres_url"))


def delivery_of(client: BotClient) -> Delivery:
    return client._harness.delivery


def rows(client: BotClient, table: sa.Table) -> int:
    with client._harness.database.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def check_nothing_left(client: BotClient) -> None:
    """Check that the tables of dialogs are empty, that no message is kept for one, and that no approval waits."""
    with client._harness.database.read() as connection:
        check_no_dialogs(connection)
