"""Read-only checks of a database, which create, upgrade and change nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.pool import NullPool

from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.store import migrate
from cometbot.store.factory import database_from_url

LOCK_TIMEOUT = 2.0
"""Seconds that a check waits for another process's write."""


# For other users' connections, an ordinary user sees only the database and the application's name.
_COUNT_CONNECTIONS = sa.text("""
    SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
            - coalesce(current_setting('reserved_connections', true), '0')::integer,
        count(*) FILTER (WHERE application_name = 'cometbot'), count(*)
    FROM pg_stat_activity WHERE datid IS NOT NULL
""")


@dataclass(frozen=True, slots=True)
class DatabaseLocation:
    """The location of a database.

    ``path`` is the file of an SQLite database, None for one in memory or on a server. ``name`` may be displayed;
    ``password`` must not be.
    """

    kind: str
    name: str
    path: Path | None = None
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ConnectionCount:
    """The number of connections of a PostgreSQL server: the limit for ordinary users, those of cometbot, and all."""

    limit: int
    own: int
    total: int


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The problems of a database, as texts that are empty if there is none.

    ``is_locked`` is True if another process has been writing for long. ``connections`` is None for a file.
    """

    schema_problem: str = ""
    write_problem: str = ""
    is_locked: bool = False
    connections: ConnectionCount | None = None


def locate_database(url: str) -> DatabaseLocation:
    """Return the location of the database of ``url``."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            return DatabaseLocation("SQLite", "in memory")
        path = Path(os.path.abspath(str(parsed.database)))
        return DatabaseLocation("SQLite", str(path), path)
    port = f":{parsed.port}" if parsed.port else ""
    name = f"{parsed.host or 'a local socket'}{port}/{parsed.database}"
    return DatabaseLocation("PostgreSQL", name, password=str(parsed.password or parsed.query.get("password", "")))


def probe_database(url: str) -> ProbeResult:
    """Return the problems of the database of ``url``, which must exist.

    Raises :class:`ConfigurationError` with the reason if it cannot be used at all.
    """
    path = locate_database(url).path
    try:
        return _probe_server(url) if path is None else _probe_file(path)
    except sa.exc.DBAPIError as error:
        raise ConfigurationError(str(error.orig)) from error
    except StoreBusy as error:
        raise ConfigurationError(str(error)) from error


def _probe_file(path: Path) -> ProbeResult:
    with _connect(path) as connection:
        schema_problem = migrate.problem(connection)
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.exec_driver_sql("ROLLBACK")
        except sa.exc.OperationalError as error:
            return ProbeResult(schema_problem, str(error.orig), "locked" in str(error.orig))
    return ProbeResult(schema_problem)


@contextmanager
def _connect(path: Path) -> Iterator[Connection]:
    def connect() -> sqlite3.Connection:
        # mode=rw: opened as it is, never created.
        return sqlite3.connect(
            f"file:{quote(os.fsencode(path))}?mode=rw", uri=True, timeout=LOCK_TIMEOUT, isolation_level=None
        )

    engine = sa.create_engine("sqlite://", creator=connect, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def _probe_server(url: str) -> ProbeResult:
    with closing(database_from_url(url)) as opened, opened.read() as connection:
        schema_problem = migrate.problem(connection)
        is_read_only = connection.execute(sa.text("SHOW transaction_read_only")).scalar() == "on"
        counts = ConnectionCount(*connection.execute(_COUNT_CONNECTIONS).one())
    problem = "the server is a standby, or this user is read-only" if is_read_only else ""
    return ProbeResult(schema_problem, problem, connections=counts)
