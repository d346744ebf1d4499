"""One database for everything, and the two ways to write to it: durable and relaxed."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.pool import QueuePool, StaticPool
from sqlalchemy.sql.compiler import SQLCompiler

from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.store import migrate, tables
from cometbot.store.clock import Clock, boot_id

_NOTHING: Mapping[str, Any] = {}
_DIALECT = sqlite.dialect()

ACK_TIMEOUT = 1.0
"""Seconds that a request waits for the database before it answers 503."""

WRITE_TIMEOUT = 30.0
"""Seconds that everything else waits."""


class Prepared:
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

    def __call__(self, connection: Connection, values: Mapping[str, Any] = _NOTHING) -> Any:
        given = {**self._constants, **values}
        cursor = connection.connection.cursor()
        cursor.execute(self._sql, given if self._names is None else [given[name] for name in self._names])
        return cursor


class Database(ABC):
    """Where everything is kept.

    A durable write is on the disk when its block ends; a relaxed one survives the end of the process and is on the
    disk with the next durable one. Both are whole or not at all, and one after the other within a process.
    """

    @abstractmethod
    def write(self, *, durable: bool = True, timeout: float | None = None) -> AbstractContextManager[Connection]:
        """A transaction that may write. Raises :class:`StoreBusy` if it could not begin within ``timeout`` seconds."""

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """A connection to read with, at what is committed now."""

    @abstractmethod
    def insert(self, table: sa.Table) -> Any:
        """The dialect's INSERT, which knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""

    @abstractmethod
    def prepare(self, statement: sa.sql.expression.ClauseElement) -> Prepared:
        """``statement``, compiled for this database once and for all."""

    @property
    @abstractmethod
    def clock(self) -> Callable[[], float]:
        """Unix seconds that do not jump, the same for all who share the database."""

    @abstractmethod
    def open(self) -> None:
        """Make it ready for use: connect, and bring the schema up to date where that is done by itself."""

    @abstractmethod
    def close(self) -> None:
        """Give back connections. It opens again by itself."""

    def schema_problem(self) -> str:
        """What is wrong with the schema, in one sentence; empty if nothing is."""
        with self.read() as connection:
            return migrate.problem(connection)


def database(url: str) -> Database:
    """The database that ``url`` names (``sqlite:///cometbot.db``). Nothing is opened yet.

    Raises :class:`ConfigurationError` for a URL that is none or of an unknown kind.
    """
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError as error:
        raise ConfigurationError(
            "COMETBOT_DATABASE_URL is not a database URL; set it to something like sqlite:///cometbot.db"
        ) from error
    if parsed.get_backend_name() != "sqlite":
        raise ConfigurationError(
            f"COMETBOT_DATABASE_URL names a {parsed.get_backend_name()} database; this version knows sqlite:///cometbot.db"
        )
    return SQLite(parsed)


