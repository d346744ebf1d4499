"""Upgrade a database to the schema of this version of the code.

A new database gets the whole schema of ``tables.metadata`` at once. The scripts in ``migrations/versions`` change the
databases of older releases.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.errors import ConfigurationError
from cometbot.store import tables

HEAD = "0010"
"""The newest revision in ``migrations/versions``; a test compares the two."""

_FIRST_RELEASE = "0008"

_CREATE_VERSION_TABLE = sa.text(
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)"
)


def revision(connection: Connection) -> str | None:
    """Return the revision of the database, or None for an empty database."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def problem(connection: Connection) -> str:
    """Return why this version cannot use the database, and what to do; "" if it can."""
    current = revision(connection)
    if current == HEAD:
        return ""
    if current is None or current < HEAD:
        return f"the database is at schema {current or 'none'}, this version needs {HEAD}: run cometbot db upgrade"
    return f"the database is at schema {current}, newer than this version knows ({HEAD}): install the newer cometbot"


def upgrade(connection: Connection) -> None:
    """Upgrade the database of ``connection`` to :data:`HEAD`, within its transaction.

    Raises ConfigurationError if the database is newer, or older than the first release.
    """
    current = revision(connection)
    if current is None:
        _create_schema(connection)
    elif current > HEAD:
        raise ConfigurationError(problem(connection))
    elif current < _FIRST_RELEASE:
        raise ConfigurationError(
            f"the database was made by a development version: it is at schema {current}, and the first release has "
            f"{_FIRST_RELEASE}. Set COMETBOT_DATABASE_URL to a new database."
        )
    elif current < HEAD:
        _run_migrations(connection)


def _create_schema(connection: Connection) -> None:
    tables.metadata.create_all(connection, checkfirst=False)  # fails on tables that are not cometbot's
    if connection.dialect.name == "postgresql":
        from procrastinate.schema import SchemaManager

        connection.connection.cursor().execute(SchemaManager.get_schema())
    connection.execute(_CREATE_VERSION_TABLE)
    connection.execute(sa.text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})


def _run_migrations(connection: Connection) -> None:
    from pathlib import Path

    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
