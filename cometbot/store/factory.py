"""Creates the database of a URL, and the publisher and subscriber of a database."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

from cometbot.errors import ConfigurationError
from cometbot.setting_values import check_server_url
from cometbot.store.database import Database
from cometbot.store.pubsub import LocalPubSub, NullPubSub, PubSub


def database_from_url(url: str) -> Database:
    """Return the database for ``url`` (``sqlite:///cometbot.db``), without opening it.

    Raises :class:`ConfigurationError` if the URL is invalid, of an unknown kind, or has unknown options.
    """
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # SQLAlchemy's errors quote the URL, password included.
        raise ConfigurationError(
            "COMETBOT_DATABASE_URL is not a database URL; set it to something like sqlite:///cometbot.db or "
            "postgresql://user:password@host:5432/name"
        ) from None
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        from cometbot.store.sqlite import SQLite

        return SQLite(parsed)
    if kind == "postgresql":
        try:
            check_server_url(url)
        except ValueError as error:
            raise ConfigurationError(f"COMETBOT_DATABASE_URL: {error}") from None
        return _create_postgresql(parsed)
    raise ConfigurationError(
        f"COMETBOT_DATABASE_URL names a {kind} database; set it to sqlite:///cometbot.db or postgresql://…"
    )


def check_persistent(url: str) -> None:
    """Check that the data in the database of ``url`` outlives the process that stores it.

    Raises :class:`ConfigurationError` if the database is in memory, and like :func:`database_from_url`.
    """
    if not database_from_url(url).is_persistent:
        raise ConfigurationError(
            "COMETBOT_DATABASE_URL names no file: a database in memory is each process's own, and gone with it; set "
            "one with three slashes, such as sqlite:///cometbot.db"
        )


def _create_postgresql(url: URL) -> Database:
    try:
        from cometbot.store.postgresql import PostgreSQL
    except ImportError as error:
        raise ConfigurationError(
            f"COMETBOT_DATABASE_URL names a PostgreSQL database, and {error.name} is not installed: "
            "pip install 'cometbot[postgres]'"
        ) from error
    return PostgreSQL(url)


def create_pubsub(database: Database, name: str) -> PubSub:
    """Return the means to reach the processes that share ``database`` and listen under the same ``name``."""
    if database.server_url:
        from cometbot.store.postgresql_pubsub import PostgreSQLPubSub

        return PostgreSQLPubSub(database, name)
    path = str(getattr(database, "path", ""))
    return LocalPubSub(path, name) if path else NullPubSub()
