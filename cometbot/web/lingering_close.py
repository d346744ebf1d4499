"""Lingering close of connections, so that clients can read their last response."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress

LINGER_TIMEOUT = 2.0
"""Seconds without a byte from the client after which a half-closed connection is closed."""

TOTAL_LINGER_TIMEOUT = 10.0
"""Seconds after which a half-closed connection is closed even if the client still sends."""

MAX_UNREAD_SIZE = 16 * 1024 * 1024
"""Bytes that a client may still send, such as a body that was refused because of its Content-Length."""

_CHUNK_SIZE = 64 * 1024


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
        self._idle_deadlines: dict[socket.socket, float] = {}
        self._total_deadlines: dict[socket.socket, float] = {}
        self._discarded_sizes: dict[socket.socket, int] = {}

    def __len__(self) -> int:
        return len(self._idle_deadlines)

    def add(self, connection: socket.socket) -> None:
        """Half-close ``connection``, whose last response was sent, and close it when the client has."""
        if len(self._idle_deadlines) >= self._limit:
            self._close(next(iter(self._idle_deadlines)))
        now = time.monotonic()
        self._idle_deadlines[connection], self._total_deadlines[connection] = (
            now + LINGER_TIMEOUT,
            now + TOTAL_LINGER_TIMEOUT,
        )
        self._discarded_sizes[connection] = 0
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
        for connection in [connection for connection, deadline in self._idle_deadlines.items() if deadline <= now]:
            self._close(connection)

    def _on_readable(self, connection: socket.socket) -> None:
        try:
            received = len(connection.recv(_CHUNK_SIZE))
        except BlockingIOError:
            return
        except OSError:
            received = 0
        self._idle_deadlines[connection] = min(time.monotonic() + LINGER_TIMEOUT, self._total_deadlines[connection])
        self._discarded_sizes[connection] += received
        if not received or self._discarded_sizes[connection] >= MAX_UNREAD_SIZE:
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        del self._idle_deadlines[connection], self._total_deadlines[connection], self._discarded_sizes[connection]
        with suppress(KeyError, ValueError):
            self._poller.unregister(connection)
        with suppress(OSError):
            connection.close()
        self._on_closed()
