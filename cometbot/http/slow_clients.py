"""Limits on slow clients: a slow link is served as long as the process has threads to spare."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from cometbot.http.addresses import rate_limit_address
from cometbot.http.errors import HttpError
from cometbot.http.sse import STREAMS, Streams, StreamSlot

USUAL_BYTES_PER_SECOND = 32 * 1024
"""Bytes a second above which a client never counts as slow."""

MIN_BYTES_PER_SECOND = 2 * 1024
"""Bytes a second that a client must reach on average: half of what a used-up mobile plan leaves."""


class SlowClientLimit:
    """The time limit of one client for a request's body, or for a response. A context manager.

    The client may pause for up to ``timeout`` seconds. A client that falls ``timeout`` seconds behind
    :data:`USUAL_BYTES_PER_SECOND` occupies its thread for long. It therefore needs a slot among the event streams of
    the process, of which each address has a limited number, so that requests always find other threads. The time is
    over if there is no slot, or if the client falls ``timeout`` seconds behind :data:`MIN_BYTES_PER_SECOND`.
    """

    def __init__(self, timeout: float, address: str = "", connection: Any = None, streams: Streams = STREAMS) -> None:
        self.timeout = timeout
        self._address = address
        self._connection = connection
        self._streams = streams
        self._usual_credit = self._min_credit = timeout
        self._slot: StreamSlot | None = None
        self._stop_deadline: _StopDeadline | None = None

    @property
    def remaining(self) -> float:
        """Seconds within which the client must make progress."""
        left = min(self.timeout, self._min_credit)
        return left if self._stop_deadline is None else min(left, self._stop_deadline.remaining)

    def allows(self, size: int, seconds: float) -> bool:
        """Count ``size`` bytes in ``seconds``; return whether the client may continue."""
        self._usual_credit += size / USUAL_BYTES_PER_SECOND - seconds
        self._min_credit += size / MIN_BYTES_PER_SECOND - seconds
        if self._usual_credit < 0 and self._slot is None:
            with suppress(HttpError):
                address = rate_limit_address(self._address)
                self._slot = self._streams.acquire({}, self._connection, address)
                self._slot.source = self._stop_deadline = _StopDeadline(self.timeout)
        return self._usual_credit >= 0 or (self._slot is not None and self.remaining > 0)

    def __enter__(self) -> SlowClientLimit:
        return self

    def close(self, *_: object) -> None:
        """Release the slot, if there is one. Can be called again."""
        if self._slot is not None:
            self._slot.release()

    __exit__ = close


class _StopDeadline:
    """The item source of a slow client's slot: when the process stops, the client has ``timeout`` seconds more."""

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
        """Return None, because there are no events."""

    def close(self) -> None:
        self._ends_at = min(self._ends_at, time.monotonic() + self._timeout)
