"""Server-sent events: limits on the number of open streams, and an end to those whose client has gone."""

from __future__ import annotations

import logging
import math
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext, suppress
from typing import Any, Final, Protocol, TypeVar

import flask

from cometbot.forking import PerProcess
from cometbot.http.addresses import rate_limit_address
from cometbot.http.errors import HttpError
from cometbot.http.watchdog import WATCHDOG, get_connection

T = TypeVar("T")
Item = TypeVar("Item", covariant=True)

RETRY_AFTER = 5
"""Seconds after which a client that got no stream may try again."""

WRITE_TIMEOUT = 20.0
"""Seconds within which a client must have read a frame."""

RESERVED_THREADS = 8
"""Threads of a process that are reserved for callbacks and all other requests, and that streams cannot use."""

PING_INTERVAL = 15.0
"""Seconds without a frame after which a stream sends a ping.

Pages treat a connection without data for 40 s as dead, and proxies close one after 60 s.
"""

PING: Final = b"event: ping\ndata: {}\n\n"
"""An event, because a page cannot see comments."""

HEADERS = {
    "Cache-Control": "no-cache, no-transform",  # a proxy that compresses the stream would delay its events
    "X-Accel-Buffering": "no",
    "Connection": "close",
}

END_OF_STREAM: Final = b""
"""The last frame of a stream that the server closes."""

_WARNING_INTERVAL = 60.0
_DISCONNECT_EVENTS = getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)
_log = logging.getLogger(__name__)


class ItemSource(Protocol[Item]):
    """The source of a stream's items, such as a listener of the feed."""

    @property
    def is_closed(self) -> bool:
        """True if no more items follow."""
        ...

    def get(self, timeout: float) -> Item | None:
        """Return the next item, or None if none arrives within ``timeout`` seconds."""
        ...

    def close(self) -> None:
        """End the source, and wake the thread that waits in :meth:`get`."""
        ...


def frame(data: bytes, event: str = "", id: int = 0) -> bytes:
    """Return one event in the format of an event stream. ``data`` is a single line, such as JSON."""
    head = (f"id: {id}\n" if id else "") + (f"event: {event}\n" if event else "")
    return head.encode() + b"data: " + data + b"\n\n"


class StreamSlot:
    """The slot of one open stream in its process; each slot stands for one thread."""

    __slots__ = ("_streams", "connection", "owners", "source")

    def __init__(self, streams: Streams, owners: Collection[str], connection: socket.socket | None) -> None:
        self._streams = streams
        self.owners = owners
        self.connection = connection
        self.source: ItemSource[Any] | None = None

    def close(self) -> None:
        """End the stream; may be called from any thread."""
        if self.source is not None:
            self.source.close()

    def release(self) -> None:
        """End the stream and release the slot; may be called again."""
        self.close()
        self._streams.release(self)


