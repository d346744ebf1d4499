"""One database for everything, and the two ways to write to it: durable and relaxed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any, ClassVar, TypeAlias, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.sql.compiler import SQLCompiler

from cometbot.errors import ConfigurationError
from cometbot.settings import check_server_url
from cometbot.store import migrate
from cometbot.store.failures import Failures

T = TypeVar("T")

Transaction: TypeAlias = Connection
"""What :meth:`Database.write` gives and what takes part in it is handed: to be passed on, not to be looked into."""

_NO_VALUES: Mapping[str, Any] = {}

ACK_TIMEOUT = 1.0
"""Seconds that a request waits for the database before it answers 503."""

WRITE_TIMEOUT = 30.0
"""Seconds that everything else waits."""


class PreparedStatement:
    """A statement, compiled once for a database: several times cheaper to run than SQLAlchemy's own execute.

    Calling it returns the driver's cursor, so values come and go as the driver has them (a Boolean of SQLite is 0 or
    1).
    """

    __slots__ = ("_constants", "_names", "_sql")

    def __init__(self, statement: sa.sql.expression.ClauseElement, dialect: sa.engine.Dialect) -> None:
        compiled = cast(SQLCompiler, statement.compile(dialect=dialect))
        self._sql = str(compiled)
        self._constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self._names = compiled.positiontup

    def __call__(self, connection: Connection, values: Mapping[str, Any] = _NO_VALUES) -> Any:
        parameters = {**self._constants, **values}
        cursor = connection.connection.cursor()
        cursor.execute(self._sql, parameters if self._names is None else [parameters[name] for name in self._names])
        return cursor


class Database(ABC):
    """Where everything is kept.

    A durable write is on the disk when its block ends; a relaxed one survives the end of the process and is on the
    disk with the next durable one. Both are whole or not at all.
    """

    supports_writable_ctes: ClassVar[bool] = False
    """Whether one statement may hold several that write, one using what another returned."""

    is_persistent: bool = True
    """Whether what is in it outlives the process."""

    @cached_property
    def failures(self) -> Failures:
        """The failures of this process that do not pass by themselves."""
        return Failures()

    def problem(self) -> str:
        """Return why nothing can be stored now; empty if nothing is known to be wrong.

        Raises :class:`StoreUnavailable` where it cannot be read either.
        """
        return self.failures.problem

    @property
    def server_url(self) -> str:
        """How processes on any machine connect to it, password included; empty if those of other machines cannot."""
        return ""

    @abstractmethod
    def write(self, *, durable: bool = True, timeout: float | None = None) -> AbstractContextManager[Connection]:
        """A transaction that may write. Raises :class:`StoreBusy` if it could not begin within ``timeout`` seconds."""

    def group_commit(
        self,
        work: Callable[[Connection], T],
        *,
        durable: bool = True,
        timeout: float | None = None,
        is_idempotent: bool = False,
    ) -> T:
        """What ``work`` returns, done in a transaction that may be shared with what other threads write just then.

        Cheaper than :meth:`write` where threads would wait for each other. ``work`` must bear to be called again after
        a roll-back, and its failure undoes nothing but itself. Work that ``is_idempotent`` is also done again where
        the connection broke during the commit, so that nobody knows whether it was done. Raises what it raises, and
        :class:`StoreBusy`.
        """
        with self.write(durable=durable, timeout=timeout) as connection:
            return work(connection)

    def autocommit(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """What ``work`` returns, which runs one statement: that is a transaction by itself.

        Raises :class:`StoreBusy`.
        """
        return self.group_commit(work, durable=durable)

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """A connection to read with, at what is committed now."""

    def snapshot(self) -> AbstractContextManager[Connection]:
        """Return a connection whose statements all read the same state, for the length of a ``with`` block."""
        return self._snapshot()

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        with self.read() as connection, connection.begin():
            self._begin_snapshot(connection)
            yield connection

    def _begin_snapshot(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    @abstractmethod
    def size(self, connection: Connection) -> int:
        """Return the bytes of the whole database, without the room that deleted rows have left in SQLite's file."""

    def free_space(self) -> int | None:
        """Return the free bytes of the disk that the database grows on, None if it is not a disk of this machine."""
        return None

    @abstractmethod
    def insert(self, table: sa.Table) -> Any:
        """The dialect's INSERT, which knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""

    @abstractmethod
    def prepare(self, statement: sa.sql.expression.ClauseElement) -> PreparedStatement:
        """``statement``, compiled for this database once and for all."""

    @property
    @abstractmethod
    def clock(self) -> Callable[[], float]:
        """Unix seconds that do not jump, the same for all who share the database."""

    @abstractmethod
    def open(self) -> None:
        """Make it ready for use: connect, and bring the schema up to date where that is done by itself."""

    @abstractmethod
    def upgrade(self) -> None:
        """Bring the schema up to date."""

    @abstractmethod
    def close(self) -> None:
        """Give back connections, for good: whoever still writes gets :class:`StoreBusy`."""

    def shrink_wal(self) -> None:
        """Shorten SQLite's log if it has grown beyond its limit and no reader needs it."""

    def schema_problem(self) -> str:
        """What is wrong with the schema, in one sentence; empty if nothing is."""
        with self.read() as connection:
            return migrate.problem(connection)


def database_from_url(url: str) -> Database:
    """The database that ``url`` names (``sqlite:///cometbot.db``). Nothing is opened yet.

    Raises :class:`ConfigurationError` for a URL that is none, of an unknown kind, or has options that do not exist.
    """
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # Their errors quote the URL, password included.
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
            raise ConfigurationError(f"COMETBOT_DATABASE_URL is wrong: {error}") from None
        return _create_postgresql(parsed)
    raise ConfigurationError(
        f"COMETBOT_DATABASE_URL names a {kind} database; set it to sqlite:///cometbot.db or postgresql://…"
    )


def check_persistent(url: str) -> None:
    """Nothing, if what is stored in the database of ``url`` outlives the process that stores it.

    Raises :class:`ConfigurationError` for one in memory, and as :func:`database` does.
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
