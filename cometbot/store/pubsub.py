"""Publish short texts to all processes that share a database: fast, but unreliable. The tables are authoritative."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cometbot.store.datagram_socket import DatagramSocket

MAX_TEXT_SIZE = 7000
"""Maximum bytes of UTF-8 of a text: a notification of PostgreSQL has at most 8,000 bytes in all."""

_ADDRESS_REFRESH_INTERVAL = 1.0
_SEND_TIMEOUT = 0.02


class PubSub(ABC):
    """Publishes to all processes but this one. Create a new one after a fork.

    Texts are not stored for processes that do not listen, and a text may be lost. An empty text means that some texts
    may have been lost.
    """

    @abstractmethod
    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Start a thread that calls ``callback(text)`` for texts that other processes publish from now on."""

    @abstractmethod
    def publish(self, text: str) -> None:
        """Publish ``text`` to the other processes. Never waits long, never raises."""

    @abstractmethod
    def close(self) -> None:
        """Stop listening and publishing."""


class NullPubSub(PubSub):
    """For a database that no other process can share."""

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Do nothing: no other process publishes."""

    def publish(self, text: str) -> None:
        """Do nothing: no other process listens."""

    def close(self) -> None:
        """Do nothing."""


class LocalPubSub(PubSub):
    """Publishes to the processes of one machine, by unix datagrams."""

    def __init__(self, path: str, name: str) -> None:
        self._prefix = f"{name}-"
        self._socket = DatagramSocket(path, self._prefix + secrets.token_hex(6))
        self._addresses: list[str] = []
        self._refreshed_at = float("-inf")
        self._folder_mtime = 0

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._socket.listen(callback)

    def publish(self, text: str) -> None:
        addresses = [address for address in self._listening_addresses() if address != self._socket.address]
        if addresses:
            for address in self._socket.send(addresses, text, timeout=_SEND_TIMEOUT):
                with suppress(OSError):
                    Path(address).unlink()

    def _listening_addresses(self) -> list[str]:
        """Return the listening addresses, read anew when the folder has changed and every second.

        The folder's modification time alone may be too coarse.
        """
        mtime, now = self._socket.folder_mtime(), time.monotonic()
        if mtime != self._folder_mtime or now - self._refreshed_at > _ADDRESS_REFRESH_INTERVAL:
            self._addresses = self._socket.addresses(self._prefix)
            self._folder_mtime, self._refreshed_at = mtime, now
        return self._addresses

    def close(self) -> None:
        self._socket.close()
