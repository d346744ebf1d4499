"""PostgreSQL: one database for processes on any number of machines."""

from __future__ import annotations

import re
import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, ClassVar

import psycopg
import psycopg.conninfo
import psycopg.pq
import sqlalchemy as sa
from psycopg.pq import ConnStatus, TransactionStatus
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import NullPool

from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.forking import PerProcess
from cometbot.store import migrate
from cometbot.store.clock import LEASE_TTL, ServerClock, seconds_since_boot
from cometbot.store.connection_pool import ConnectionPool
from cometbot.store.database import ACK_TIMEOUT, WRITE_TIMEOUT, Database, PreparedStatement, T
from cometbot.store.failures import STANDBY, TOO_MANY_CONNECTIONS, UNREACHABLE, classify_error

_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]
POOL_SIZE = 10
"""Maximum connections of a process, without those that listen or belong to Procrastinate."""

RESERVED_CONNECTIONS = 3
"""The number of these connections that are reserved for acknowledgements."""

CONNECT_OPTIONS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "fallback_application_name": "cometbot",
}
"""Options of a connection, unless the URL sets them: a server that vanished is noticed after seconds."""

_MAX_IDLE_WITHOUT_PING = 2.0
"""Seconds of idleness from which the server is pinged; before that, only received data is checked."""

_PING_TIMEOUT = 0.3
"""Seconds within which a pinged server must respond."""

_CLOCK_SYNC_INTERVAL = 5.0
_UPGRADE_LOCK = 4_711_815
_UNUSED_SOCKET_FOLDER = "/nowhere/cometbot"
_INTEGER_OPTIONS = ("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count")
_SELECT_TIMES = sa.text("SELECT extract(epoch FROM clock_timestamp()), (SELECT max(lease_until) FROM processes)")
_WALL_CLOCK = sa.text("SELECT extract(epoch FROM clock_timestamp())")
_SELECT_PRIVILEGES = sa.text(
    "SELECT current_user, "
    + ", ".join(f"has_table_privilege('mailbox', '{right}')" for right in ("SELECT", "INSERT", "UPDATE", "DELETE"))
)
_TRANSIENT_ERRORS = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)
_PERMANENT_ERROR = psycopg.errors.ProgramLimitExceeded
"""The one of these errors that would be raised again: a row that no index accepts."""


