"""Request bodies that the client sends after "100 Continue" only (RFC 9110, section 10.1.1)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ExpectContinueInput:
    """A WSGI input that sends "100 Continue" to the client before the first read.

    If the application refuses the request without reading, the client need not send the body. The connection must be
    closed then, because the server cannot know whether the client sends the body anyway.
    """

    def __init__(self, source: Any, connection: socket.socket) -> None:
        self._source = source
        self._connection = connection
        self.is_continue_sent = False

    def read(self, *size: Any) -> bytes:
        """Return data like ``read`` of the server's own input."""
        data: bytes = self._send_continue().read(*size)
        return data

    def readline(self, *size: Any) -> bytes:
        """Return the next line."""
        line: bytes = self._send_continue().readline(*size)
        return line

    def readlines(self, *hint: Any) -> list[bytes]:
        """Return the remaining lines."""
        lines: list[bytes] = self._send_continue().readlines(*hint)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._send_continue())

    def _send_continue(self) -> Any:
        if not self.is_continue_sent:
            self.is_continue_sent = True
            self._connection.sendall(_CONTINUE)
        return self._source
