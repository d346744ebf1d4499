"""Short texts to all processes that share a database: quick, and not to be relied on. The truth is in the tables."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cometbot.store.database import Database
from cometbot.store.datagrams import Datagrams

TEXT_LIMIT = 7000
"""Bytes of UTF-8 that a text may have: PostgreSQL's notices carry no more than 8,000 bytes in all."""

_FRESH = 1.0
_PATIENCE = 0.02


class Broadcast(ABC):
    """Tells all processes but this one. To be made anew after a fork.

    Nothing is kept for who does not listen, and a text may be lost; an empty text means that some may have been.
    """

    @abstractmethod
    def listen(self, heard: Callable[[str], None]) -> None:
        """Call ``heard(text)``, in a thread, for what other processes tell from now on."""

    @abstractmethod
    def tell(self, text: str) -> None:
        """Tell the others. Never waits long, never raises."""

    @abstractmethod
    def close(self) -> None:
        """Stop listening, and telling."""


class Silence(Broadcast):
    """For a database that no other process can share."""

    def listen(self, heard: Callable[[str], None]) -> None:
        """Nothing: there is nobody to listen to."""

    def tell(self, text: str) -> None:
        """Nothing: there is nobody to tell."""

    def close(self) -> None:
        """Nothing."""


class Neighbours(Broadcast):
    """The processes of one machine, by unix datagrams."""

    def __init__(self, path: str, name: str) -> None:
        self._prefix = f"{name}-"
        self._datagrams = Datagrams(path, self._prefix + secrets.token_hex(6))
        self._known: list[str] = []
        self._asked = float("-inf")
        self._seen = 0

    def listen(self, heard: Callable[[str], None]) -> None:
        self._datagrams.listen(heard)

    def tell(self, text: str) -> None:
        addresses = [address for address in self._neighbours() if address != self._datagrams.address]
        if addresses:
            for address in self._datagrams.tell(addresses, text, patience=_PATIENCE):
                with suppress(OSError):
                    Path(address).unlink()

    def _neighbours(self) -> list[str]:
        """Who listens, looked up when the folder has changed, and each second: its time may be too coarse to tell."""
        changed, now = self._datagrams.changed(), time.monotonic()
        if changed != self._seen or now - self._asked > _FRESH:
            self._known = self._datagrams.addresses(self._prefix)
            self._seen, self._asked = changed, now
        return self._known

    def close(self) -> None:
        self._datagrams.close()


def broadcast(database: Database, name: str) -> Broadcast:
    """The way to the other processes that share ``database`` and listen under the same ``name``."""
    if database.shared_url:
        from cometbot.store.notices import Notices

        return Notices(database, name)
    path = str(getattr(database, "path", ""))
    return Neighbours(path, name) if path else Silence()
