"""PostgreSQL: one database for processes on any number of machines."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import psycopg
import psycopg.conninfo
import psycopg.pq
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import QueuePool

from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.store import migrate
from cometbot.store.clock import LEASE, FollowedClock, since_boot
from cometbot.store.database import ACK_TIMEOUT, WRITE_TIMEOUT, Database, Prepared, T

_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]
_CONNECT_TIMEOUT = 5
_CLOCK_AGE = 5.0
_UPGRADE_LOCK = 4_711_815
_NO_SOCKET = "/nowhere/cometbot"
_NUMBERS = ("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count")
_NOW = sa.text("SELECT extract(epoch FROM clock_timestamp()), (SELECT max(lease_until) FROM processes)")
_RIGHTS = sa.text(
    "SELECT current_user, "
    + ", ".join(f"has_table_privilege('mailbox', '{right}')" for right in ("SELECT", "INSERT", "UPDATE", "DELETE"))
)
_NOT_NOW = (psycopg.OperationalError, psycopg.InterfaceError, sa.exc.TimeoutError)
_NEVER = psycopg.errors.ProgramLimitExceeded
"""Of those, what will be refused again: a row that no index takes."""


class PostgreSQL(Database):
    """A database behind a ``postgresql://`` URL.

    Pools of connections: what a request waits for gives up after a second, what need not be on the disk at once is
    committed without waiting for it, and what only reads needs no transaction. All that belongs to the connection, so
    that no statement is spent on it. The clock is the server's, as this machine's boot clock follows it
    (:class:`FollowedClock`).
    """

    takes_chains: ClassVar[bool] = True

    def __init__(self, url: URL, size: int = 16) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        if problem := _problem_with_options(self._url):
            raise ConfigurationError(
                f"COMETBOT_DATABASE_URL is wrong: {problem}; leave out what stands after the ?, or set what "
                "PostgreSQL's manual lists as parameter key words, such as ?sslmode=require"
            )
        self._size = size
        self._opening = threading.RLock()
        self._pid = 0
        self._is_closed = False
        self._pools: dict[str, sa.Engine] = {}
        self._clock = FollowedClock()
        self._clock_read = float("-inf")

    @property
    def shared_url(self) -> str:
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)

    def insert(self, table: sa.Table) -> Any:
        return postgresql.insert(table)

    def prepare(self, statement: sa.sql.expression.ClauseElement) -> Prepared:
        return Prepared(statement, _DIALECT)

    @property
    def clock(self) -> Callable[[], float]:
        if since_boot() - self._clock_read > _CLOCK_AGE:
            self._read_clock()
        return self._clock

    def _read_clock(self) -> None:
        """Set our clock by the server's, and by the signs of life that others have left; where neither can be asked
        now, ours goes on as it is."""
        self._clock_read = since_boot()
        # A pool of its own: whoever asks for the time has a connection already, which others may be waiting for.
        with suppress(StoreBusy), self._connection("clock") as connection:
            server, last_sign = connection.execute(_NOW).one()
            self._clock.follow(float(server), (last_sign or 0.0) - LEASE)

    @contextmanager
    def write(self, *, durable: bool = True, timeout: float | None = None) -> Iterator[Connection]:
        kind = "relaxed" if not durable else "durable" if timeout is None else "ack"
        with self._connection(kind) as connection, connection.begin():
            _begin(connection)
            yield connection

    def single(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        with self._connection("durable" if durable else "relaxed") as connection:
            return work(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._connection("read") as connection:
            yield connection

    @contextmanager
    def _connection(self, kind: str) -> Iterator[Connection]:
        """A connection of a pool; one that broke, or that comes back after the pools were closed, is not kept."""
        self._ensure_open()
        with self._translated(), self._pools[kind].connect() as connection:
            try:
                yield connection
            except _NOT_NOW:
                connection.invalidate()
                raise
            finally:
                if self._is_closed and not connection.invalidated:
                    connection.invalidate()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (*_NOT_NOW, sa.exc.DBAPIError) as error:
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            if not isinstance(cause, _NOT_NOW) or isinstance(cause, _NEVER):
                raise
            raise self.failures.to_error(cause, "do this") from error

    def open(self) -> None:
        self._ensure_open()
        with self._explained("use"):
            problem = self.schema_problem() or self._rights_problem()
        if problem:
            raise ConfigurationError(problem)
        self._read_clock()

    def _rights_problem(self) -> str:
        """Why this user cannot work with the tables, and what to do; empty if it can."""
        with self.read() as connection:
            user, *allowed = connection.execute(_RIGHTS).one()
        if all(allowed):
            return ""
        return (
            f"the user {user} of COMETBOT_DATABASE_URL may not read and write the tables: name their owner there, or "
            f"let that one GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES and USAGE ON ALL SEQUENCES IN SCHEMA "
            f"public TO {user}"
        )

    def upgrade(self) -> None:
        self._ensure_open()
        with self._explained("upgrade"), self.write() as connection:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            migrate.upgrade(connection)

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        """Turns what the database refuses into one sentence with the remedy."""
        try:
            yield
        except (StoreBusy, sa.exc.DBAPIError) as error:
            reason = _first_line(error.orig if isinstance(error, sa.exc.DBAPIError) else error)
            raise ConfigurationError(
                f"cannot {verb} the PostgreSQL database of COMETBOT_DATABASE_URL: {reason}; check that the URL is "
                "right, that the server runs, and what its user may do"
            ) from error

    def _ensure_open(self) -> None:
        if self._pid == os.getpid():
            return
        with self._opening:
            if self._is_closed:
                raise StoreBusy("the database is closed")
            if self._pid != os.getpid():
                for pool in self._pools.values():
                    pool.dispose(close=False)
                self._pools = {
                    "ack": self._pool(f"-c statement_timeout={int(ACK_TIMEOUT * 1000)}", ACK_TIMEOUT),
                    "durable": self._pool("", WRITE_TIMEOUT),
                    "relaxed": self._pool("-c synchronous_commit=off", WRITE_TIMEOUT),
                    "read": self._pool("", WRITE_TIMEOUT),
                    "clock": self._pool(f"-c statement_timeout={int(ACK_TIMEOUT * 1000)}", ACK_TIMEOUT, size=1),
                }
                self._pid = os.getpid()

    def _pool(self, options: str, wait: float, size: int = 0) -> sa.Engine:
        given = str(self._url.query.get("options", ""))
        return sa.create_engine(
            self._url.difference_update_query(["options"]),
            poolclass=QueuePool,
            pool_size=size or self._size,
            max_overflow=0,
            pool_timeout=wait,
            pool_use_lifo=True,
            connect_args={
                "connect_timeout": _CONNECT_TIMEOUT,
                "options": f"{given} {options}".strip(),
                # What is read, or is one statement, needs no transaction around it: two round trips less.
                "autocommit": True,
            },
        )

    def close(self) -> None:
        with self._opening:
            self._is_closed = True
            if self._pid == os.getpid():
                for pool in self._pools.values():
                    pool.dispose()
            self._pools, self._pid = {}, 0


def _begin(connection: Connection) -> None:
    # Not the driver's own way to begin: that one would do so before single statements, too.
    connection.connection.cursor().execute("BEGIN")


def _problem_with_options(url: URL) -> str:
    """What is wrong with the options of ``url``, as the driver says it without connecting; empty if nothing is."""
    try:
        _, given = _DIALECT.create_connect_args(url)  # type: ignore[no-untyped-call]
    except sa.exc.ArgumentError:
        return "its hosts and ports do not fit together"
    for name in (name for name in _NUMBERS if not re.fullmatch(r"-?\d{1,9}", str(given.get(name, 0)), re.ASCII)):
        return f"{name} is no whole number"
    hosts = max(str(given.get(name, "")).count(",") for name in ("host", "hostaddr")) + 1
    # Where nobody listens: it says of options that they are wrong before it looks for somebody.
    nowhere = {**given, "host": ",".join([_NO_SOCKET] * hosts), "hostaddr": None}
    try:
        info = psycopg.conninfo.make_conninfo(**nowhere)
    except psycopg.ProgrammingError as error:
        # Without its name where that may be the rest of a password with an & in it.
        return "an option is not known" if "password" in url.query else _first_line(error)
    trial = psycopg.pq.PGconn.connect_start(info.encode())
    try:
        said = trial.error_message.decode(errors="replace").strip()
    finally:
        trial.finish()
    return said.partition("\n")[0] if said.startswith("invalid ") else ""


def _first_line(error: BaseException | None) -> str:
    """What went wrong, without the connection's parameters; libpq tells no password, but a line each for every
    address."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
