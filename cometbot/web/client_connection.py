"""What the server does with a client's connection, independently of gunicorn.

Small responses are sent in one piece, "100 Continue" is sent when the application reads the body, the PROXY protocol is
detected, and a request that cannot be read is refused.
"""

from __future__ import annotations

import logging
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import IO, Any

from orjson import dumps

PROXY_PROTOCOL_REFUSAL = (
    "the PROXY protocol is not supported. Switch it off in the proxy (send-proxy in HAProxy, proxy_protocol in nginx)"
    " and let the proxy send X-Forwarded-For"
)

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PROXY_VERSION_1 = b"PROXY "
_PROXY_VERSION_2 = b"\r\n\r\n\x00\r\nQUIT\n"
_log = logging.getLogger(__name__)


class CorkableSocket(socket.socket):
    """A socket that can buffer one write and send it together with the next.

    gunicorn sends the head and the body of a response separately: two packets, two system calls, and a client that
    wakes up twice. For a response of a few bytes this is a tenth of its whole cost.
    """

    __slots__ = ("_buffered", "_is_corked")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._buffered = b""
        self._is_corked = False

    @classmethod
    def wrap(cls, other: socket.socket) -> socket.socket:
        """Return a socket that owns the connection of ``other``, which is detached from it.

        A TLS connection and a socket of this class are returned unchanged.
        """
        if type(other) is not socket.socket:
            return other
        timeout = other.gettimeout()
        wrapped = cls(other.family, other.type, other.proto, fileno=other.detach())
        wrapped.settimeout(timeout)
        return wrapped

    def cork(self) -> None:
        """Buffer the data of the next :meth:`sendall`, until the one after it or :meth:`uncork`."""
        self._is_corked = True

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send the buffered data, then ``data``; only buffer ``data`` after :meth:`cork`."""
        if self._is_corked:
            self._is_corked = False
            self._buffered = bytes(data)
            return
        buffered, self._buffered = self._buffered, b""
        super().sendall(buffered + data if buffered else data, flags)

    def uncork(self) -> None:
        """Send the buffered data, and stop buffering."""
        self._is_corked = False
        if self._buffered:
            self.sendall(b"")


class ExpectContinueInput:
    """A WSGI input that sends "100 Continue" to the client before the first read (RFC 9110, section 10.1.1).

    If the application refuses the request without reading, the client need not send the body. The connection must be
    closed then, because the server cannot know whether the client sends the body anyway.
    """

    def __init__(self, source: IO[bytes], connection: socket.socket) -> None:
        self._source = source
        self._connection = connection
        self.is_continue_sent = False

    def read(self, *size: Any) -> bytes:
        """Return data like ``read`` of the server's own input."""
        return self._send_continue().read(*size)

    def readline(self, *size: Any) -> bytes:
        """Return the next line."""
        return self._send_continue().readline(*size)

    def readlines(self, *hint: Any) -> list[bytes]:
        """Return the remaining lines."""
        return self._send_continue().readlines(*hint)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._send_continue())

    def _send_continue(self) -> IO[bytes]:
        if not self.is_continue_sent:
            self.is_continue_sent = True
            self._connection.sendall(_CONTINUE)
        return self._source


def begins_proxy_protocol(connection: socket.socket) -> bool:
    """Return whether the first bytes on a new connection are those of a PROXY header of version 1 or 2.

    The bytes are peeked at and not consumed. The result is False for a TLS connection, whose first bytes were the
    handshake's.
    """
    if isinstance(connection, ssl.SSLSocket):
        return False
    try:
        begin = connection.recv(len(_PROXY_VERSION_2), socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return False
    return begin.startswith((_PROXY_VERSION_1, _PROXY_VERSION_2))


def is_readable(connection: socket.socket, timeout: float) -> bool:
    """Return whether something can be read from ``connection`` within ``timeout`` seconds."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def refuse(client: socket.socket, status: HTTPStatus, message: str) -> None:
    """Send an error in the JSON form of all refusals, for a request that no application can get."""
    _log.info("refused a malformed request: %s", message)
    body = dumps({"error": {"code": f"ERR_{status.name}", "message": message}})
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with suppress(OSError):
        client.sendall(head.encode() + body)
