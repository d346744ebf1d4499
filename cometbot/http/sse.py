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

from cometbot.http.addresses import rate_limit_address
from cometbot.http.errors import HttpError
from cometbot.http.watchdog import WATCHDOG, get_connection

T = TypeVar("T")
Item = TypeVar("Item", covariant=True)

RETRY_AFTER = 5
"""Seconds after which who got no stream may ask again."""

WRITE_TIMEOUT = 20.0
"""Seconds within which a client must have taken a frame."""

RESERVED_THREADS = 8
"""Threads of a process that streams leave to callbacks and to all other requests."""

PING_INTERVAL = 15.0
"""Seconds without a frame after which a stream sends a ping.

Pages take 40 s of silence for a dead link, and proxies close a connection after 60 s.
"""

PING: Final = b"event: ping\ndata: {}\n\n"
"""An event, because a page cannot see comments."""

NO_TRANSFORM = "no-cache, no-transform"
"""`Cache-Control` of an event stream: a proxy that compresses it would hold back its events."""

END_OF_STREAM: Final = b""
"""What a stream yields last to be closed by us."""

_WARNING_INTERVAL = 60.0
_DISCONNECT_EVENTS = getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)
_log = logging.getLogger(__name__)


class ItemSource(Protocol[Item]):
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


class StreamSlot:
    """One open stream's place in its process. Leaving it is what frees its thread for others."""

    __slots__ = ("_streams", "connection", "owners", "source")

    def __init__(self, streams: Streams, owners: Collection[str], connection: socket.socket | None) -> None:
        self._streams = streams
        self.owners = owners
        self.connection = connection
        self.source: ItemSource[Any] | None = None

    def close(self) -> None:
        """Let the stream come to its end, from any thread."""
        if self.source is not None:
            self.source.close()

    def release(self) -> None:
        """Give the place back. As often as one likes."""
        self.close()
        self._streams.release(self)


