"""Short texts to all processes that share a database: quick, and not to be relied on. The truth is in the tables."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cometbot.store.database import Database
from cometbot.store.datagram_socket import DatagramSocket

MAX_TEXT_SIZE = 7000
"""Bytes of UTF-8 that a text may have: PostgreSQL's notices carry no more than 8,000 bytes in all."""

_ADDRESS_REFRESH_INTERVAL = 1.0
_SEND_TIMEOUT = 0.02


class PubSub(ABC):
    """Tells all processes but this one. To be made anew after a fork.

    Nothing is kept for who does not listen, and a text may be lost; an empty text means that some may have been.
    """

    @abstractmethod
    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Call ``callback(text)``, in a thread, for what other processes tell from now on."""

    @abstractmethod
    def publish(self, text: str) -> None:
        """Tell the others. Never waits long, never raises."""

    @abstractmethod
    def close(self) -> None:
        """Stop listening, and telling."""


class NullPubSub(PubSub):
    """For a database that no other process can share."""

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Nothing: there is nobody to listen to."""

    def publish(self, text: str) -> None:
        """Nothing: there is nobody to tell."""

    def close(self) -> None:
        """Nothing."""


class LocalPubSub(PubSub):
    """The processes of one machine, by unix datagrams."""

    def __init__(self, path: str, name: str) -> None:
        self._prefix = f"{name}-"
        self._socket = DatagramSocket(path, self._prefix + secrets.token_hex(6))
        self._addresses: list[str] = []
        self._refreshed_at = float("-inf")
        self._folder_mtime = 0

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._socket.listen(callback)

    def publish(self, text: str) -> None:
        addresses = [address for address in self._other_addresses() if address != self._socket.address]
        if addresses:
            for address in self._socket.send(addresses, text, patience=_SEND_TIMEOUT):
                with suppress(OSError):
                    Path(address).unlink()

    def _other_addresses(self) -> list[str]:
        """Who listens, looked up when the folder has changed, and each second: its time may be too coarse to tell."""
        mtime, now = self._socket.folder_mtime(), time.monotonic()
        if mtime != self._folder_mtime or now - self._refreshed_at > _ADDRESS_REFRESH_INTERVAL:
            self._addresses = self._socket.addresses(self._prefix)
            self._folder_mtime, self._refreshed_at = mtime, now
        return self._addresses

    def close(self) -> None:
        self._socket.close()


def create_pubsub(database: Database, name: str) -> PubSub:
    """The way to the other processes that share ``database`` and listen under the same ``name``."""
    if database.server_url:
        from cometbot.store.postgresql_pubsub import PostgreSQLPubSub

        return PostgreSQLPubSub(database, name)
    path = str(getattr(database, "path", ""))
    return LocalPubSub(path, name) if path else NullPubSub()
