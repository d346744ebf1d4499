"""Kinds of database failures, how long they count, and how often they are logged."""

from __future__ import annotations

import errno
import logging
import sqlite3

import pytest

from cometbot.errors import StoreUnavailable
from cometbot.store.failures import (
    CORRUPT,
    DISK_FULL,
    FAILURE_TTL,
    FILE_MISSING,
    IO,
    KINDS,
    LOG_INTERVAL,
    OUT_OF_MEMORY,
    READ_ONLY,
    STANDBY,
    TOO_MANY_CONNECTIONS,
    UNREACHABLE,
    Failures,
    classify_error,
)


class SQLiteError(sqlite3.OperationalError):
    """An error as Python 3.11 and later raise it."""

    def __init__(self, code: int | None, text: str = "") -> None:
        super().__init__(text)
        self.sqlite_errorcode = code  # type: ignore[assignment]


class PostgresError(Exception):
    def __init__(self, state: str | None, text: str = "") -> None:
        super().__init__(text)
        self.sqlstate = state


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (5, ""),  # SQLITE_BUSY
        (7, OUT_OF_MEMORY),  # SQLITE_NOMEM
        (8, READ_ONLY),  # SQLITE_READONLY
        (1032, READ_ONLY),  # SQLITE_READONLY_DBMOVED
        (10, IO),  # SQLITE_IOERR
        (778, IO),  # SQLITE_IOERR_WRITE
        (1034, IO),  # SQLITE_IOERR_FSYNC
        (11, CORRUPT),  # SQLITE_CORRUPT
        (13, DISK_FULL),  # SQLITE_FULL
        (14, FILE_MISSING),  # SQLITE_CANTOPEN
        (26, CORRUPT),  # SQLITE_NOTADB
    ],
)
def test_sqlite_code_has_its_kind(code: int, kind: str) -> None:
    assert classify_error(SQLiteError(code)) == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("database or disk is full", DISK_FULL),
        ("attempt to write a readonly database", READ_ONLY),
        ("disk I/O error", IO),
        ("database disk image is malformed", CORRUPT),
        ("file is not a database", CORRUPT),
        ("unable to open database file", FILE_MISSING),
        ("database is locked", ""),
    ],
)
def test_sqlite_text_has_its_kind_without_a_code(text: str, kind: str) -> None:
    assert classify_error(SQLiteError(None, text)) == kind


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DISK_FULL),
        (errno.EDQUOT, DISK_FULL),
        (errno.EROFS, READ_ONLY),
        (errno.EIO, IO),
        (errno.EACCES, IO),
    ],
)
def test_system_error_has_its_kind(number: int, kind: str) -> None:
    assert classify_error(OSError(number, "failed")) == kind


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("25006", STANDBY),
        ("53100", DISK_FULL),
        ("53200", OUT_OF_MEMORY),
        ("53300", TOO_MANY_CONNECTIONS),
        ("58030", IO),
        ("57P01", UNREACHABLE),
        ("57P02", UNREACHABLE),
        ("57P03", UNREACHABLE),
        ("57P05", UNREACHABLE),
        ("08006", UNREACHABLE),
        ("08001", UNREACHABLE),
        ("40001", ""),  # serialization_failure
        ("57014", ""),  # query_canceled
        ("23505", ""),  # unique_violation
    ],
)
def test_sqlstate_has_its_kind(state: str, kind: str) -> None:
    assert classify_error(PostgresError(state)) == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("FATAL:  sorry, too many clients already", TOO_MANY_CONNECTIONS),
        ("FATAL:  remaining connection slots are reserved for roles with SUPERUSER", TOO_MANY_CONNECTIONS),
        ("FATAL:  no more connections allowed (max_client_conn)", TOO_MANY_CONNECTIONS),
        ("session is read-only", STANDBY),
        ("connection refused", UNREACHABLE),
        ("consuming input failed: server closed the connection unexpectedly", UNREACHABLE),
    ],
)
def test_refused_connection_has_its_kind(text: str, kind: str) -> None:
    assert classify_error(PostgresError(None, text)) == kind


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_failure_counts_for_its_time_and_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    time, recorded = Time(), []
    failures = Failures(time)
    failures.on_failure = recorded.append
    error = failures.to_exception(OSError(errno.ENOSPC, "No space left on device"), "store a write")
    assert isinstance(error, StoreUnavailable)
    assert error.kind == DISK_FULL

    time.now += FAILURE_TTL - 1
    assert "No space left" in failures.problem
    time.now += 2
    assert failures.problem == ""

    failures.record(DISK_FULL, "full again")
    assert len(caplog.records) == 1
    time.now += LOG_INTERVAL
    failures.record(DISK_FULL, "full again")
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert recorded == [DISK_FULL] * 3


def test_cleared_failure_ends_at_once_if_it_is_of_that_kind() -> None:
    failures = Failures()
    failures.record(UNREACHABLE, "the server is away")
    failures.clear(STANDBY)
    assert failures.problem
    failures.clear(STANDBY, UNREACHABLE)
    assert failures.problem == ""


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_logged_with_a_remedy(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    Failures().record(kind, "it failed")
    (record,) = caplog.records
    assert record.getMessage().startswith("it failed. Nothing is acknowledged or handled until this is repaired. ")
    assert record.getMessage().endswith(".")
