"""A client's connection that sends the head of a small answer together with its body."""

from __future__ import annotations

import socket
from typing import Any


class CorkableSocket(socket.socket):
    """A socket whose next piece can be held back until the one after it.

    gunicorn sends the head of an answer and its body one after the other: two packets on the network, two calls of the
    system, and a client that is woken twice, which for answers of some bytes is a tenth of all their cost.
    """

    __slots__ = ("_buffered", "_is_corked")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._buffered = b""
        self._is_corked = False

    @classmethod
    def wrap(cls, other: socket.socket) -> socket.socket:
        """The connection of ``other``, which is closed to others by that; a TLS connection, or one of these, as it
        is."""
        if type(other) is not socket.socket:
            return other
        timeout = other.gettimeout()
        wrapped = cls(other.family, other.type, other.proto, fileno=other.detach())
        wrapped.settimeout(timeout)
        return wrapped

    def cork(self) -> None:
        """Keep what :meth:`sendall` is given next until it is given more, or until :meth:`uncork`."""
        self._is_corked = True

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send ``data``, after what was held."""
        if self._is_corked:
            self._is_corked = False
            self._buffered = bytes(data)
            return
        buffered, self._buffered = self._buffered, b""
        super().sendall(buffered + data if buffered else data, flags)

    def uncork(self) -> None:
        """Send what is held; hold nothing any more."""
        self._is_corked = False
        if self._buffered:
            self.sendall(b"")
