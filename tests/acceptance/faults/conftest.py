"""The systems that are broken: the database and the engine are parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from cometbot.simulator import Simulator
from cometbot.store.factory import database_from_url
from cometbot.temporary_folders import TemporaryFolder
from tests.postgres_server import PostgresServer

from .system import PostgreSQLSystem, SQLiteSystem, System


@pytest.fixture(scope="session")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that is halted and booted here, and that nobody else uses."""
    server = PostgresServer()
    try:
        server.start()
        server.execute("CREATE DATABASE faults_template")
        template = database_from_url(server.url("faults_template"))
        template.upgrade()
        template.close()
        yield server
    finally:
        server.stop()


StartSystem = Callable[[str], System]


@pytest.fixture
def start_system(simulator: Simulator, request: pytest.FixtureRequest) -> Iterator[StartSystem]:
    """Starts a bot on ``sqlite`` with threads or on ``postgresql`` with Procrastinate; all of it ends with the test."""
    started: list[System] = []
    # pytest's own folders have names that are too long for a socket's.
    with TemporaryFolder("test") as folder:

        def start(kind: str) -> System:
            environ = {
                "COMETCHAT_API_URL": simulator.api_url,
                "COMETCHAT_APP_ID": simulator.app_id,
                "COMETCHAT_API_KEY": simulator.api_key,
            }
            place = folder / str(len(started))
            place.mkdir()
            if kind == "postgresql":
                PostgreSQLSystem.server = request.getfixturevalue("own_postgres")
                system: System = PostgreSQLSystem(place, environ)
            else:
                system = SQLiteSystem(place, environ)
            started.append(system)
            system.start()
            return system

        yield start
        simulator.misbehave.clear()
        for system in started:
            system.close()
