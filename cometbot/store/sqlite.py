"""SQLite: one file, shared by the processes of one machine."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.pool import QueuePool, StaticPool

from cometbot import private_files
from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.forking import PerProcess
from cometbot.store import migrate, tables
from cometbot.store.clock import boot_id, seconds_since_boot
from cometbot.store.database import WRITE_TIMEOUT, Database, PreparedStatement
from cometbot.store.database_files import FileGuard, IdentityLock, WriteAheadLog, WriteLock, sleep_randomly
from cometbot.store.failures import DISK_FULL, FILE_MISSING, classify_error
from cometbot.store.group_commit import GroupCommit

MEMORY_URL = make_url("sqlite://")
_DIALECT = sqlite.dialect()
_PAGE_SIZE = 1024
"""Bytes of a page, a quarter of SQLite's default.

A callback changes half a dozen pages, which are written to disk whole; this writes a third of the bytes.
"""

_CHECKPOINT_PAGES = 32_000
"""Pages of the log (32 MiB) after which it is copied into the database, while no process can write.

Of a page that was changed many times only the last version is copied, so a longer log leaves less to copy.
"""

_WAL_SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes to which the log is truncated when it is reset: a long-running reader may have let it grow far beyond."""

_CONNECT_OPTIONS: dict[str, Any] = {
    "timeout": WRITE_TIMEOUT,
    "isolation_level": None,
    "check_same_thread": False,
    "cached_statements": 256,
}

_MIN_FREE_SPACE = 256 * 1024
"""Bytes below which the disk counts as full: large callbacks fail while small writes still succeed."""

T = TypeVar("T")


