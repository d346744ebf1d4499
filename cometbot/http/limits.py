"""Bounds on what the other side of a connection can make us wait for or keep."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cometbot.http.errors import HttpError

_STEP = 64 * 1024
_DRAINED = 16 * 1024 * 1024
_SOCKETS = ("gunicorn.socket", "werkzeug.socket")

LINGERS = "cometbot.lingers"
"""Set in the environ of a server that reads on, without a thread, after it closed a connection to one side."""


_TICK = 0.1


class Deadline:
    """One bounded exchange: a context manager, cut off if its block lasts longer.

    ``expired`` is true once its time has run out and its connections were cut.
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
        """Seconds left, never negative."""
        return max(self.at - time.monotonic(), 0.0)

    def __enter__(self) -> Deadline:
        self._watchdog.add(self)
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def end(self) -> None:
        """Let the exchange take as long as it likes from now on."""
        self._watchdog.discard(self)


class SocketWatchdog:
    """Ends blocking reads whose total time is up, by shutting their socket down; then they see the end of the stream.

    A time-out of a socket counts from byte to byte, so who sends one byte a second is never late. One thread a process
    looks ten times a second, so that an exchange that ends in time, as nearly all do, wakes nobody; it is started by
    the first deadline, and again in a forked child.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._guard = threading.Lock()
        self._deadlines: set[Deadline] = set()
        self._pid = 0

    def within(self, seconds: float, *, direction: int = socket.SHUT_RDWR) -> Deadline:
        """A :class:`Deadline`; sockets given to :meth:`guard` are shut in ``direction`` if its block lasts longer."""
        return Deadline(self, time.monotonic() + seconds, direction)

    def guard(self, deadline: Deadline, connection: socket.socket) -> None:
        """Let ``deadline`` cut ``connection``, at once if it is over."""
        with self._guard:
            if connection not in deadline.sockets:
                deadline.sockets.append(connection)
            if deadline.expired:
                _shut(connection, deadline.direction)

    def add(self, deadline: Deadline) -> None:
        """Watch over ``deadline``."""
        if self._pid != os.getpid():
            self._start()
        with self._guard:
            self._deadlines.add(deadline)

    def discard(self, deadline: Deadline) -> None:
        """Forget ``deadline``; when this returns, nothing is cut for it any more."""
        with self._guard:
            self._deadlines.discard(deadline)

    def _start(self) -> None:
        with _starting:
            if self._pid == os.getpid():
                return
            self._forget()
            threading.Thread(target=self._run, name="cometbot-deadlines", daemon=True).start()
            self._pid = os.getpid()

    def _run(self) -> None:
        while True:
            time.sleep(_TICK)
            if not self._deadlines:
                continue
            with self._guard:
                now = time.monotonic()
                for deadline in [deadline for deadline in self._deadlines if deadline.at <= now]:
                    self._expire(deadline)

    def _expire(self, deadline: Deadline) -> None:
        deadline.expired = True
        self._deadlines.discard(deadline)
        for connection in deadline.sockets:
            _shut(connection, deadline.direction)


_starting = threading.Lock()
WATCHDOG = SocketWatchdog()
"""The one of this process."""


def read_body(environ: Mapping[str, Any], *, limit: int, timeout: float) -> bytes:
    """The body of a WSGI request, whole and at most ``limit`` bytes long, read within ``timeout`` seconds in all.

    Raises :class:`HttpError`: 411 without a length, 400 for an empty, broken-off or badly chunked body, 408 for one
    that takes too long, 413 for one that is too long, at once if its header says so. A client that still sends when
    the connection closes never sees the answer, so where the server does not linger up to 16 MiB are discarded first.
    """
    length = _announced_length(environ)
    if length == 0:
        raise HttpError(400, "ERR_EMPTY_BODY", "the request has no body; send the JSON as body")
    discarded = _discarded(environ)
    if length is not None and length > max(limit, discarded):
        raise _too_large(limit)
    connection = connection_of(environ)
    if connection is None:
        return _read(environ["wsgi.input"], length, limit, discarded)
    with WATCHDOG.within(timeout, direction=socket.SHUT_RD) as deadline:
        WATCHDOG.guard(deadline, connection)
        try:
            return _read(environ["wsgi.input"], length, limit, discarded)
        except HttpError as error:
            if deadline.expired and error.status != 413:
                text = f"the body did not arrive within {timeout:g} seconds"
                raise HttpError(408, "ERR_BODY_TIMEOUT", text, closes=True) from None
            raise


class BodyStream:
    """The body of a request as it comes in: never more than its limit, never longer than its time.

    :meth:`read` raises :class:`HttpError`: 400 for a body that breaks off or is badly chunked, 408 for one that takes
    too long, 413 for one that is too long.
    """

    def __init__(
        self, source: Any, length: int | None, limit: int, deadline: Deadline | None = None, pace: float = 0
    ) -> None:
        self._source = source
        self._left = length
        self._limit = limit
        self._deadline = deadline
        self._pace = pace
        self._taken = 0

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, at least one; empty at the end."""
        if self._left == 0:
            return b""
        try:
            piece: bytes = self._source.read(size if self._left is None else min(size, self._left))
        except Exception as error:  # servers raise their own classes here, for the client's mistakes
            raise self._broken() from error
        self._taken += len(piece)
        if self._taken > self._limit:
            raise _too_large(self._limit)
        if self._deadline is not None and self._pace > 0:
            self._deadline.at += len(piece) / self._pace
        if self._left is not None:
            self._left -= len(piece)
            if not piece:
                raise self._broken()
        return piece

    def drain(self) -> None:
        """Read on for nothing, so that who still sends sees the answer; at most 16 MiB."""
        size = min(_DRAINED, self._limit)
        with contextlib.suppress(HttpError):
            while size > 0 and (piece := self.read(min(size, _STEP))):
                size -= len(piece)

    def _broken(self) -> HttpError:
        if self._deadline is not None and self._deadline.expired:
            return HttpError(408, "ERR_BODY_TIMEOUT", "the body did not arrive in time", closes=True)
        return HttpError(400, "ERR_BROKEN_BODY", "the body broke off or is badly chunked", closes=True)


