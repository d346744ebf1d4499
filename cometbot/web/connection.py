"""A client's connection that sends the head of a small answer together with its body."""

from __future__ import annotations

import socket
from typing import Any


class Connection(socket.socket):
    """A socket whose next piece can be held back until the one after it.

    gunicorn sends the head of an answer and its body one after the other: two packets on the network, two calls of the
    system, and a client that is woken twice, which for answers of some bytes is a tenth of all their cost.
    """

    __slots__ = ("_held", "_holds")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._held = b""
        self._holds = False

    @classmethod
    def taking(cls, other: socket.socket) -> socket.socket:
        """The connection of ``other``, which is closed to others by that; a TLS connection, or one of these, as it
        is."""
        if type(other) is not socket.socket:
            return other
        timeout = other.gettimeout()
        taken = cls(other.family, other.type, other.proto, fileno=other.detach())
        taken.settimeout(timeout)
        return taken

    def hold(self) -> None:
        """Keep what :meth:`sendall` is given next until it is given more, or until :meth:`flush`."""
        self._holds = True

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send ``data``, after what was held."""
        if self._holds:
            self._holds = False
            self._held = bytes(data)
            return
        held, self._held = self._held, b""
        super().sendall(held + data if held else data, flags)

    def flush(self) -> None:
        """Send what is held; hold nothing any more."""
        self._holds = False
        if self._held:
            self.sendall(b"")
