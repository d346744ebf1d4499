"""Server-sent events: answers that stay open, counted and capped, and ended when nobody reads them any more."""

from __future__ import annotations

import logging
import math
import os
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from typing import Any, Final, Protocol, TypeVar

import flask

from cometbot.http.addresses import counted_address
from cometbot.http.errors import HttpError
from cometbot.http.watchdog import WATCHDOG, connection_of

T = TypeVar("T")
Item = TypeVar("Item", covariant=True)

RETRY_AFTER = 5
"""Seconds after which who got no stream may ask again."""

WRITE_TIMEOUT = 20.0
"""Seconds within which a client must have taken a frame."""

RESERVE = 8
"""Threads of a process that streams leave to callbacks and to all other requests."""

PING_INTERVAL = 15.0
"""Seconds without a frame after which a stream sends a ping.

Pages take 40 s of silence for a dead link, and proxies close a connection after 60 s.
"""

PING: Final = b"event: ping\ndata: {}\n\n"
"""An event, because a page cannot see comments."""

UNTOUCHED = "no-cache, no-transform"
"""`Cache-Control` of an event stream: a proxy that compresses it would hold back its events."""

END: Final = b""
"""What a stream yields last to be closed by us."""

_WARNING_INTERVAL = 60.0
_GONE = getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)
_log = logging.getLogger(__name__)


class Source(Protocol[Item]):
    """Where the items of a stream come from, such as a listener of the feed."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing more comes."""
        ...

    def get(self, timeout: float) -> Item | None:
        """The next item, None if none comes in so many seconds."""
        ...

    def close(self) -> None:
        """Let nothing more come, and wake who waits."""
        ...


def frame(data: bytes, event: str = "") -> bytes:
    """One event as it travels. ``data`` is a single line, such as JSON."""
    return (f"event: {event}\n".encode() if event else b"") + b"data: " + data + b"\n\n"


class Place:
    """One open stream's place in its process. Leaving it is what frees its thread for others."""

    __slots__ = ("_streams", "connection", "owners", "source")

    def __init__(self, streams: Streams, owners: Collection[str], connection: socket.socket | None) -> None:
        self._streams = streams
        self.owners = owners
        self.connection = connection
        self.source: Source[Any] | None = None

    def end(self) -> None:
        """Let the stream come to its end, from any thread."""
        if self.source is not None:
            self.source.close()

    def leave(self) -> None:
        """Give the place back. As often as one likes."""
        self.end()
        self._streams.leave(self)