class SQLite(Database):
    """An SQLite file in WAL mode (or memory, for tests), shared by the processes of one machine.

    One connection writes. With SQLite's own waiting, a process could starve while another one's threads take turns.
    Therefore a thread first acquires a lock of its process, then the write lock between processes. A commit leaves the
    write in the system's page cache; a durable write is synced after that, when other threads can already write. In
    memory a single connection serves everything.
    """

    def __init__(self, url: URL) -> None:
        self.path = "" if url.database in (None, "", ":memory:") else os.path.realpath(str(url.database))
        self._configured_path = os.path.abspath(str(url.database)) if self.path else ""
        self.is_persistent = bool(self.path)
        self._url = url
        self._lock = threading.Lock()
        self._group_commit = GroupCommit(partial(_WriteTransaction, self), self._sync)
        self._connections = PerProcess(self._open)
        self._is_closed = False
        self._timer = seconds_since_boot
        self._clock_offset = 0.0
        self._write_lock = WriteLock("")
        self._wal = WriteAheadLog("")
        self._file_guard: FileGuard | None = None
        self._identity_lock = IdentityLock(self.path)
        self._writer: Connection | None = None
        self._driver: sqlite3.Connection
        self._engine: sa.Engine | None = None

    def insert(self, table: sa.Table) -> Any:
        return sqlite.insert(table)

    def prepare(self, statement: sa.sql.expression.ClauseElement) -> PreparedStatement:
        return PreparedStatement(statement, _DIALECT)

    def clock(self) -> float:
        if self._connections.existing is None:
            self._connections.get()
        return self._timer() + self._clock_offset

    @contextmanager
    def write(self, *, durable: bool = True, timeout: float | None = None) -> Iterator[Connection]:
        self._connections.get()
        with _WriteTransaction(self, _deadline(timeout)) as connection:
            yield connection
        if durable:
            self._sync()

    def group_commit(
        self,
        work: Callable[[Connection], T],
        *,
        durable: bool = True,
        timeout: float | None = None,
        is_idempotent: bool = False,
    ) -> T:
        if self._connections.existing is None:
            self._connections.get()
        deadline = time.monotonic() + (WRITE_TIMEOUT if timeout is None else timeout)
        return self._group_commit.run(work, durable=durable, deadline=deadline)

    def _sync(self) -> None:
        try:
            self._wal.sync()
        except OSError as error:
            raise self._to_error(error, "sync a write") from error
        if self._file_guard is not None and self._file_guard.problem():
            self._check_files()

    def _to_error(self, cause: BaseException, action: str) -> StoreBusy:
        """Return the exception to raise for ``cause``.

        A removed or replaced file is the cause of any other error, such as one of I/O.
        """
        if self._file_guard is not None and (problem := self._file_guard.problem()):
            return self.failures.record(FILE_MISSING, problem)
        return self.failures.to_exception(cause, action)

    def _check_files(self) -> None:
        """Raise :class:`StoreUnavailable` if a write would go to a file that was removed or replaced."""
        if self._file_guard is not None and (problem := self._file_guard.problem()):
            raise self.failures.record(FILE_MISSING, problem)

    def problem(self) -> str:
        if not self.path or self._connections.existing is None:
            return self.failures.problem
        self._check_files()
        disk = os.statvfs(os.path.dirname(self.path))
        if disk.f_bavail * disk.f_frsize < _MIN_FREE_SPACE:
            self.failures.record(DISK_FULL, f"the disk of {self.path} is full")
        return self.failures.problem

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._connections.get()
        if not self.path:
            with self._lock:
                assert self._writer is not None
                yield self._writer
            return
        assert self._engine is not None
        self._check_files()
        with self._translate_errors("read"), self._engine.connect() as connection:
            yield connection

    def snapshot(self) -> AbstractContextManager[Connection]:
        # The only connection of a database in memory may be in a transaction; no other connection writes meanwhile.
        return super().snapshot() if self.path else self.read()

    def size(self, connection: Connection) -> int:
        pages, free, page_size = (
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * page_size)

    def free_space(self) -> int | None:
        return shutil.disk_usage(os.path.dirname(self.path)).free if self.path else None

    @contextmanager
    def _translate_errors(self, action: str) -> Iterator[None]:
        """Raise failures that need a repair as :class:`StoreUnavailable`, and others unchanged."""
        try:
            yield
        except sa.exc.DatabaseError as error:
            if error.orig is None or not classify_error(error.orig):
                raise
            raise self._to_error(error.orig, action) from error

    def open(self) -> None:
        self._connections.get()

    def _open(self) -> tuple[sa.Engine, Connection]:
        if self._is_closed:
            raise StoreBusy("the database is closed")
        self._discard_parent_connections()
        self._check_folder()
        pool: dict[str, Any] = (
            {"poolclass": QueuePool, "pool_size": 4, "max_overflow": 64} if self.path else {"poolclass": StaticPool}
        )
        if self.path:
            self._acquire_identity_lock()
        self._engine = sa.create_engine("sqlite://", creator=self._connect, isolation_level="AUTOCOMMIT", **pool)
        self._write_lock = WriteLock(f"{self.path}-turns" if self.path else "")
        try:
            self._writer = self._make_writer()
            self._driver = cast(sqlite3.Connection, self._writer.connection.dbapi_connection)
            self._initialize_schema_and_clock()
            self._wal = WriteAheadLog(self.path)
            self._file_guard = FileGuard(self.path, self._configured_path) if self.path else None
        except (sa.exc.DatabaseError, sqlite3.DatabaseError, OSError, StoreBusy) as error:
            self._identity_lock.close()
            reason = str(error.orig if isinstance(error, sa.exc.DatabaseError) else error).rstrip(".")
            raise ConfigurationError(
                f"cannot use the database {self.path}: {reason}. Check COMETBOT_DATABASE_URL."
            ) from error
        return self._engine, self._writer

    def _discard_parent_connections(self) -> None:
        if self._writer is not None:  # another thread of the parent may have held the lock
            self._lock = threading.Lock()
            self._group_commit = GroupCommit(partial(_WriteTransaction, self), self._sync)
        self._writer, self._engine, self._file_guard = None, None, None
        self._identity_lock.close()

    def _check_folder(self) -> None:
        folder = Path(self.path).parent
        if self.path and not os.access(folder, os.W_OK | os.X_OK):
            reason = "cannot be written to" if folder.is_dir() else "does not exist"
            raise ConfigurationError(
                f"the folder {folder} of the database {reason}. Create it, or set COMETBOT_DATABASE_URL."
            )

    def _acquire_identity_lock(self) -> None:
        if problem := self._identity_lock.acquire(self._create_file):
            raise self.failures.record(FILE_MISSING, problem)

    def _create_file(self) -> None:
        """Create the database with mode 0600, which SQLite also gives to the files beside it."""
        try:
            private_files.create_file(self.path)
        except OSError as error:
            raise ConfigurationError(
                f"cannot create the database {self.path}: {error.strerror}. Check COMETBOT_DATABASE_URL."
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = self._open_file() if self.path else sqlite3.connect(":memory:", **_CONNECT_OPTIONS)
        if self.path:
            connection.execute(f"PRAGMA page_size={_PAGE_SIZE}")  # applies to a new file only
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _open_file(self) -> sqlite3.Connection:
        """Open the file that the guard knows: it may have been removed or replaced since the last check."""
        try:
            # mode=rw: the file is never created here.
            connection: sqlite3.Connection = sqlite3.connect(
                f"file:{quote(os.fsencode(self.path))}?mode=rw", uri=True, **_CONNECT_OPTIONS
            )
        except sqlite3.OperationalError:
            self._check_files()
            raise
        try:
            self._check_files()
        except StoreBusy:
            connection.close()
            raise
        return connection

    def _make_writer(self) -> Connection:
        assert self._engine is not None
        connection = self._engine.connect()
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
        connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        connection.exec_driver_sql(f"PRAGMA journal_size_limit={_WAL_SIZE_LIMIT}")
        return connection

    def _initialize_schema_and_clock(self) -> None:
        with _WriteTransaction(self, _deadline(None)) as connection:
            migrate.upgrade(connection)
            self._set_clock(connection)

    def _set_clock(self, connection: Connection) -> None:
        """Read or set the clock of this boot, which all processes share.

        After a reboot the clock is set again, and all old leases end.
        """
        current_boot = boot_id() or "none"
        stored = dict(connection.execute(sa.select(tables.facts.c.name, tables.facts.c.value)).all())
        if current_boot == "none":
            self._timer = time.time  # the wall clock, which may jump
        elif stored.get("boot") == current_boot and "clock" in stored:
            self._clock_offset = float(stored["clock"])
            return
        self._clock_offset = time.time() - self._timer()
        for name, value in (("boot", current_boot), ("clock", repr(self._clock_offset))):
            connection.execute(
                sqlite.insert(tables.facts)
                .values(name=name, value=value)
                .on_conflict_do_update(index_elements=["name"], set_={"value": value})
            )
        if stored.get("boot", current_boot) != current_boot:
            waiting = tables.conversations.c.due_at.is_not(None)
            connection.execute(sa.delete(tables.processes))
            connection.execute(
                sa.update(tables.conversations).values(due_at=self._timer() + self._clock_offset).where(waiting)
            )

    def upgrade(self) -> None:
        self._connections.get()

    def _wal_size(self) -> int:
        try:
            return os.stat(f"{self.path}-wal").st_size
        except OSError as error:
            raise self._to_error(error, "read the size of the log") from error

    def shrink_wal(self) -> None:
        self._connections.get()
        if not self.path or self._wal_size() <= _WAL_SIZE_LIMIT:
            return
        with self.read() as connection:  # other processes can write while most of it is copied
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
        with self._lock, self._translate_errors("shorten the log"):
            self._write_lock.acquire(_deadline(None))
            try:
                if self._writer is not None:
                    self._writer.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")  # does nothing during a read
            finally:
                self._write_lock.release()

    def close(self) -> None:
        self._is_closed = True
        connections = self._connections.clear()
        if connections is None:
            return
        engine, writer = connections
        with self._lock:
            with suppress(sa.exc.DatabaseError):
                writer.close()
            engine.dispose()
            self._write_lock.close()
            self._wal.close()
            self._identity_lock.close()
            if self._file_guard is not None:
                self._file_guard.close()
            self._writer, self._engine = None, None


def _deadline(timeout: float | None) -> float:
    return time.monotonic() + (WRITE_TIMEOUT if timeout is None else timeout)


@dataclass(frozen=True, slots=True)
class _WriteTransaction:
    """A write transaction, in turn with the threads of this process and with the other processes.

    It raises :class:`StoreBusy` if it cannot begin before ``time.monotonic()`` is ``deadline``.
    """

    database: SQLite
    deadline: float

    def __enter__(self) -> Connection:
        database, deadline = self.database, self.deadline
        if not database._lock.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            raise StoreBusy("the database is busy with other writes. Try again in a moment.")
        try:
            writer, driver, write_lock = database._writer, database._driver, database._write_lock
            assert writer is not None
            write_lock.acquire(deadline)
            if database._file_guard is not None and database._file_guard.problem():
                database._check_files()
            try:
                # The holder of the write lock finds the file free, unless another program has it open.
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                self._begin_later(error)
            return writer
        except BaseException as error:
            self._roll_back(error)
            raise

    def _begin_later(self, error: sqlite3.OperationalError) -> None:
        """Begin when another program has released the file; raise ``error`` if it is not about that.

        SQLite itself would retry with sleeps that grow to 100 ms, and one of two busy processes would get a fifth of
        the turns.
        """
        database, deadline = self.database, self.deadline
        while "database is locked" in str(error) and time.monotonic() < deadline:
            database._write_lock.release()
            sleep_randomly()
            database._write_lock.acquire(deadline)
            try:
                database._driver.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as next_error:
                error = next_error
        raise error

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self._roll_back(error)
            return
        database = self.database
        try:
            database._driver.execute("COMMIT")
        except BaseException as failure:
            self._roll_back(failure)
            raise
        database._write_lock.release()
        database._lock.release()

    def _roll_back(self, error: BaseException) -> None:
        """End the transaction because of ``error``; raise a failure of the database as :class:`StoreBusy`."""
        database = self.database
        try:
            if database._writer is not None and database._driver.in_transaction:
                with suppress(sqlite3.Error):  # a failing disk may refuse this too; the first error is the cause
                    database._driver.execute("ROLLBACK")
            cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
            if isinstance(cause, sqlite3.OperationalError) or (
                isinstance(cause, sqlite3.Error) and classify_error(cause)
            ):
                raise database._to_error(cause, "store a write") from error
        finally:
            try:
                database._write_lock.release()
            finally:
                database._lock.release()
