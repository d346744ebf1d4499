"""Shuts down connections whose deadline has passed, whatever their threads wait for."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from cometbot.forking import PerProcess

_CHECK_INTERVAL = 0.1


class Deadline:
    """A context manager that shuts down its connections if its block lasts longer than the deadline.

    ``at`` is the deadline, in ``time.monotonic()`` seconds. ``expired`` is true once it has passed and the connections
    were shut down.
    """

    __slots__ = ("_watchdog", "at", "direction", "expired", "sockets")

    def __init__(self, watchdog: SocketWatchdog, at: float, direction: int) -> None:
        self._watchdog = watchdog
        self.at = at
        self.direction = direction
        self.expired = False
        self.sockets: list[socket.socket] = []

    @property
    def remaining(self) -> float:
        """The seconds left, never negative."""
        return max(self.at - time.monotonic(), 0.0)

    def __enter__(self) -> Deadline:
        return self

    def expire(self) -> None:
        """Shut the connections down now, also those that are added from now on."""
        with self._watchdog.lock:
            self._watchdog.expire(self)

    def cancel(self, *_: object) -> None:
        """Cancel the deadline; the connections are not shut down after this returns."""
        with self._watchdog.lock:
            self._watchdog.deadlines.discard(self)

    __exit__ = cancel


class SocketWatchdog:
    """Ends blocking reads whose total time is up by shutting down the socket; the reader sees the end of the stream.

    A socket's own timeout counts from byte to byte, so a peer that sends one byte a second never exceeds it. One thread
    per process checks the deadlines ten times a second, so that an exchange that ends in time wakes no thread. The
    first deadline starts the thread, again in a forked child.
    """

    def __init__(self) -> None:
        self._thread = PerProcess(self._start)
        self._reset()

    def _reset(self) -> None:
        self.lock = threading.Lock()
        self.deadlines: set[Deadline] = set()

    def start_deadline(self, seconds: float, *, direction: int = socket.SHUT_RDWR) -> Deadline:
        """Start watching a :class:`Deadline` of ``seconds`` from now, and return it for a ``with`` statement.

        If its block lasts longer, the sockets of :meth:`add_socket` are shut down in ``direction``.
        """
        self._thread.get()
        deadline = Deadline(self, time.monotonic() + seconds, direction)
        with self.lock:
            self.deadlines.add(deadline)
        return deadline

    def add_socket(self, deadline: Deadline, connection: socket.socket) -> None:
        """Shut down ``connection`` when ``deadline`` passes, at once if it has passed already."""
        with self.lock:
            if connection not in deadline.sockets:
                deadline.sockets.append(connection)
            if deadline.expired:
                shutdown_socket(connection, deadline.direction)

    def _start(self) -> threading.Thread:
        self._reset()
        thread = threading.Thread(target=self._run, name="cometbot-deadlines", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        while True:
            time.sleep(_CHECK_INTERVAL)
            if not self.deadlines:
                continue
            with self.lock:
                now = time.monotonic()
                for deadline in [deadline for deadline in self.deadlines if deadline.at <= now]:
                    self.expire(deadline)

    def expire(self, deadline: Deadline) -> None:
        """Shut down the sockets of ``deadline``. The caller holds :attr:`lock`."""
        deadline.expired = True
        self.deadlines.discard(deadline)
        for connection in deadline.sockets:
            shutdown_socket(connection, deadline.direction)


WATCHDOG = SocketWatchdog()
"""The watchdog of this process."""


def get_connection(environ: Mapping[str, Any]) -> socket.socket | None:
    """Return the socket of a request's connection, or None if the server does not provide it."""
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return connection if isinstance(connection, socket.socket) else None


def shutdown_socket(connection: socket.socket, direction: int) -> None:
    """Shut a connection down in one direction, or in both; ignore errors."""
    with contextlib.suppress(OSError):
        # The base class's method: a TLS socket's own would also drop its session, and no response could be written.
        socket.socket.shutdown(connection, direction)