class SQLite(Database):
    """A file of SQLite in WAL mode (or memory, for tests), shared by the processes of one machine.

    Three connections write, one at a time: SQLite's own waiting lets a process starve while another one's threads
    take turns, so
    a lock of the process stands before it. ``synchronous`` belongs to a connection, hence one for each kind of
    write. In memory there is a single connection for everything.
    """

    def __init__(self, url: URL) -> None:
        self.path = "" if url.database in (None, "", ":memory:") else os.path.abspath(str(url.database))
        self._url = url
        self._lock = threading.Lock()
        self._opening = threading.RLock()
        self._pid = 0
        self._clock = Clock()
        self._writers: dict[str, Connection] = {}
        self._engine: sa.Engine | None = None

    def insert(self, table: sa.Table) -> Any:
        return sqlite.insert(table)

    def prepare(self, statement: sa.sql.expression.ClauseElement) -> Prepared:
        return Prepared(statement, _DIALECT)

    @property
    def clock(self) -> Callable[[], float]:
        self._ensure_open()
        return self._clock

    @contextmanager
    def write(self, *, durable: bool = True, timeout: float | None = None) -> Iterator[Connection]:
        self._ensure_open()
        kind = "ack" if timeout is not None else "durable" if durable else "relaxed"
        wait = WRITE_TIMEOUT if timeout is None else timeout
        if not self._lock.acquire(timeout=wait):
            raise StoreBusy("the database is busy writing for others; try again in a moment")
        try:
            with _transaction(self._writers[kind]) as connection:
                yield connection
        finally:
            self._lock.release()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._ensure_open()
        if not self.path:
            with self._lock:
                yield self._writers["durable"]
            return
        assert self._engine is not None
        with self._engine.connect() as connection:
            yield connection

    def open(self) -> None:
        self._ensure_open()

    def _ensure_open(self) -> None:
        if self._pid == os.getpid():
            return
        with self._opening:
            if self._pid != os.getpid():
                self._open()

    def _open(self) -> None:
        self._forget_parent()
        self._check_folder()
        pool: dict[str, Any] = (
            {"poolclass": QueuePool, "pool_size": 4, "max_overflow": 64} if self.path else {"poolclass": StaticPool}
        )
        self._engine = sa.create_engine("sqlite://", creator=self._connect, isolation_level="AUTOCOMMIT", **pool)
        try:
            self._writers = {
                "ack": self._writer("FULL", ACK_TIMEOUT),
                "durable": self._writer("FULL", WRITE_TIMEOUT),
                "relaxed": self._writer("NORMAL", WRITE_TIMEOUT),
            }
            self._prepare(self._writers["durable"])
        except (sa.exc.DatabaseError, sqlite3.DatabaseError, StoreBusy) as error:
            reason = error.orig if isinstance(error, sa.exc.DatabaseError) else error
            raise ConfigurationError(
                f"cannot use the database {self.path}: {reason}; check COMETBOT_DATABASE_URL"
            ) from error
        self._pid = os.getpid()

    def _forget_parent(self) -> None:
        """After a fork: the parent's connections must be neither used nor closed here."""
        if self._pid:
            self._lock = threading.Lock()
            _ABANDONED.extend([self._writers, self._engine])
        self._writers, self._engine = {}, None

    def _check_folder(self) -> None:
        folder = Path(self.path).parent
        if self.path and not os.access(folder, os.W_OK | os.X_OK):
            reason = "cannot be written to" if folder.is_dir() else "does not exist"
            raise ConfigurationError(
                f"the folder {folder} of the database {reason}; make it, or set COMETBOT_DATABASE_URL"
            )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path or ":memory:",
            timeout=WRITE_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        if self.path:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _writer(self, synchronous: str, timeout: float) -> Connection:
        assert self._engine is not None
        connection = self._engine.connect()
        connection.exec_driver_sql(f"PRAGMA synchronous={synchronous}")
        connection.exec_driver_sql(f"PRAGMA busy_timeout={int(timeout * 1000)}")
        return connection

    def _prepare(self, writer: Connection) -> None:
        with _transaction(writer) as connection:
            migrate.upgrade(connection)
            self._clock = _shared_clock(connection)

    def close(self) -> None:
        with self._opening, self._lock:
            if self._pid != os.getpid():
                return
            for connection in self._writers.values():
                with suppress(sa.exc.DatabaseError):
                    connection.close()
            if self._engine is not None:
                self._engine.dispose()
            self._writers, self._engine, self._pid = {}, None, 0


_ABANDONED: list[Any] = []


@contextmanager
def _transaction(connection: Connection) -> Iterator[Connection]:
    """A transaction that may write from its first moment on. Raises :class:`StoreBusy` for what cannot be done now."""
    driver = cast(sqlite3.Connection, connection.connection.dbapi_connection)
    try:
        driver.execute("BEGIN IMMEDIATE")
        yield connection
        driver.execute("COMMIT")
    except BaseException as error:
        if driver.in_transaction:
            driver.execute("ROLLBACK")
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if isinstance(cause, sqlite3.OperationalError):
            raise StoreBusy(f"the database could not take a write now ({cause})") from error
        raise


def _shared_clock(connection: Connection) -> Clock:
    """The clock that every process of this boot uses; at a new boot it is set again, and no old lease counts."""
    here = boot_id() or "none"
    known = dict(connection.execute(sa.select(tables.facts.c.name, tables.facts.c.value)).all())
    if known.get("boot") == here and "clock" in known and boot_id():
        return Clock(float(known["clock"]))
    clock = Clock() if boot_id() else _WallClock()
    for name, value in (("boot", here), ("clock", repr(clock.offset))):
        connection.execute(
            sqlite.insert(tables.facts)
            .values(name=name, value=value)
            .on_conflict_do_update(["name"], set_={"value": value})
        )
    if known.get("boot", here) != here:
        connection.execute(sa.delete(tables.processes))
        connection.execute(
            sa.update(tables.conversations).values(due_at=clock()).where(tables.conversations.c.due_at.is_not(None))
        )
    return clock


class _WallClock(Clock):
    """Where the system has no boot id: the wall clock, which may jump."""

    def __call__(self) -> float:
        return time.time()