class Streams:
    """The open streams of this process.

    Every one holds a thread, so that there may be at most ``limit``, and requests find the others free. Who goes away
    without a word is noticed by one thread that watches all connections.
    """

    def __init__(self, limit: int = 500) -> None:
        self.limit = limit
        self.address_limit: int | None = None
        """Streams that one address may hold; None means half of all, 0 no limit."""

        self._next_warning_at = 0.0
        self._lock = threading.Lock()
        self._slots: set[StreamSlot] = set()
        self._count_by_owner: Counter[str] = Counter()
        self._is_stopping = False
        self._disconnect_watcher = _DisconnectWatcher()

    def __len__(self) -> int:
        return len(self._slots)

    def set_limit(self, limit: int) -> None:
        """Take up to ``limit`` streams from now on; also after :meth:`stop`."""
        self.limit, self._is_stopping = limit, False

    def acquire(self, limits: Mapping[str, int], connection: socket.socket | None, address: str = "") -> StreamSlot:
        """Return a place for one more stream, which counts for each owner in ``limits``, such as a user, and for
        ``address``.

        Raises :class:`HttpError`: 503 where all are taken or the process stops, 429 where the address or one of the
        owners has as many as it may have (0 in ``limits``: as many as there are).
        """
        by_address = f"address/{address}"
        if address:
            limits = {by_address: self._get_address_limit(), **limits}
        with self._lock:
            if self._is_stopping or len(self._slots) >= self.limit:
                raise HttpError(
                    503,
                    "ERR_NO_STREAM_FREE",
                    "all event streams of this process are taken; ask again in a moment",
                    headers={"Retry-After": str(RETRY_AFTER)},
                )
            for owner, owner_limit in limits.items():
                if owner_limit and self._count_by_owner[owner] >= owner_limit:
                    raise self._too_many_error(owner_limit, is_address=owner == by_address)
            slot = StreamSlot(self, tuple(limits), connection)
            self._slots.add(slot)
            self._count_by_owner.update(slot.owners)
        return slot

    def _get_address_limit(self) -> int:
        return max(1, self.limit // 2) if self.address_limit is None else self.address_limit

    def _too_many_error(self, limit: int, *, is_address: bool) -> HttpError:
        """Return the refusal of a stream; log once a minute that an address, which may be a proxy, has all of its."""
        if is_address and time.monotonic() >= self._next_warning_at:
            self._next_warning_at = time.monotonic() + _WARNING_INTERVAL
            _log.warning(
                "refused an event stream: one address has %d open. Name it in COMETBOT_TRUSTED_PROXIES if it is your "
                "proxy, or raise COMETBOT_ADDRESS_STREAMS.",
                limit,
            )
        text = f"{limit} event streams of one user or address are open, and there may be no more; close one"
        return HttpError(429, "ERR_TOO_MANY_STREAMS", text, headers={"Retry-After": str(RETRY_AFTER)})

    def watch_disconnect(self, slot: StreamSlot) -> None:
        """End the stream as soon as its client has gone."""
        self._disconnect_watcher.watch(slot)

    def release(self, slot: StreamSlot) -> None:
        """Take a place back."""
        with self._lock:
            if slot not in self._slots:
                return
            self._slots.discard(slot)
            self._count_by_owner.subtract(slot.owners)
            for owner in slot.owners:
                if self._count_by_owner[owner] <= 0:
                    del self._count_by_owner[owner]
        self._disconnect_watcher.unwatch(slot)

    def stop(self) -> None:
        """End all streams, and open no more: their clients connect again, to whoever is there then."""
        with self._lock:
            self._is_stopping = True
            slots = list(self._slots)
        for slot in slots:
            slot.close()


class _DisconnectWatcher:
    """Hears when the other side of a connection is closed, for all connections in one thread. Where the system has no
    way to tell, the next ping finds out."""

    def __init__(self) -> None:
        self._reset()
        self._starting = threading.Lock()

    def _reset(self) -> None:
        self._pid = 0
        self._slots: dict[int, StreamSlot] = {}
        self._epoll: Any = None

    def watch(self, slot: StreamSlot) -> None:
        if slot.connection is None or not hasattr(select, "epoll"):
            return
        if self._pid != os.getpid():
            self._start()
        number = slot.connection.fileno()
        if number >= 0:
            self._slots[number] = slot
            with suppress(OSError):
                self._epoll.register(number, _DISCONNECT_EVENTS)

    def unwatch(self, slot: StreamSlot) -> None:
        if slot.connection is None:
            return
        number = slot.connection.fileno()
        if self._slots.get(number) is slot:
            del self._slots[number]
            with suppress(OSError):
                self._epoll.unregister(number)

    def _start(self) -> None:
        with self._starting:
            if self._pid == os.getpid():
                return
            self._reset()
            self._epoll = select.epoll()
            threading.Thread(target=self._run, name="cometbot-departures", daemon=True).start()
            self._pid = os.getpid()

    def _run(self) -> None:
        while True:
            for number, _ in self._epoll.poll():
                slot = self._slots.get(number)
                with suppress(OSError):
                    self._epoll.unregister(number)
                if slot is not None:
                    slot.close()


STREAMS = Streams()
"""Those of this process."""


def stream(
    listen: Callable[[], ItemSource[T]],
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

    ``listen`` is called once a place is taken; ``to_frames`` says what is sent for each item, and :data:`END_OF_STREAM`
    that it was the last. ``ping`` is sent after ``interval`` seconds without a frame, and ``first`` at once, with the
    headers. ``limits`` are those of :meth:`Streams.enter`, which also counts the caller's address. After ``lifetime``
    seconds the stream ends. Raises :class:`HttpError` (429, 503) where there is no place, and what ``listen`` raises.
    """
    connection = get_connection(flask.request.environ)
    slot = streams.acquire(limits or {}, connection, rate_limit_address(flask.request.remote_addr))
    try:
        slot.source = source = listen()
        streams.watch_disconnect(slot)
    except BaseException:
        slot.release()
        raise
    ends_at = math.inf if lifetime is None else time.monotonic() + lifetime
    frames = _with_write_timeout(connection, _frames(source, to_frames, ping, interval, first, ends_at))
    answer = flask.Response(frames, content_type="text/event-stream")
    answer.call_on_close(slot.release)
    answer.headers["Cache-Control"] = NO_TRANSFORM
    answer.headers["X-Accel-Buffering"] = "no"
    answer.headers["Connection"] = "close"
    answer.headers.update(headers or {})
    return answer


def _frames(
    source: ItemSource[T],
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
            if piece == END_OF_STREAM:
                return
            yield piece
            pings_at = time.monotonic() + interval


def _with_write_timeout(connection: socket.socket | None, frames: Iterator[bytes]) -> Iterator[bytes]:
    """``frames``, and an end to a connection on which one of them cannot be written in time."""
    for piece in frames:
        with WATCHDOG.start_deadline(WRITE_TIMEOUT) if connection else nullcontext() as deadline:
            if connection is not None and deadline is not None:
                WATCHDOG.add_socket(deadline, connection)
            yield piece