@contextlib.contextmanager
def body_stream(environ: Mapping[str, Any], *, limit: int, timeout: float, pace: float = 0) -> Iterator[BodyStream]:
    """The body of a WSGI request, to be read piece by piece within ``timeout`` seconds in all.

    With a ``pace`` it may take a second more for so many bytes that have come: what comes steadily is taken however
    long it is, what stands still is not.

    Raises :class:`HttpError` at once for a body that has no length, or is announced as longer than ``limit`` bytes.
    """
    length, source = _announced_length(environ), environ["wsgi.input"]
    if length is not None and length > limit:
        if length <= _discarded(environ):
            _read_for_nothing(environ, length, timeout)
        raise _too_large(limit)
    connection = connection_of(environ)
    if connection is None:
        yield BodyStream(source, length, limit)
        return
    with WATCHDOG.within(timeout, direction=socket.SHUT_RD) as deadline:
        WATCHDOG.guard(deadline, connection)
        yield BodyStream(source, length, limit, deadline, pace)


def _discarded(environ: Mapping[str, Any]) -> int:
    """Return how many bytes of a body that is too long are discarded before it is refused."""
    return 0 if environ.get(LINGERS) else _DRAINED


def _read_for_nothing(environ: Mapping[str, Any], length: int, timeout: float) -> None:
    with body_stream(environ, limit=length, timeout=timeout) as stream:
        stream.drain()


class PacedAnswer:
    """The pieces of a WSGI answer, whose connection is cut where the other side takes them too slowly.

    It has ``timeout`` seconds in all, and a second more for each ``pace`` bytes; the time that it takes to make them
    does not count. A body closes with it.
    """

    def __init__(self, body: Iterable[bytes], connection: socket.socket, *, timeout: float, pace: float) -> None:
        self._body = body
        self._connection = connection
        self._left = timeout
        self._pace = pace

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            began = time.monotonic()
            self._left += len(piece) / self._pace
            with WATCHDOG.within(self._left) as deadline:
                WATCHDOG.guard(deadline, self._connection)
                yield piece
            self._left -= time.monotonic() - began

    def close(self) -> None:
        """Close the body, as servers do when an answer is over."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


def connection_of(environ: Mapping[str, Any]) -> socket.socket | None:
    """The connection that a request came by, where the server tells."""
    connection = next((environ[name] for name in _SOCKETS if name in environ), None)
    return connection if isinstance(connection, socket.socket) else None


def _announced_length(environ: Mapping[str, Any]) -> int | None:
    """What Content-Length says; None for a chunked body."""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return None
    announced = environ.get("CONTENT_LENGTH") or ""
    if not announced:
        raise HttpError(411, "ERR_LENGTH_REQUIRED", "the request has neither a Content-Length nor a chunked body")
    if not (announced.isascii() and announced.isdigit()):
        raise HttpError(400, "ERR_BAD_LENGTH", "Content-Length must be a number", closes=True)
    return int(announced[:20])


def _read(stream: Any, length: int | None, limit: int, discarded: int) -> bytes:
    try:
        if length is None:
            body = _read_chunked(stream, limit, discarded)
        elif length <= limit:
            body = stream.read(length)
        else:
            _discard(stream, length)
            raise _too_large(limit)
    except HttpError:
        raise
    except Exception as error:  # servers raise their own classes here, for the client's mistakes
        raise HttpError(400, "ERR_BROKEN_BODY", "the body broke off or is badly chunked", closes=True) from error
    if length is not None and len(body) < length:
        raise HttpError(
            400, "ERR_BROKEN_BODY", f"the body broke off: {len(body)} of {length} bytes arrived", closes=True
        )
    if not body:
        raise HttpError(400, "ERR_EMPTY_BODY", "the request has no body; send the JSON as body")
    return bytes(body)


def _read_chunked(stream: Any, limit: int, discarded: int) -> bytes:
    body = bytearray()
    while piece := stream.read(_STEP):
        body += piece
        if len(body) > limit:
            _discard(stream, discarded)
            raise _too_large(limit)
    return bytes(body)


def _discard(stream: Any, size: int) -> None:
    """Read up to ``size`` bytes for nothing."""
    while size > 0 and (piece := stream.read(min(size, _STEP))):
        size -= len(piece)


def _too_large(limit: int) -> HttpError:
    return HttpError(413, "ERR_BODY_TOO_LARGE", f"the body is longer than {limit} bytes", closes=True)


def _shut(connection: socket.socket, direction: int) -> None:
    with contextlib.suppress(OSError):
        # The base class's method: a TLS socket's own would also forget its session, and no answer could be written.
        socket.socket.shutdown(connection, direction)
