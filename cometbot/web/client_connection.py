"""A client connection that sends the head and the body of a small response together."""

from __future__ import annotations

import socket
from typing import Any


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
