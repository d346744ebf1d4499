"""SQLite: one file, shared by the processes of one machine."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, Connection
from sqlalchemy.pool import QueuePool, StaticPool

from cometbot import private_files
from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.store import migrate, tables
from cometbot.store.clock import Clock, boot_id
from cometbot.store.database import WRITE_TIMEOUT, Database, Prepared
from cometbot.store.failures import FULL, MISSING, kind_of
from cometbot.store.file_guard import FileGuard
from cometbot.store.file_users import FileUsers
from cometbot.store.together import Together
from cometbot.store.turns import Turns, nap
from cometbot.store.wal import WriteAheadLog

_DIALECT = sqlite.dialect()
_PAGE_SIZE = 1024
"""A callback changes half a dozen pages, which go to the disk whole: a quarter of SQLite's own measure, a third of the
bytes."""

_CHECKPOINT_PAGES = 32_000
"""32 MiB of log before it is copied into the database, while which nobody writes. Of a page that was changed many times
only the last form is copied, so that the longer the log, the less there is to copy."""

_LOG_LIMIT = 64 * 1024 * 1024
"""Bytes to which the log is cut when it begins anew: a reader that stayed open may have let it grow far beyond."""

_CONNECT: dict[str, Any] = {
    "timeout": WRITE_TIMEOUT,
    "isolation_level": None,
    "check_same_thread": False,
    "cached_statements": 256,
}

_MIN_FREE = 256 * 1024
"""Bytes below which the disk counts as full: large callbacks fail while small writes still succeed."""

T = TypeVar("T")


class SQLite(Database):
    """A file of SQLite in WAL mode (or memory, for tests), shared by the processes of one machine.

    One connection writes: SQLite's own waiting lets a process starve while another one's threads take turns, so a lock
    of the process stands before it, and who holds that waits for its turn among the processes. A commit leaves the
    write in the system's memory; what is durable is brought to the disk after that, when others can write already. In
    memory there is a single connection for everything.
    """

    def __init__(self, url: URL) -> None:
        self.path = "" if url.database in (None, "", ":memory:") else os.path.realpath(str(url.database))
        self._named = os.path.abspath(str(url.database)) if self.path else ""
        self.is_kept = bool(self.path)
        self._url = url
        self._lock = threading.Lock()
        self._together = Together(self._write, self._sync)
        self._opening = threading.RLock()
        self._pid = 0
        self._is_closed = False
        self._clock = Clock()
        self._turns = Turns("")
        self._log = WriteAheadLog("")
        self._guard: FileGuard | None = None
        self._users = FileUsers(self.path)
        self._writer: Connection | None = None
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
        with self._write(_end(timeout)) as connection:
            yield connection
        if durable:
            self._sync()

    def together(
        self,
        work: Callable[[Connection], T],
        *,
        durable: bool = True,
        timeout: float | None = None,
        is_idempotent: bool = False,
    ) -> T:
        self._ensure_open()
        return self._together.do(work, durable=durable, ends_at=_end(timeout))

    @contextmanager
    def _write(self, ends_at: float) -> Iterator[Connection]:
        if not self._lock.acquire(timeout=max(ends_at - time.monotonic(), 0.0)):
            raise StoreBusy("the database is busy writing for others; try again in a moment")
        try:
            with self._turn(ends_at) as connection:
                yield connection
        finally:
            self._lock.release()

    @contextmanager
    def _turn(self, ends_at: float) -> Iterator[Connection]:
        """A transaction of this process, when the others have had theirs."""
        assert self._writer is not None
        self._turns.take(ends_at)
        try:
            self._check_files()
            with _transaction(self._writer, ends_at, self._turns, self._to_error) as connection:
                yield connection
        finally:
            self._turns.give()

    def _sync(self) -> None:
        try:
            self._log.sync()
        except OSError as error:
            raise self._to_error(error, "sync a write") from error
        self._check_files()

    def _to_error(self, cause: BaseException, action: str) -> StoreBusy:
        """Return what to raise for ``cause``. A file that is gone is the cause of any other error, such as of I/O."""
        if self._guard is not None and (problem := self._guard.problem()):
            return self.failures.record(MISSING, problem)
        return self.failures.to_error(cause, action)

    def _check_files(self) -> None:
        """Raise :class:`StoreUnavailable` if what is written here would be found by nobody."""
        if self._guard is not None and (problem := self._guard.problem()):
            raise self.failures.record(MISSING, problem)

    def problem(self) -> str:
        if not self.path or self._pid != os.getpid():
            return self.failures.problem
        self._check_files()
        found = os.statvfs(os.path.dirname(self.path))
        if found.f_bavail * found.f_frsize < _MIN_FREE:
            self.failures.record(FULL, f"the disk of {self.path} is full")
        return self.failures.problem

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._ensure_open()
        if not self.path:
            with self._lock:
                assert self._writer is not None
                yield self._writer
            return
        assert self._engine is not None
        self._check_files()
        with self._translated("read"), self._engine.connect() as connection:
            yield connection

    def snapshot(self) -> AbstractContextManager[Connection]:
        # The only connection of a database in memory may be in a transaction; nobody else writes meanwhile.
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
    def _translated(self, action: str) -> Iterator[None]:
        """Raise failures that need a repair as :class:`StoreUnavailable`, and others as they are."""
        try:
            yield
        except sa.exc.DatabaseError as error:
            if error.orig is None or not kind_of(error.orig):
                raise
            raise self._to_error(error.orig, action) from error

    def open(self) -> None:
        self._ensure_open()

    def _ensure_open(self) -> None:
        if self._pid == os.getpid():
            return
        with self._opening:
            if self._is_closed:
                raise StoreBusy("the database is closed")
            if self._pid != os.getpid():
                self._open()

    def _open(self) -> None:
        self._forget_parent()
        self._check_folder()
        pool: dict[str, Any] = (
            {"poolclass": QueuePool, "pool_size": 4, "max_overflow": 64} if self.path else {"poolclass": StaticPool}
        )
        if self.path:
            self._join_users()
        self._engine = sa.create_engine("sqlite://", creator=self._connect, isolation_level="AUTOCOMMIT", **pool)
        self._turns = Turns(f"{self.path}-turns" if self.path else "")
        try:
            self._writer = self._make_writer()
            self._prepare()
            self._log = WriteAheadLog(self.path)
            self._guard = FileGuard(self.path, self._named) if self.path else None
        except (sa.exc.DatabaseError, sqlite3.DatabaseError, OSError, StoreBusy) as error:
            self._users.leave()
            reason = error.orig if isinstance(error, sa.exc.DatabaseError) else error
            raise ConfigurationError(
                f"cannot use the database {self.path}: {reason}; check COMETBOT_DATABASE_URL"
            ) from error
        self._pid = os.getpid()

    def _forget_parent(self) -> None:
        """After a fork: the parent's connections must be neither used nor closed here."""
        if self._pid:
            self._lock = threading.Lock()
            self._together = Together(self._write, self._sync)
            _ABANDONED.extend([self._writer, self._engine])
        self._writer, self._engine, self._guard = None, None, None
        self._users.leave()

    def _check_folder(self) -> None:
        folder = Path(self.path).parent
        if self.path and not os.access(folder, os.W_OK | os.X_OK):
            reason = "cannot be written to" if folder.is_dir() else "does not exist"
            raise ConfigurationError(
                f"the folder {folder} of the database {reason}; make it, or set COMETBOT_DATABASE_URL"
            )

    def _join_users(self) -> None:
        if problem := self._users.join(self._create_file):
            raise self.failures.record(MISSING, problem)

    def _create_file(self) -> None:
        """Create the database with mode 0600, which SQLite gives to the files beside it too."""
        try:
            private_files.create_file(self.path)
        except OSError as error:
            raise ConfigurationError(
                f"cannot create the database {self.path}: {error.strerror}; check COMETBOT_DATABASE_URL"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = self._open_file() if self.path else sqlite3.connect(":memory:", **_CONNECT)
        if self.path:
            connection.execute(f"PRAGMA page_size={_PAGE_SIZE}")  # of a new file; others keep theirs
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _open_file(self) -> sqlite3.Connection:
        """Open the file that the guard knows: it may have been removed or replaced since the last check."""
        try:
            # mode=rw: it is never created here.
            connection: sqlite3.Connection = sqlite3.connect(
                f"file:{quote(os.fsencode(self.path))}?mode=rw", uri=True, **_CONNECT
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
        connection.exec_driver_sql(f"PRAGMA journal_size_limit={_LOG_LIMIT}")
        return connection

    def _prepare(self) -> None:
        with self._turn(time.monotonic() + WRITE_TIMEOUT) as connection:
            migrate.upgrade(connection)
            self._clock = _shared_clock(connection)

    def upgrade(self) -> None:
        self._ensure_open()

    def shrink_log(self) -> None:
        self._ensure_open()
        if not self.path or os.stat(f"{self.path}-wal").st_size <= _LOG_LIMIT:
            return
        with self.read() as connection:  # writers go on while most of it is copied
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
        with self._lock, self._translated("shorten the log"):
            self._turns.take(_end(None))
            try:
                if self._writer is not None:
                    self._writer.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")  # does nothing while somebody reads
            finally:
                self._turns.give()

    def close(self) -> None:
        with self._opening, self._lock:
            self._is_closed = True
            if self._pid != os.getpid():
                return
            if self._writer is not None:
                with suppress(sa.exc.DatabaseError):
                    self._writer.close()
            if self._engine is not None:
                self._engine.dispose()
            self._turns.close()
            self._log.close()
            self._users.leave()
            if self._guard is not None:
                self._guard.close()
            self._writer, self._engine, self._pid = None, None, 0


_ABANDONED: list[Any] = []


def _end(timeout: float | None) -> float:
    return time.monotonic() + (WRITE_TIMEOUT if timeout is None else timeout)


@contextmanager
def _transaction(
    connection: Connection, ends_at: float, turns: Turns, to_error: Callable[[BaseException, str], StoreBusy]
) -> Iterator[Connection]:
    """Begin a transaction that may write. Raises what ``to_error`` returns for what cannot be done now.

    It waits for other processes until ``time.monotonic()`` reaches ``ends_at``.
    """
    driver = cast(sqlite3.Connection, connection.connection.dbapi_connection)
    try:
        _begin(driver, ends_at, turns)
        yield connection
        driver.execute("COMMIT")
    except BaseException as error:
        if driver.in_transaction:
            with suppress(sqlite3.Error):  # a disk that fails may refuse this too; the first error is the cause
                driver.execute("ROLLBACK")
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if isinstance(cause, sqlite3.OperationalError) or (isinstance(cause, sqlite3.Error) and kind_of(cause)):
            raise to_error(cause, "store a write") from error
        raise


def _begin(driver: sqlite3.Connection, ends_at: float, turns: Turns) -> None:
    """Take the write lock of the file; who has the turn finds it free, unless a stranger has the file open.

    SQLite itself would wait with naps that grow to 100 ms, and one of two busy processes would get a fifth of the
    turns.
    """
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "database is locked" not in str(error) or time.monotonic() >= ends_at:
                raise
            turns.give()
            nap()
            turns.take(ends_at)
        else:
            return


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
            .on_conflict_do_update(index_elements=["name"], set_={"value": value})
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
