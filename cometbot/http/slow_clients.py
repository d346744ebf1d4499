"""Limits on slow clients: a slow link is served as long as the process has threads to spare."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cometbot.http.addresses import rate_limit_address
from cometbot.http.errors import HttpError
from cometbot.http.sse import STREAMS, Streams, StreamSlot
from cometbot.http.watchdog import get_connection

USUAL_BYTES_PER_SECOND = 32 * 1024
"""Bytes a second above which a client is never held to be slow."""

MIN_BYTES_PER_SECOND = 2 * 1024
"""Bytes a second that a client must have in all, at least: half of what a used-up mobile plan leaves."""


class SlowClientLimit:
    """The time that one client has for a request's body, or for an answer. A context manager.

    It may be silent for ``timeout`` seconds. One that falls behind :data:`USUAL_BYTES_PER_SECOND` for as long holds its
    thread for long, and so needs a place among the event streams of the process, of which each address has a limited
    number: requests always find other threads. Without a place, or behind :data:`MIN_BYTES_PER_SECOND`, its time is
    over.
    """

    def __init__(self, timeout: float, address: str = "", connection: Any = None, streams: Streams = STREAMS) -> None:
        self.timeout = timeout
        self._address = address
        self._connection = connection
        self._streams = streams
        self._usual_credit = self._min_credit = timeout
        self._slot: StreamSlot | None = None
        self._stop_deadline: _StopDeadline | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, Any], timeout: float) -> SlowClientLimit:
        """Return the pace of the client that sent a WSGI request."""
        return cls(timeout, rate_limit_address(environ.get("REMOTE_ADDR")), get_connection(environ))

    @property
    def remaining(self) -> float:
        """Return the seconds within which the client must make progress."""
        left = min(self.timeout, self._min_credit)
        return left if self._stop_deadline is None else min(left, self._stop_deadline.remaining)

    def allows(self, size: int, seconds: float) -> bool:
        """Return whether the client may go on, after ``size`` bytes in ``seconds``."""
        self._usual_credit += size / USUAL_BYTES_PER_SECOND - seconds
        self._min_credit += size / MIN_BYTES_PER_SECOND - seconds
        if self._usual_credit < 0 and self._slot is None:
            with suppress(HttpError):
                self._slot = self._streams.acquire({}, self._connection, self._address)
                self._slot.source = self._stop_deadline = _StopDeadline(self.timeout)
        return self._usual_credit >= 0 or (self._slot is not None and self.remaining > 0)

    def close(self) -> None:
        """Give back the place. Can be called again."""
        if self._slot is not None:
            self._slot.release()

    def __enter__(self) -> SlowClientLimit:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _StopDeadline:
    """Stands for a slow client among the streams: when the process stops, it has ``timeout`` seconds more."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._ends_at = float("inf")

    @property
    def is_closed(self) -> bool:
        return self._ends_at < float("inf")

    @property
    def remaining(self) -> float:
        return self._ends_at - time.monotonic()

    def get(self, timeout: float) -> None:
        """Return nothing: there are no events."""

    def close(self) -> None:
        self._ends_at = min(self._ends_at, time.monotonic() + self._timeout)
