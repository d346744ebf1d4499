"""Limits on slow clients: a slow link is served as long as the process has threads to spare."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cometbot.http.addresses import counted_address
from cometbot.http.errors import HttpError
from cometbot.http.sse import STREAMS, Place, Streams
from cometbot.http.watchdog import connection_of

USUAL = 32 * 1024
"""Bytes a second above which a client is never held to be slow."""

SLOWEST = 2 * 1024
"""Bytes a second that a client must have in all, at least: half of what a used-up mobile plan leaves."""


class Pace:
    """The time that one client has for a request's body, or for an answer. A context manager.

    It may be silent for ``timeout`` seconds. One that falls behind :data:`USUAL` for as long holds its thread for long,
    and so needs a place among the event streams of the process, of which each address has a limited number: requests
    always find other threads. Without a place, or behind :data:`SLOWEST`, its time is over.
    """

    def __init__(self, timeout: float, address: str = "", connection: Any = None, streams: Streams = STREAMS) -> None:
        self.timeout = timeout
        self._address = address
        self._connection = connection
        self._streams = streams
        self._usual = self._slowest = timeout
        self._place: Place | None = None
        self._hurry: _Hurry | None = None

    @classmethod
    def of(cls, environ: Mapping[str, Any], timeout: float) -> Pace:
        """Return the pace of the client that sent a WSGI request."""
        return cls(timeout, counted_address(environ.get("REMOTE_ADDR")), connection_of(environ))

    @property
    def left(self) -> float:
        """Return the seconds within which the client must make progress."""
        left = min(self.timeout, self._slowest)
        return left if self._hurry is None else min(left, self._hurry.left)

    def allows(self, size: int, seconds: float) -> bool:
        """Return whether the client may go on, after ``size`` bytes in ``seconds``."""
        self._usual += size / USUAL - seconds
        self._slowest += size / SLOWEST - seconds
        if self._usual < 0 and self._place is None:
            with suppress(HttpError):
                self._place = self._streams.enter({}, self._connection, self._address)
                self._place.source = self._hurry = _Hurry(self.timeout)
        return self._usual >= 0 or (self._place is not None and self.left > 0)

    def close(self) -> None:
        """Give back the place. Can be called again."""
        if self._place is not None:
            self._place.leave()

    def __enter__(self) -> Pace:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Hurry:
    """Stands for a slow client among the streams: when the process stops, it has ``timeout`` seconds more."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._ends_at = float("inf")

    @property
    def is_closed(self) -> bool:
        return self._ends_at < float("inf")

    @property
    def left(self) -> float:
        return self._ends_at - time.monotonic()

    def get(self, timeout: float) -> None:
        """Return nothing: there are no events."""

    def close(self) -> None:
        self._ends_at = min(self._ends_at, time.monotonic() + self._timeout)
