"""Bounds on what the other side of a connection can make us wait for or keep."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cometbot.http.errors import HttpError
from cometbot.http.pace import Pace
from cometbot.http.watchdog import WATCHDOG, Deadline, connection_of, shut

_STEP = 64 * 1024
_FIRST_STEP, _SMALLEST_STEP = 4 * 1024, 1024
_QUICK, _SLOW = 0.1, 0.5
"""Seconds for one read below which the next asks for more, and above which it asks for less."""

_PIECE = 16 * 1024
"""Bytes of an answer that a client must take before its time ends; it is given more time then."""

_DRAINED = 16 * 1024 * 1024

LINGERS = "cometbot.lingers"
"""Set in the environ of a server that reads on, without a thread, after it closed a connection to one side."""


def read_body(environ: Mapping[str, Any], *, limit: int, timeout: float) -> bytes:
    """Return the whole body of a WSGI request, at most ``limit`` bytes long.

    Raises :class:`HttpError`: 411 without a length, 400 for an empty, broken-off or badly chunked body, 408 where none
    of it arrives for ``timeout`` seconds or it is slower than :class:`Pace` allows, 413 for one that is too long, at
    once if its header says so. A client that still sends when the connection closes never sees the answer, so where the
    server does not linger up to 16 MiB are discarded first.
    """
    if _announced_length(environ) == 0:
        raise _empty()
    body = bytearray()
    with body_stream(environ, limit=limit, timeout=timeout) as stream:
        try:
            while piece := stream.read(_STEP):
                body += piece
        except HttpError as error:
            if error.status == 413:
                stream.discard(_discarded(environ))
            raise
    if not body:
        raise _empty()
    return bytes(body)


class BodyStream:
    """The body of a request as it comes in: bounded in its size, and in time while nothing of it comes.

    :meth:`read` raises :class:`HttpError`: 400 for a body that breaks off or is badly chunked, 408 for one that stands
    still or is too slow, 413 for one that is too long.
    """

    def __init__(
        self, source: Any, length: int | None, limit: int, deadline: Deadline | None = None, pace: Pace | None = None
    ) -> None:
        self._source = source
        self._left = length
        self._limit = limit
        self._deadline = deadline
        self._pace = pace
        self._taken = 0
        self._step = _FIRST_STEP

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes, at least one; none at the end."""
        if self._left == 0:
            return b""
        try:
            piece = self._read(size if self._left is None else min(size, self._left))
        except Exception as error:  # servers raise their own classes here, for the client's mistakes
            raise self._broken() from error
        self._taken += len(piece)
        if self._taken > self._limit:
            raise _too_large(self._limit)
        if self._left is not None:
            self._left -= len(piece)
            if not piece:
                raise self._broken()
        return piece

    def _read(self, size: int) -> bytes:
        """Read so little at once that the client makes progress within its time: servers return when all is there."""
        if self._deadline is None or self._pace is None:
            return bytes(self._source.read(size))
        began = time.monotonic()
        self._deadline.at = began + self._pace.left
        piece = bytes(self._source.read(min(size, self._step)))
        seconds = time.monotonic() - began
        self._deadline.at = math.inf  # what is done with the piece is not the client's time
        if seconds > _SLOW:
            self._step = max(self._step // 2, _SMALLEST_STEP)
        elif seconds < _QUICK:
            self._step = min(self._step * 2, _STEP)
        if not self._pace.allows(len(piece), seconds):
            self._deadline.expired = True
            raise TimeoutError
        return piece

    def drain(self) -> None:
        """Read and discard the rest, at most 16 MiB, so that a client that still sends sees the answer."""
        size = min(_DRAINED, self._limit)
        with contextlib.suppress(HttpError):
            while size > 0 and (piece := self.read(min(size, _STEP))):
                size -= len(piece)

    def discard(self, size: int) -> None:
        """Read and discard up to ``size`` bytes of a body that is too long."""
        if size > 0:
            self._limit += size
            self.drain()

    def _broken(self) -> HttpError:
        if self._deadline is not None and self._pace is not None and self._deadline.expired:
            text = f"the body did not arrive for {self._pace.timeout:g} seconds, or too slowly"
            return HttpError(408, "ERR_BODY_TIMEOUT", text, closes=True)
        text = "the body broke off or is badly chunked"
        if self._left is not None:
            text = f"the body broke off: {self._taken} of {self._taken + self._left} bytes arrived"
        return HttpError(400, "ERR_BROKEN_BODY", text, closes=True)


@contextlib.contextmanager
def body_stream(environ: Mapping[str, Any], *, limit: int, timeout: float) -> Iterator[BodyStream]:
    """Give the body of a WSGI request, to be read piece by piece.

    The client may be silent for ``timeout`` seconds, and take as long as :class:`Pace` allows.

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
    with Pace.of(environ, timeout) as pace, WATCHDOG.within(timeout, direction=socket.SHUT_RD) as deadline:
        WATCHDOG.guard(deadline, connection)
        yield BodyStream(source, length, limit, deadline, pace)


def _discarded(environ: Mapping[str, Any]) -> int:
    """Return how many bytes of a body that is too long are discarded before it is refused."""
    return 0 if environ.get(LINGERS) else _DRAINED


def _read_for_nothing(environ: Mapping[str, Any], length: int, timeout: float) -> None:
    with body_stream(environ, limit=length, timeout=timeout) as stream:
        stream.drain()


class PacedAnswer:
    """The pieces of a WSGI answer, whose connection is cut where the client takes nothing for ``timeout`` seconds, or
    less than :class:`Pace` allows; the time that it takes to make them does not count. A body closes with it."""

    def __init__(self, body: Iterable[bytes], connection: socket.socket, pace: Pace) -> None:
        self._body = body
        self._connection = connection
        self._pace = pace

    def __iter__(self) -> Iterator[bytes]:
        for whole in self._body:
            for start in range(0, len(whole), _PIECE):
                yield from self._send(whole[start : start + _PIECE])

    def _send(self, piece: bytes) -> Iterator[bytes]:
        began = time.monotonic()
        with WATCHDOG.within(self._pace.left) as deadline:
            WATCHDOG.guard(deadline, self._connection)
            yield piece
        if not self._pace.allows(len(piece), time.monotonic() - began):
            shut(self._connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the body, as servers do when an answer is over."""
        self._pace.close()
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


def _announced_length(environ: Mapping[str, Any]) -> int | None:
    """Return what Content-Length says, or None for a chunked body."""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return None
    announced = environ.get("CONTENT_LENGTH") or ""
    if not announced:
        raise HttpError(411, "ERR_LENGTH_REQUIRED", "the request has neither a Content-Length nor a chunked body")
    if not (announced.isascii() and announced.isdigit()):
        raise HttpError(400, "ERR_BAD_LENGTH", "Content-Length must be a number", closes=True)
    return int(announced[:20])


def _too_large(limit: int) -> HttpError:
    return HttpError(413, "ERR_BODY_TOO_LARGE", f"the body is longer than {limit} bytes", closes=True)


def _empty() -> HttpError:
    return HttpError(400, "ERR_EMPTY_BODY", "the request has no body; send the JSON as body")
