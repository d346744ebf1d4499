"""Connections that have had their last answer, while their clients read it."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress

LINGER_TIMEOUT = 2.0
"""Seconds without a byte after which a connection that was closed from here is closed at last."""

TOTAL_LINGER_TIMEOUT = 10.0
"""Seconds that a client which sends on has to read its answer."""

MAX_UNREAD_SIZE = 16 * 1024 * 1024
"""Bytes that a client may still send: those of a body that was refused by its header."""

_CHUNK_SIZE = 64 * 1024


class LingeringCloser:
    """Connections that are closed to one side, until the client has closed them too, or its time is up.

    A connection that is closed while something unread has come in is reset by the system, and its client may lose the
    end of the answer (RFC 9112, section 9.6). gunicorn waits for that in the only thread of a process that takes
    connections: each client that does not close, or is just far away, holds up all others. Here the poller waits. What
    the client still sends is discarded.

    ``gone()`` is called for each that is closed at last. More than ``limit`` do not wait: the oldest makes room.
    Everything happens in the poller's thread.
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
        """Close ``connection``, whose last answer was sent."""
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
        """Close those that have had their time."""
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