class PostgreSQL(Database):
    """A database behind a ``postgresql://`` URL.

    Each process has one bounded pool. Writes that a request waits for give up after a second and have reserved slots in
    the pool. Relaxed writes are committed without waiting for the disk. That is a setting of the session, so it costs a
    statement only when a connection changes its kind of write. Reads need no transaction. The clock is this machine's
    boot clock, set by the server's (:class:`ServerClock`).
    """

    supports_writable_ctes: ClassVar[bool] = True

    def __init__(self, url: URL, size: int = POOL_SIZE) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        if problem := _find_option_problem(self._url):
            raise ConfigurationError(
                f"COMETBOT_DATABASE_URL: {problem}. Leave out the options after the ?, or set parameter "
                "key words of PostgreSQL's manual, such as ?sslmode=require."
            )
        self._size = size
        self._is_closed = False
        self._pool = PerProcess(self._make_pool)
        self._clock = ServerClock()
        self._clock_synced_at = float("-inf")

    @property
    def server_url(self) -> str:
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False)

    def insert(self, table: sa.Table) -> Any:
        return postgresql.insert(table)

    def prepare(self, statement: sa.sql.expression.ClauseElement) -> PreparedStatement:
        return PreparedStatement(statement, _DIALECT)

    def clock(self) -> float:
        if seconds_since_boot() - self._clock_synced_at > _CLOCK_SYNC_INTERVAL:
            self._sync_clock()
        return self._clock()

    def wall_clock(self, connection: Connection) -> float:
        return float(connection.execute(_WALL_CLOCK).scalar_one())

    def _sync_clock(self) -> None:
        """Set the clock by the server's, and by the heartbeats of other processes.

        If the server cannot be reached now, the clock continues as it is.
        """
        self._clock_synced_at = seconds_since_boot()
        # The caller may hold a connection already, so this must not wait for another one.
        with suppress(StoreBusy), self._translate_errors(), self._checkout(is_urgent=True, timeout=0.0) as connection:
            with self._transaction(connection, ACK_TIMEOUT):
                server, last_lease_until = connection.execute(_SELECT_TIMES).one()
            self._clock.synchronize(float(server), (last_lease_until or 0.0) - LEASE_TTL)

    @contextmanager
    def write(self, *, durable: bool = True, timeout: float | None = None) -> Iterator[Connection]:
        with self._translate_errors(), self._begin_with_retry(durable, timeout) as connection:
            yield connection

    @contextmanager
    def _begin_with_retry(self, durable: bool, timeout: float | None) -> Iterator[Connection]:
        """Yield a connection in a transaction. A connection that cannot begin a transaction is replaced once."""
        with ExitStack() as stack:
            try:
                with ExitStack() as attempt:
                    connection = self._begin_on(attempt, durable, timeout)
                    stack.push(attempt.pop_all())
            except (*_TRANSIENT_ERRORS, sa.exc.DBAPIError) as error:
                if not _needs_new_connection(error):
                    raise
                connection = self._begin_on(stack, durable, timeout)
            yield connection

    def _begin_on(self, stack: ExitStack, durable: bool, timeout: float | None) -> Connection:
        """Return a connection in a transaction, which ``stack`` ends."""
        checkout = self._checkout(is_urgent=timeout is not None, timeout=timeout, durable=durable)
        connection = stack.enter_context(checkout)
        stack.enter_context(self._transaction(connection, timeout))
        return connection

    def group_commit(
        self,
        work: Callable[[Connection], T],
        *,
        durable: bool = True,
        timeout: float | None = None,
        is_idempotent: bool = False,
    ) -> T:
        deadline = time.monotonic() + (WRITE_TIMEOUT if timeout is None else timeout)
        with self._translate_errors():
            progress = _CommitProgress()
            try:
                return self._attempt(work, durable, timeout, progress)
            except (*_TRANSIENT_ERRORS, sa.exc.DBAPIError) as error:
                is_repeatable = _needs_new_connection(error) and (is_idempotent or not progress.is_committing)
                if not is_repeatable or time.monotonic() >= deadline:
                    raise
            remaining = None if timeout is None else deadline - time.monotonic()
            return self._attempt(work, durable, remaining, progress)

    def _attempt(
        self, work: Callable[[Connection], T], durable: bool, timeout: float | None, progress: _CommitProgress
    ) -> T:
        with self._begin_with_retry(durable, timeout) as connection:
            result = work(connection)
            progress.is_committing = True
        return result

    def autocommit(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        with self._translate_errors(), self._checkout(durable=durable) as connection:
            return work(connection)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._translate_errors(), self._checkout(durable=None) as connection:
            yield connection

    def size(self, connection: Connection) -> int:
        return int(connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one())

    def _begin_snapshot(self, connection: Connection) -> None:
        _driver_connection(connection).execute(b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", prepare=False)

    @contextmanager
    def _checkout(
        self, *, is_urgent: bool = False, timeout: float | None = None, durable: bool | None = None
    ) -> Iterator[Connection]:
        """Yield a connection of the pool whose commits wait for the disk if ``durable`` (None: either will do).

        After a connection broke, neither it nor the idle ones, which probably broke with it, are used again.
        """
        pool = self._pool.get()
        connection = pool.acquire(
            is_urgent=is_urgent,
            timeout=WRITE_TIMEOUT if timeout is None else timeout,
            is_preferred=lambda idle: durable is None or _is_durable(idle) == durable,
        )
        is_broken = False
        try:
            if durable is not None and _is_durable(connection) != durable:
                _set_durable(connection, durable)
            yield connection
        except (*_TRANSIENT_ERRORS, sa.exc.DBAPIError) as error:
            is_broken = _needs_new_connection(error) or connection.invalidated or _driver_connection(connection).closed
            raise
        finally:
            pool.release(connection, is_urgent=is_urgent, is_usable=not is_broken and _reset(connection))
            if is_broken:
                pool.close_idle()

    @contextmanager
    def _transaction(self, connection: Connection, timeout: float | None) -> Iterator[None]:
        """Open a transaction in which each statement is limited to ``timeout`` seconds."""
        limit = "" if timeout is None else f"; SET LOCAL statement_timeout = {max(1, int(timeout * 1000))}"
        with connection.begin():
            # Not the driver's own begin, which would open a transaction for single statements, too.
            _driver_connection(connection).execute(f"BEGIN{limit}".encode(), prepare=False)
            yield

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (*_TRANSIENT_ERRORS, sa.exc.DBAPIError) as error:
            cause = _driver_error(error)
            if not isinstance(cause, _TRANSIENT_ERRORS) or isinstance(cause, _PERMANENT_ERROR):
                raise
            raise self.failures.to_exception(cause, "read or write") from error

    def open(self) -> None:
        with self._raise_configuration_errors("use"):
            problem = self.schema_problem() or self._find_privilege_problem()
        if problem:
            raise ConfigurationError(problem)
        self._sync_clock()

    def _find_privilege_problem(self) -> str:
        """Return why this user cannot work with the tables, and what to do; "" if it can."""
        with self.read() as connection:
            user, *allowed = connection.execute(_SELECT_PRIVILEGES).one()
        if all(allowed):
            return ""
        return (
            f"the user {user} of COMETBOT_DATABASE_URL may not read and write the tables. Name their owner there, or "
            f"let the owner GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES and USAGE ON ALL SEQUENCES IN SCHEMA "
            f"public TO {user}"
        )

    def upgrade(self) -> None:
        with self._raise_configuration_errors("upgrade"), self.write() as connection:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
            migrate.upgrade(connection)

    @contextmanager
    def _raise_configuration_errors(self, verb: str) -> Iterator[None]:
        """Raise errors of the database as :class:`ConfigurationError`, in one sentence with the remedy."""
        try:
            yield
        except (StoreBusy, sa.exc.DBAPIError) as error:
            reason = _first_line(error.orig if isinstance(error, sa.exc.DBAPIError) else error).rstrip(".")
            raise ConfigurationError(
                f"cannot {verb} the PostgreSQL database of COMETBOT_DATABASE_URL: {reason}. Check the URL, that the "
                "server runs, and the rights of its user."
            ) from error

    def problem(self) -> str:
        with self.read() as connection:
            is_read_only = connection.execute(sa.text("SHOW transaction_read_only")).scalar() == "on"
        if is_read_only:
            self.failures.record(STANDBY, "cannot write: the PostgreSQL server is a standby or read-only")
        else:
            self.failures.clear(UNREACHABLE, TOO_MANY_CONNECTIONS, STANDBY)
        return self.failures.problem

    def _make_pool(self) -> ConnectionPool[Connection]:
        if self._is_closed:
            raise StoreBusy("the database is closed")
        engine = sa.create_engine(
            self._url,
            poolclass=NullPool,
            connect_args={
                **CONNECT_OPTIONS,
                **{name: str(value) for name, value in self._url.query.items() if name in CONNECT_OPTIONS},
                # Reads and single statements need no transaction around them: that saves two round trips.
                "autocommit": True,
            },
        )
        return ConnectionPool(
            engine.connect,
            _close,
            lambda connection, idle: _is_alive(_driver_connection(connection), idle),
            size=self._size,
            reserved=RESERVED_CONNECTIONS,
        )

    def close(self) -> None:
        self._is_closed = True
        if pool := self._pool.clear():
            pool.close()


class _CommitProgress:
    """The progress of a transaction: ``is_committing`` is True if the server may have received its commit."""

    is_committing = False


def _driver_connection(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _is_durable(connection: Connection) -> bool:
    return bool(connection.info.get("durable", True))


def _set_durable(connection: Connection, durable: bool) -> None:
    statement = b"RESET synchronous_commit" if durable else b"SET synchronous_commit TO off"
    _driver_connection(connection).execute(statement, prepare=False)
    connection.info["durable"] = durable


def _reset(connection: Connection) -> bool:
    """Roll back an open transaction, and return True if the connection can be used again."""
    try:
        connection.rollback()
        return not connection.invalidated and _is_usable(_driver_connection(connection))
    except (*_TRANSIENT_ERRORS, sa.exc.DBAPIError):
        return False


def _is_usable(connection: psycopg.Connection[Any]) -> bool:
    """Return True if a connection is open and in no transaction."""
    return not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE


def _is_alive(connection: psycopg.Connection[Any], idle: float) -> bool:
    """Return True if a connection that was idle for ``idle`` seconds can be used.

    A server that ends a connection sends a message or closes the socket: either makes the socket readable. A firewall
    that drops a connection sends nothing, so after some seconds the server is pinged with an empty query.
    """
    if not _is_usable(connection) or _is_readable(connection, 0.0):
        return False
    return idle < _MAX_IDLE_WITHOUT_PING or _ping(connection)


def _is_readable(connection: psycopg.Connection[Any], timeout: float) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def _ping(connection: psycopg.Connection[Any]) -> bool:
    raw = connection.pgconn
    try:
        raw.send_query(b"")
        while raw.is_busy():
            if not _is_readable(connection, _PING_TIMEOUT):
                return False
            raw.consume_input()
        while raw.get_result() is not None:
            pass
    except psycopg.Error:
        return False
    return raw.status == ConnStatus.OK


def _close(connection: Connection) -> None:
    with suppress(*_TRANSIENT_ERRORS, sa.exc.DBAPIError):
        connection.invalidate()
    connection.close()


def _driver_error(error: BaseException) -> BaseException | None:
    return error.orig if isinstance(error, sa.exc.DBAPIError) else error


def _needs_new_connection(error: BaseException) -> bool:
    """Return True if a retry on a new connection may succeed: this one broke, or its server accepts no writes."""
    cause = _driver_error(error)
    return isinstance(cause, _TRANSIENT_ERRORS) and classify_error(cause) in (UNREACHABLE, STANDBY)


def _find_option_problem(url: URL) -> str:
    """Return the problem of the options of ``url``, or "".

    The text is the driver's, which reports it without connecting.
    """
    try:
        _, options = _DIALECT.create_connect_args(url)  # type: ignore[no-untyped-call]
    except sa.exc.ArgumentError:
        return "its hosts and ports do not fit together"
    for name in (
        name for name in _INTEGER_OPTIONS if not re.fullmatch(r"-?\d{1,9}", str(options.get(name, 0)), re.ASCII)
    ):
        return f"{name} is no whole number"
    hosts = max(str(options.get(name, "")).count(",") for name in ("host", "hostaddr")) + 1
    # A host where nothing listens: libpq reports invalid options before it connects.
    unreachable_options = {**options, "host": ",".join([_UNUSED_SOCKET_FOLDER] * hosts), "hostaddr": None}
    try:
        info = psycopg.conninfo.make_conninfo(**unreachable_options)
    except psycopg.ProgrammingError as error:
        # The option's name is left out if it may be the rest of a password that contains an &.
        return "an option is not known" if "password" in url.query else _first_line(error)
    probe = psycopg.pq.PGconn.connect_start(info.encode())
    try:
        message = probe.error_message.decode(errors="replace").strip()
    finally:
        probe.finish()
    return message.partition("\n")[0] if message.startswith("invalid ") else ""


def _first_line(error: BaseException | None) -> str:
    """Return the first line of the error, without the connection's parameters.

    libpq's texts contain no password, but one line for every address.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
