"""The interface of the database, and the two kinds of write: durable and relaxed."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any, ClassVar, TypeAlias, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.compiler import SQLCompiler

from cometbot.store import migrate
from cometbot.store.failures import Failures

T = TypeVar("T")

Transaction: TypeAlias = Connection
"""The result of :meth:`Database.write`, for functions that take part in it; an opaque value for their callers."""

_NO_VALUES: Mapping[str, Any] = {}

ACK_TIMEOUT = 1.0
"""Seconds that a request waits for the database before it is answered with 503."""

WRITE_TIMEOUT = 30.0
"""Seconds that all other work waits."""


class PreparedStatement:
    """A statement that is compiled once for a database; several times cheaper to run than SQLAlchemy's own execute.

    A call returns the driver's cursor, so values have the driver's types (a Boolean of SQLite is 0 or 1).
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
        names = self._names
        cursor.execute(self._sql, parameters if names is None else [*map(parameters.__getitem__, names)])
        return cursor

    def run_many(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run the statement, which returns no rows, for each of ``rows``, in their order."""
        made = [{**self._constants, **values} for values in rows]
        names = self._names
        if made:
            listed = made if names is None else [[*map(row.__getitem__, names)] for row in made]
            connection.connection.cursor().executemany(self._sql, listed)


class Database(ABC):
    """Base class of the databases that store everything.

    A durable write is on disk when its block ends. A relaxed write survives the end of the process, and is on disk with
    the next durable one. Both are atomic.
    """

    supports_writable_ctes: ClassVar[bool] = False
    """True if one statement may contain several that write, where one uses what another returned."""

    is_persistent: bool = True
    """True if the stored data outlives the process."""

    @cached_property
    def failures(self) -> Failures:
        """The failures of this process that need a repair."""
        return Failures()

    def problem(self) -> str:
        """Return the reason why nothing can be stored now, or "" if none is known.

        Raises :class:`StoreUnavailable` if the database cannot be read either.
        """
        return self.failures.problem

    @property
    def server_url(self) -> str:
        """The URL for processes on any machine, password included; "" if other machines cannot connect."""
        return ""

    @abstractmethod
    def write(self, *, durable: bool = True, timeout: float | None = None) -> AbstractContextManager[Connection]:
        """Begin a transaction that may write.

        Raises :class:`StoreBusy` if it could not begin within ``timeout`` seconds.
        """

    def group_commit(
        self,
        work: Callable[[Connection], T],
        *,
        durable: bool = True,
        timeout: float | None = None,
        is_idempotent: bool = False,
    ) -> T:
        """Run ``work`` in a transaction and return its result.

        The transaction may be shared with concurrent writes of other threads. This is cheaper than :meth:`write` when
        threads would wait for each other. ``work`` may be called again after a rollback, so it must be repeatable; its
        failure rolls back only itself. With ``is_idempotent``, it is also retried if the connection broke during the
        commit, so that the outcome is unknown. Raises any exception of ``work``, and :class:`StoreBusy`.
        """
        with self.write(durable=durable, timeout=timeout) as connection:
            return work(connection)

    def autocommit(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Run ``work``, which executes one statement and so needs no transaction around it, and return its result.

        Raises :class:`StoreBusy`.
        """
        return self.group_commit(work, durable=durable)

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """Return a connection for reading what is committed now."""

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
        """Return the size of the database in bytes, without the space that deleted rows have left in SQLite's file."""

    def free_space(self) -> int | None:
        """Return the free bytes of the disk that holds the database, or None if it is not on this machine."""
        return None

    @abstractmethod
    def insert(self, table: sa.Table) -> Any:
        """Return the dialect's INSERT, which has ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""

    @abstractmethod
    def prepare(self, statement: sa.sql.expression.ClauseElement) -> PreparedStatement:
        """Compile ``statement`` once for this database."""

    @abstractmethod
    def clock(self) -> float:
        """Return Unix seconds of a clock that does not jump, the same for all processes that share the database."""

    def wall_clock(self, connection: Connection) -> float:
        """Return Unix seconds as people see them: on this machine, or on that of the server which others share."""
        return time.time()

    @abstractmethod
    def open(self) -> None:
        """Connect, and upgrade the schema if that happens automatically for this kind of database."""

    @abstractmethod
    def upgrade(self) -> None:
        """Upgrade the schema."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections for good: later writes raise :class:`StoreBusy`."""

    def shrink_wal(self) -> None:
        """Shorten SQLite's log if it has grown beyond its limit and no reader needs it."""

    def schema_problem(self) -> str:
        """Return the problem of the schema in one sentence, or ""."""
        with self.read() as connection:
            return migrate.problem(connection)
