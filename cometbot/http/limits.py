"""Limits on the size of request bodies, and on the time that clients take to send and to read."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cometbot.http.errors import HttpError
from cometbot.http.slow_clients import SlowClientLimit
from cometbot.http.watchdog import WATCHDOG, Deadline, get_connection, shutdown_socket

_READ_SIZE = 64 * 1024
_FIRST_READ_SIZE, _MIN_READ_SIZE = 4 * 1024, 1024
_FAST_READ_SECONDS, _SLOW_READ_SECONDS = 0.1, 0.5
"""Seconds of one read below which the next read is larger, and above which it is smaller."""

_WRITE_SIZE = 16 * 1024
"""Bytes of a response that are written under one deadline; each write gets a new one."""

_MAX_DISCARDED = 16 * 1024 * 1024

LINGERS_KEY = "cometbot.lingers"
"""Key in the environ of a server that half-closes connections and discards the rest without a thread."""


def read_body(environ: Mapping[str, Any], *, limit: int, timeout: float) -> bytes:
    """Return the whole body of a WSGI request, at most ``limit`` bytes long.

    Raises :class:`HttpError`: 411 without a length; 400 for an empty, incomplete or badly chunked body; 408 if no bytes
    arrive for ``timeout`` seconds or if the client is slower than :class:`SlowClientLimit` allows; 413 if the body is
    too long, at once if its Content-Length says so. A client that still sends when the connection closes never sees the
    response, so up to 16 MiB are discarded first if the server has no lingering close.
    """
    body = bytearray()
    with open_body(environ, limit=limit, timeout=timeout) as stream:
        try:
            while piece := stream.read(_READ_SIZE):
                body += piece
        except HttpError as error:
            if error.status == 413:
                stream.discard(_max_discarded(environ))
            raise
    if not body:
        raise HttpError(400, "ERR_EMPTY_BODY", "the request has no body; send the JSON as body")
    return bytes(body)


class LimitedReader:
    """The body of a request, read with limits on its size and on the client's speed.

    :meth:`read` raises :class:`HttpError`: 400 for an incomplete or badly chunked body, 408 if the client sends nothing
    or too slowly, 413 for a body that is too long.
    """

    def __init__(
        self,
        source: Any,
        length: int | None,
        limit: int,
        deadline: Deadline | None = None,
        slow_client_limit: SlowClientLimit | None = None,
    ) -> None:
        self._source = source
        self._remaining = length
        self._limit = limit
        self._deadline = deadline
        self._slow_client_limit = slow_client_limit
        self._received = 0
        self._read_size = _FIRST_READ_SIZE

    def read(self, size: int) -> bytes:
        """Return between one and ``size`` bytes, or none at the end of the body."""
        if self._remaining == 0:
            return b""
        try:
            piece = self._read(size if self._remaining is None else min(size, self._remaining))
        except Exception as error:  # servers raise their own classes here, for the client's mistakes
            raise self._read_error() from error
        self._received += len(piece)
        if self._received > self._limit:
            raise _body_too_large(self._limit)
        if self._remaining is not None:
            self._remaining -= len(piece)
            if not piece:
                raise self._read_error()
        return piece

    def _read(self, size: int) -> bytes:
        """Read at most ``size`` bytes, few enough to arrive within the deadline: servers wait for all of them."""
        if self._deadline is None or self._slow_client_limit is None:
            return bytes(self._source.read(size))
        began = time.monotonic()
        self._deadline.at = began + self._slow_client_limit.remaining
        piece = bytes(self._source.read(min(size, self._read_size)))
        seconds = time.monotonic() - began
        self._deadline.at = math.inf  # the time to process the piece does not count against the client
        if seconds > _SLOW_READ_SECONDS:
            self._read_size = max(self._read_size // 2, _MIN_READ_SIZE)
        elif seconds < _FAST_READ_SECONDS:
            self._read_size = min(self._read_size * 2, _READ_SIZE)
        if not self._slow_client_limit.allows(len(piece), seconds):
            self._deadline.expired = True
            raise TimeoutError
        return piece

    def drain(self) -> None:
        """Read and discard the rest, at most 16 MiB, so that a client that still sends sees the response."""
        size = min(_MAX_DISCARDED, self._limit)
        with contextlib.suppress(HttpError):
            while size > 0 and (piece := self.read(min(size, _READ_SIZE))):
                size -= len(piece)

    def discard(self, size: int) -> None:
        """Read and discard up to ``size`` bytes of a body that is too long."""
        if size > 0:
            self._limit += size
            self.drain()

    def _read_error(self) -> HttpError:
        if self._deadline is not None and self._slow_client_limit is not None and self._deadline.expired:
            text = f"the body did not arrive for {self._slow_client_limit.timeout:g} seconds, or too slowly"
            return HttpError(408, "ERR_BODY_TIMEOUT", text, close_connection=True)
        text = "the body is incomplete or badly chunked"
        if self._remaining is not None:
            text = f"the body is incomplete: {self._received} of {self._received + self._remaining} bytes arrived"
        return HttpError(400, "ERR_BROKEN_BODY", text, close_connection=True)


@contextlib.contextmanager
def open_body(environ: Mapping[str, Any], *, limit: int, timeout: float) -> Iterator[LimitedReader]:
    """Open the body of a WSGI request, to read it piece by piece.

    The client may send nothing for at most ``timeout`` seconds, and may be as slow as :class:`SlowClientLimit` allows.

    Raises :class:`HttpError` at once for a body without a length, or with a Content-Length above ``limit`` bytes.
    """
    length, source = _get_content_length(environ), environ["wsgi.input"]
    if length is not None and length > limit:
        if length <= _max_discarded(environ):
            _discard_body(environ, length, timeout)
        raise _body_too_large(limit)
    connection = get_connection(environ)
    if connection is None:
        yield LimitedReader(source, length, limit)
        return
    with (
        SlowClientLimit(timeout, environ.get("REMOTE_ADDR", ""), connection) as slow_client_limit,
        WATCHDOG.start_deadline(timeout, direction=socket.SHUT_RD) as deadline,
    ):
        WATCHDOG.add_socket(deadline, connection)
        yield LimitedReader(source, length, limit, deadline, slow_client_limit)


def _max_discarded(environ: Mapping[str, Any]) -> int:
    """Return how many bytes of a body that is too long are discarded before it is refused."""
    return 0 if environ.get(LINGERS_KEY) else _MAX_DISCARDED


def _discard_body(environ: Mapping[str, Any], length: int, timeout: float) -> None:
    with open_body(environ, limit=length, timeout=timeout) as stream:
        stream.drain()


class SlowClientGuard:
    """Wraps the body of a WSGI response, and shuts the connection down if the client reads it too slowly.

    ``limit`` sets the timeout and the minimum speed. The time that the application takes to produce the pieces does not
    count. :meth:`close` closes the body too.
    """

    def __init__(self, body: Iterable[bytes], connection: socket.socket, limit: SlowClientLimit) -> None:
        self._body = body
        self._connection = connection
        self._limit = limit

    def __iter__(self) -> Iterator[bytes]:
        for whole in self._body:
            for start in range(0, len(whole), _WRITE_SIZE):
                yield from self._send(whole[start : start + _WRITE_SIZE])

    def _send(self, piece: bytes) -> Iterator[bytes]:
        began = time.monotonic()
        with WATCHDOG.start_deadline(self._limit.remaining) as deadline:
            WATCHDOG.add_socket(deadline, self._connection)
            yield piece
        if not self._limit.allows(len(piece), time.monotonic() - began):
            shutdown_socket(self._connection, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the body; servers call this at the end of a response."""
        self._limit.close()
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


def _get_content_length(environ: Mapping[str, Any]) -> int | None:
    """Return the value of Content-Length, or None for a chunked body."""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return None
    announced = environ.get("CONTENT_LENGTH") or ""
    if not announced:
        raise HttpError(411, "ERR_LENGTH_REQUIRED", "the request has neither a Content-Length nor a chunked body")
    if not (announced.isascii() and announced.isdigit()):
        raise HttpError(400, "ERR_BAD_LENGTH", "Content-Length must be a number", close_connection=True)
    return int(announced[:20])


def _body_too_large(limit: int) -> HttpError:
    return HttpError(413, "ERR_BODY_TOO_LARGE", f"the body is longer than {limit} bytes", close_connection=True)