class Streams:
    """The open streams of this process.

    Each stream occupies a thread, so at most ``limit`` may be open; the other threads stay free for requests. One
    thread watches all connections to detect clients that disconnect.
    """

    def __init__(self, limit: int = 500) -> None:
        self.limit = limit
        self.address_limit: int | None = None
        """Streams that one address may hold open; None means half of all, 0 no limit."""

        self.other_waiting_threads = 0
        """Threads beyond ``RESERVED_THREADS`` that are not for streams, because other requests may wait in them."""

        self._next_warning_at = 0.0
        self._lock = threading.Lock()
        self._slots: set[StreamSlot] = set()
        self._count_by_owner: Counter[str] = Counter()
        self._is_stopping = False
        self._disconnect_watcher = _DisconnectWatcher()

    def __len__(self) -> int:
        return len(self._slots)

    def set_limit(self, limit: int) -> None:
        """Allow up to ``limit`` streams from now on; also after :meth:`stop`."""
        self.limit, self._is_stopping = limit, False

    def acquire(self, limits: Mapping[str, int], connection: socket.socket | None, address: str = "") -> StreamSlot:
        """Return a slot for one more stream.

        It counts for each owner in ``limits``, such as a user, and for ``address``. ``limits`` maps owners to their
        maximum number of streams (0: no limit). Raises :class:`HttpError`: 503 if all slots are in use or the process
        stops, 429 if the address or one of the owners has reached its limit.
        """
        by_address = f"address/{address}"
        if address:
            limits = {by_address: self._get_address_limit(), **limits}
        with self._lock:
            if self._is_stopping or len(self._slots) >= self.limit:
                raise HttpError(
                    503,
                    "ERR_NO_STREAM_FREE",
                    f"The limit of event streams is reached. Try again in {RETRY_AFTER} s.",
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
        """Return the 429; log at most once a minute that an address, which may be a proxy, has reached its limit."""
        if is_address and time.monotonic() >= self._next_warning_at:
            self._next_warning_at = time.monotonic() + _WARNING_INTERVAL
            _log.warning(
                "refused an event stream: one address has %d open. Name it in COMETBOT_TRUSTED_PROXIES if it is your "
                "proxy, or raise COMETBOT_ADDRESS_STREAMS.",
                limit,
            )
        text = f"The limit of {limit} event streams of one user or address is reached. Close one."
        return HttpError(429, "ERR_TOO_MANY_STREAMS", text, headers={"Retry-After": str(RETRY_AFTER)})

    def watch_disconnect(self, slot: StreamSlot) -> None:
        """End the stream as soon as its client disconnects."""
        self._disconnect_watcher.watch(slot)

    def release(self, slot: StreamSlot) -> None:
        """Release a slot; do nothing if it was released before."""
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
        """End all streams, and open no more; their clients reconnect to another or a new process."""
        with self._lock:
            self._is_stopping = True
            slots = list(self._slots)
        for slot in slots:
            slot.close()


class _DisconnectWatcher:
    """Detects in one thread that clients have closed their connections.

    On systems without epoll, only the next ping finds that out.
    """

    def __init__(self) -> None:
        self._thread = PerProcess(self._start)
        self._slots: dict[int, StreamSlot] = {}
        self._epoll: Any = None

    def watch(self, slot: StreamSlot) -> None:
        if slot.connection is None or not hasattr(select, "epoll"):
            return
        self._thread.get()
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

    def _start(self) -> threading.Thread:
        self._slots, self._epoll = {}, select.epoll()
        thread = threading.Thread(target=self._run, name="cometbot-disconnects", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        while True:
            for number, _ in self._epoll.poll():
                slot = self._slots.get(number)
                with suppress(OSError):
                    self._epoll.unregister(number)
                if slot is not None:
                    slot.close()


STREAMS = Streams()
"""The streams of this process."""


def stream(
    listen: Callable[[], ItemSource[T]],
    to_frames: Callable[[T], Iterable[bytes]],
    *,
    limits: Mapping[str, int] | None = None,
    ping: bytes = PING,
    interval: float = PING_INTERVAL,
    first: bytes = b":\n\n",
    lifetime: float | None = None,
    counts_address: bool = True,
    streams: Streams = STREAMS,
) -> flask.Response:
    """Return an event stream as response to the current request, until the source is closed or the client disconnects.

    ``listen`` is called once a slot is acquired, and returns the source. ``to_frames`` returns the frames to send for
    an item; :data:`END_OF_STREAM` among them ends the stream. ``ping`` is sent after ``interval`` seconds without a
    frame, and ``first`` at once, with the headers. ``limits`` are those of :meth:`Streams.acquire`. The client's
    address counts, too, unless ``counts_address`` is False, as for servers that call for many users. The stream ends
    after ``lifetime`` seconds (None: no limit).

    Raises :class:`HttpError` (429, 503) if there is no slot, and any error of ``listen``.
    """
    connection = get_connection(flask.request.environ)
    address = rate_limit_address(flask.request.remote_addr) if counts_address else ""
    slot = streams.acquire(limits or {}, connection, address)
    try:
        slot.source = source = listen()
        streams.watch_disconnect(slot)
    except BaseException:
        slot.release()
        raise
    ends_at = math.inf if lifetime is None else time.monotonic() + lifetime
    frames = _with_write_timeout(connection, _frames(source, to_frames, ping, interval, first, ends_at))
    response = flask.Response(frames, headers=HEADERS, content_type="text/event-stream")
    response.call_on_close(slot.release)
    return response


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
    """Yield ``frames``; shut the connection down if one of them cannot be written within ``WRITE_TIMEOUT``."""
    for piece in frames:
        with WATCHDOG.start_deadline(WRITE_TIMEOUT) if connection else nullcontext() as deadline:
            if connection is not None and deadline is not None:
                WATCHDOG.add_socket(deadline, connection)
            yield piece
