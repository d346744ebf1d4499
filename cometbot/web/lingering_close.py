"""Lingering close of connections, so that clients can read their last response."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

LINGER_TIMEOUT = 2.0
"""Seconds without a byte from the client after which a half-closed connection is closed."""

TOTAL_LINGER_TIMEOUT = 10.0
"""Seconds after which a half-closed connection is closed even if the client still sends."""

MAX_UNREAD_SIZE = 16 * 1024 * 1024
"""Bytes that a client may still send, such as a body that was refused because of its Content-Length."""

_CHUNK_SIZE = 64 * 1024


@dataclass(slots=True)
class _Closing:
    """The state of a half-closed connection: when it is closed at the latest, and how much of it was discarded."""

    idle_deadline: float
    total_deadline: float
    discarded_size: int = 0


class LingeringCloser:
    """Half-closed connections, until the client closes its side or a timeout passes.

    The system resets a connection that is closed with unread data, and the client may lose the end of the response
    (RFC 9112, section 9.6). gunicorn waits for the client in the only thread that accepts connections, so each client
    that does not close, or is far away, delays all others. This class waits in the poller. Data that the client still
    sends is discarded.

    ``on_closed()`` is called for each connection that is finally closed. At most ``limit`` connections linger; the
    oldest is closed to make room. Everything runs in the poller's thread.
    """

    def __init__(self, poller: selectors.BaseSelector, on_closed: Callable[[], object], *, limit: int) -> None:
        self._poller = poller
        self._on_closed = on_closed
        self._limit = limit
        self._closing: dict[socket.socket, _Closing] = {}

    def __len__(self) -> int:
        return len(self._closing)

    def add(self, connection: socket.socket) -> None:
        """Half-close ``connection``, whose last response was sent, and close it when the client has."""
        if len(self._closing) >= self._limit:
            self._close(next(iter(self._closing)))
        now = time.monotonic()
        self._closing[connection] = _Closing(now + LINGER_TIMEOUT, now + TOTAL_LINGER_TIMEOUT)
        try:
            connection.setblocking(False)
            connection.shutdown(socket.SHUT_WR)
            self._poller.register(connection, selectors.EVENT_READ, self._on_readable)
        except (OSError, ValueError):  # the client has closed it already
            self._close(connection)
        else:
            self._on_readable(connection)

    def close_expired(self) -> None:
        """Close the connections whose timeout has passed."""
        now = time.monotonic()
        for connection, closing in list(self._closing.items()):
            if closing.idle_deadline <= now:
                self._close(connection)

    def _on_readable(self, connection: socket.socket) -> None:
        try:
            received = len(connection.recv(_CHUNK_SIZE))
        except BlockingIOError:
            return
        except OSError:
            received = 0
        closing = self._closing[connection]
        closing.idle_deadline = min(time.monotonic() + LINGER_TIMEOUT, closing.total_deadline)
        closing.discarded_size += received
        if not received or closing.discarded_size >= MAX_UNREAD_SIZE:
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        del self._closing[connection]
        with suppress(KeyError, ValueError):
            self._poller.unregister(connection)
        with suppress(OSError):
            connection.close()
        self._on_closed()
