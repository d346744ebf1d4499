"""Upgrade a database to the schema of this version of the code."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.store import tables

HEAD = "0006"
"""The newest revision in ``migrations/versions``; a test compares the two."""


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

    Raises ConfigurationError if the database is newer.
    """
    from cometbot.errors import ConfigurationError

    current = revision(connection)
    if current == HEAD:
        return
    if current is not None and current > HEAD:
        raise ConfigurationError(problem(connection))
    if current is None and connection.dialect.name == "sqlite":
        tables.metadata.create_all(connection)
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES (:head)"), {"head": HEAD})
        return
    _run_migrations(connection)


def _run_migrations(connection: Connection) -> None:
    from pathlib import Path

    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
