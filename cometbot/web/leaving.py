"""Connections that have had their last answer, while their clients read it."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress

LINGER = 2.0
"""Seconds without a byte after which a connection that was closed from here is closed at last."""

LONGEST_LINGER = 10.0
"""Seconds that a client which sends on has to read its answer."""

MOST_UNREAD = 16 * 1024 * 1024
"""Bytes that a client may still send: those of a body that was refused by its header."""

_STEP = 64 * 1024


class Leaving:
    """Connections that are closed to one side, until the client has closed them too, or its time is up.

    A connection that is closed while something unread has come in is reset by the system, and its client may lose the
    end of the answer (RFC 9112, section 9.6). gunicorn waits for that in the only thread of a process that takes
    connections: each client that does not close, or is just far away, holds up all others. Here the poller waits. What
    the client still sends is discarded.

    ``gone()`` is called for each that is closed at last. More than ``most`` do not wait: the oldest makes room.
    Everything happens in the poller's thread.
    """

    def __init__(self, poller: selectors.BaseSelector, gone: Callable[[], object], *, most: int) -> None:
        self._poller = poller
        self._gone = gone
        self._most = most
        self._until: dict[socket.socket, float] = {}
        self._latest: dict[socket.socket, float] = {}
        self._unread: dict[socket.socket, int] = {}

    def __len__(self) -> int:
        return len(self._until)

    def take(self, connection: socket.socket) -> None:
        """Close ``connection``, whose last answer was sent."""
        if len(self._until) >= self._most:
            self._close(next(iter(self._until)))
        now = time.monotonic()
        self._until[connection], self._latest[connection] = now + LINGER, now + LONGEST_LINGER
        self._unread[connection] = 0
        try:
            connection.setblocking(False)
            connection.shutdown(socket.SHUT_WR)
            self._poller.register(connection, selectors.EVENT_READ, self._hear)
        except (OSError, ValueError):  # the client has closed it already
            self._close(connection)
        else:
            self._hear(connection)

    def tidy(self) -> None:
        """Close those that have had their time."""
        now = time.monotonic()
        for connection in [connection for connection, until in self._until.items() if until <= now]:
            self._close(connection)

    def _hear(self, connection: socket.socket) -> None:
        try:
            come = len(connection.recv(_STEP))
        except BlockingIOError:
            return
        except OSError:
            come = 0
        self._until[connection] = min(time.monotonic() + LINGER, self._latest[connection])
        self._unread[connection] += come
        if not come or self._unread[connection] >= MOST_UNREAD:
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        del self._until[connection], self._latest[connection], self._unread[connection]
        with suppress(KeyError, ValueError):
            self._poller.unregister(connection)
        with suppress(OSError):
            connection.close()
        self._gone()