class Streams:
    """The open streams of this process.

    Every one holds a thread, so that there may be at most ``most``, and requests find the others free. Who goes away
    without a word is noticed by one thread that watches all connections.
    """

    def __init__(self, most: int = 500) -> None:
        self.most = most
        self.address_limit: int | None = None
        """Streams that one address may hold; None means half of all, 0 no limit."""

        self._warns_at = 0.0
        self._guard = threading.Lock()
        self._places: set[Place] = set()
        self._of_owner: Counter[str] = Counter()
        self._is_stopping = False
        self._departures = _Departures()

    def __len__(self) -> int:
        return len(self._places)

    def admit(self, most: int) -> None:
        """Take up to ``most`` streams from now on; also after :meth:`stop`."""
        self.most, self._is_stopping = most, False

    def enter(self, limits: Mapping[str, int], connection: socket.socket | None, address: str = "") -> Place:
        """Return a place for one more stream, which counts for each owner in ``limits``, such as a user, and for
        ``address``.

        Raises :class:`HttpError`: 503 where all are taken or the process stops, 429 where the address or one of the
        owners has as many as it may have (0 in ``limits``: as many as there are).
        """
        by_address = f"address/{address}"
        if address:
            limits = {by_address: self._address_limit(), **limits}
        with self._guard:
            if self._is_stopping or len(self._places) >= self.most:
                raise HttpError(
                    503,
                    "ERR_NO_STREAM_FREE",
                    "all event streams of this process are taken; ask again in a moment",
                    headers={"Retry-After": str(RETRY_AFTER)},
                )
            for owner, most in limits.items():
                if most and self._of_owner[owner] >= most:
                    raise self._too_many(most, is_address=owner == by_address)
            place = Place(self, tuple(limits), connection)
            self._places.add(place)
            self._of_owner.update(place.owners)
        return place

    def _address_limit(self) -> int:
        return max(1, self.most // 2) if self.address_limit is None else self.address_limit

    def _too_many(self, most: int, *, is_address: bool) -> HttpError:
        """Return the refusal of a stream; log once a minute that an address, which may be a proxy, has all of its."""
        if is_address and time.monotonic() >= self._warns_at:
            self._warns_at = time.monotonic() + _WARNING_INTERVAL
            _log.warning(
                "refused an event stream: one address has %d open. Name it in COMETBOT_TRUSTED_PROXIES if it is your "
                "proxy, or raise COMETBOT_ADDRESS_STREAMS.",
                most,
            )
        text = f"{most} event streams of one user or address are open, and there may be no more; close one"
        return HttpError(429, "ERR_TOO_MANY_STREAMS", text, headers={"Retry-After": str(RETRY_AFTER)})

    def watch(self, place: Place) -> None:
        """End the stream as soon as its client has gone."""
        self._departures.watch(place)

    def leave(self, place: Place) -> None:
        """Take a place back."""
        with self._guard:
            if place not in self._places:
                return
            self._places.discard(place)
            self._of_owner.subtract(place.owners)
            for owner in place.owners:
                if self._of_owner[owner] <= 0:
                    del self._of_owner[owner]
        self._departures.forget(place)

    def stop(self) -> None:
        """End all streams, and open no more: their clients connect again, to whoever is there then."""
        with self._guard:
            self._is_stopping = True
            places = list(self._places)
        for place in places:
            place.end()


class _Departures:
    """Hears when the other side of a connection is closed, for all connections in one thread. Where the system has no
    way to tell, the next ping finds out."""

    def __init__(self) -> None:
        self._forget_all()
        self._starting = threading.Lock()

    def _forget_all(self) -> None:
        self._pid = 0
        self._places: dict[int, Place] = {}
        self._epoll: Any = None

    def watch(self, place: Place) -> None:
        if place.connection is None or not hasattr(select, "epoll"):
            return
        if self._pid != os.getpid():
            self._start()
        number = place.connection.fileno()
        if number >= 0:
            self._places[number] = place
            with suppress(OSError):
                self._epoll.register(number, _GONE)

    def forget(self, place: Place) -> None:
        if place.connection is None:
            return
        number = place.connection.fileno()
        if self._places.get(number) is place:
            del self._places[number]
            with suppress(OSError):
                self._epoll.unregister(number)

    def _start(self) -> None:
        with self._starting:
            if self._pid == os.getpid():
                return
            self._forget_all()
            self._epoll = select.epoll()
            threading.Thread(target=self._run, name="cometbot-departures", daemon=True).start()
            self._pid = os.getpid()

    def _run(self) -> None:
        while True:
            for number, _ in self._epoll.poll():
                place = self._places.get(number)
                with suppress(OSError):
                    self._epoll.unregister(number)
                if place is not None:
                    place.end()


STREAMS = Streams()
"""Those of this process."""


def stream(
    listen: Callable[[], Source[T]],
    to_frames: Callable[[T], Iterable[bytes]],
    *,
    limits: Mapping[str, int] | None = None,
    ping: bytes = PING,
    interval: float = PING_INTERVAL,
    first: bytes = b":\n\n",
    lifetime: float | None = None,
    headers: Mapping[str, str] | None = None,
    streams: Streams = STREAMS,
) -> flask.Response:
    """The answer to the request at hand that goes on until its source is closed or its client gone.

    ``listen`` is called once a place is taken; ``to_frames`` says what is sent for each item, and :data:`END` that it
    was the last. ``ping`` is sent after ``interval`` seconds without a frame, and ``first`` at once, with the headers.
    ``limits`` are those of :meth:`Streams.enter`, which also counts the caller's address. After ``lifetime`` seconds
    the stream ends. Raises :class:`HttpError` (429, 503) where there is no place, and what ``listen`` raises.
    """
    connection = connection_of(flask.request.environ)
    place = streams.enter(limits or {}, connection, counted_address(flask.request.remote_addr))
    try:
        place.source = source = listen()
        streams.watch(place)
    except BaseException:
        place.leave()
        raise
    ends_at = math.inf if lifetime is None else time.monotonic() + lifetime
    frames = _bounded(connection, _frames(source, to_frames, ping, interval, first, ends_at))
    answer = flask.Response(frames, content_type="text/event-stream")
    answer.call_on_close(place.leave)
    answer.headers["Cache-Control"] = UNTOUCHED
    answer.headers["X-Accel-Buffering"] = "no"
    answer.headers["Connection"] = "close"
    answer.headers.update(headers or {})
    return answer


def _frames(
    source: Source[T],
    to_frames: Callable[[T], Iterable[bytes]],
    ping: bytes,
    interval: float,
    first: bytes,
    ends_at: float,
) -> Iterator[bytes]:
    yield first
    pings_at = time.monotonic() + interval
    while (now := time.monotonic()) < ends_at:
        item = source.get(max(0.0, min(pings_at, ends_at) - now))
        if item is None and (source.is_closed or time.monotonic() >= ends_at):
            return
        pieces = [] if item is None else list(to_frames(item))
        if not pieces and time.monotonic() >= pings_at:
            pieces = [ping]
        for piece in pieces:
            if piece == END:
                return
            yield piece
            pings_at = time.monotonic() + interval


def _bounded(connection: socket.socket | None, frames: Iterator[bytes]) -> Iterator[bytes]:
    """``frames``, and an end to a connection on which one of them cannot be written in time."""
    for piece in frames:
        with WATCHDOG.within(WRITE_TIMEOUT) if connection else nullcontext() as deadline:
            if connection is not None and deadline is not None:
                WATCHDOG.guard(deadline, connection)
            yield piece
