"""Failures of a database that need a repair: their kind, their log line, and how long they count."""

from __future__ import annotations

import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Callable

from cometbot.errors import StoreBusy, StoreUnavailable

LOG_INTERVAL = 60.0
"""Seconds between two log lines about failures of the same kind."""

FAILURE_TTL = 10.0
"""Seconds for which a failure counts: while a disk is nearly full, small writes succeed between large ones."""

DISK_FULL, READ_ONLY, IO, FILE_MISSING, CORRUPT = "full", "read_only", "io", "missing", "corrupt"
OUT_OF_MEMORY, TOO_MANY_CONNECTIONS, STANDBY, UNREACHABLE = "memory", "connections", "standby", "away"

KINDS = (DISK_FULL, READ_ONLY, IO, FILE_MISSING, CORRUPT, OUT_OF_MEMORY, TOO_MANY_CONNECTIONS, STANDBY, UNREACHABLE)

_REMEDIES = {
    DISK_FULL: "Free space on the disk, or raise the quota.",
    READ_ONLY: "Mount the file system for writing, and give this user the right to write.",
    IO: "Check the disk, the file system and the quota.",
    FILE_MISSING: (
        "Stop all processes, put the right file in place as docs/upgrading.md describes, and start them again."
    ),
    CORRUPT: "Stop all processes and restore a backup as docs/upgrading.md describes.",
    OUT_OF_MEMORY: "Give the database server more memory.",
    TOO_MANY_CONNECTIONS: "Raise max_connections of the server, or start fewer processes; docs/scaling.md counts them.",
    STANDBY: "Connect to the primary server: set COMETBOT_DATABASE_URL to it, or add target_session_attrs=read-write.",
    UNREACHABLE: "Start the PostgreSQL server, and check the network between it and this machine.",
}
_BY_SQLITE_CODE = {7: OUT_OF_MEMORY, 8: READ_ONLY, 10: IO, 11: CORRUPT, 13: DISK_FULL, 14: FILE_MISSING, 26: CORRUPT}
_BY_SQLITE_TEXT = {
    "full": DISK_FULL,
    "readonly": READ_ONLY,
    "disk I/O": IO,
    "malformed": CORRUPT,
    "not a database": CORRUPT,
    "unable to open": FILE_MISSING,
}
_BY_ERRNO = {errno.ENOSPC: DISK_FULL, errno.EDQUOT: DISK_FULL, errno.EROFS: READ_ONLY}
_BY_SQLSTATE = {
    "25006": STANDBY,
    "53100": DISK_FULL,
    "53200": OUT_OF_MEMORY,
    "53300": TOO_MANY_CONNECTIONS,
    "57P01": UNREACHABLE,
    "57P02": UNREACHABLE,
    "57P03": UNREACHABLE,
    "57P05": UNREACHABLE,
    "58030": IO,
}
_BY_CONNECTION_TEXT = {
    "too many clients": TOO_MANY_CONNECTIONS,
    "too many connections": TOO_MANY_CONNECTIONS,
    "remaining connection slots": TOO_MANY_CONNECTIONS,
    "no more connections allowed": TOO_MANY_CONNECTIONS,
    "read-only": STANDBY,
}
"""Error texts of PostgreSQL and PgBouncer for a refused connection; such an error has no SQLSTATE."""

_log = logging.getLogger(__name__)


def classify_error(error: BaseException) -> str:
    """Return the kind of an error of a driver or the system, or "" for one that needs no repair."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)  # since Python 3.11
        if code is not None:
            return _BY_SQLITE_CODE.get(code & 0xFF, "")
        return next((kind for text, kind in _BY_SQLITE_TEXT.items() if text in str(error)), "")
    if isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno or 0, IO)
    return _classify_postgresql_error(error)


def _classify_postgresql_error(error: BaseException) -> str:
    state = getattr(error, "sqlstate", "")
    if state is None:
        # An error of the connection itself: it was refused, or it broke.
        return next((kind for text, kind in _BY_CONNECTION_TEXT.items() if text in str(error)), UNREACHABLE)
    return UNREACHABLE if state.startswith("08") else _BY_SQLSTATE.get(state, "")


class Failures:
    """The failures of one database in this process.

    ``on_failure`` is called with the kind of each failure. ``problem`` is empty while there is none.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.on_failure: Callable[[str], None] = lambda kind: None
        self._lock = threading.Lock()
        self._problem = ""
        self._kind = ""
        self._expires_at = 0.0
        self._log_again_at: dict[str, float] = {}

    @property
    def problem(self) -> str:
        """The failure of the last :data:`FAILURE_TTL` seconds, or ""."""
        return self._problem if self._clock() < self._expires_at else ""

    def clear(self, *kinds: str) -> None:
        """Clear the last failure if it is of one of these kinds, because it was seen to be over."""
        with self._lock:
            if self._kind in kinds:
                self._expires_at = 0.0

    def to_exception(self, cause: BaseException, action: str) -> StoreBusy:
        """Return the exception to raise for ``cause``; a failure that needs a repair is recorded.

        ``action`` completes "the database could not …".
        """
        kind = classify_error(cause)
        text = (str(cause).splitlines() or [""])[0]
        if not kind:
            return StoreBusy(f"the database could not {action} now ({text})")
        return self.record(kind, f"cannot {action} in the database: {text}")

    def record(self, kind: str, problem: str) -> StoreUnavailable:
        """Record and log a failure; return it as an exception to raise."""
        now = self._clock()
        with self._lock:
            self._problem, self._kind, self._expires_at = problem, kind, now + FAILURE_TTL
            must_log = now >= self._log_again_at.get(kind, 0.0)
            if must_log:
                self._log_again_at[kind] = now + LOG_INTERVAL
        self.on_failure(kind)
        if must_log:
            _log.error("%s. Nothing is acknowledged or handled until this is repaired. %s", problem, _REMEDIES[kind])
        return StoreUnavailable(problem, kind)
