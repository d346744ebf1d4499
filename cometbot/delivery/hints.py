"""Telling the other processes of this machine that a conversation has mail: unix datagrams, sent and forgotten."""

from __future__ import annotations

import random
import secrets
import time

import sqlalchemy as sa

from cometbot.store.database import Database
from cometbot.store.datagrams import Datagrams
from cometbot.store.tables import processes

_KNOWN_FOR, _NOBODY_FOR = 1.0, 0.05
"""Seconds after which it is asked anew who listens, and whether anybody does."""

_listeners = sa.select(processes.c.handles, processes.c.address).where(processes.c.address != "")


class Hints(Datagrams):
    """Datagrams that name conversations. Where they do not arrive, the sweep finds the mail a second later."""


class Siblings:
    """The processes of this machine that handle messages, to be told of mail."""

    def __init__(self, source: Database) -> None:
        self._database = source
        self._hints = Hints(getattr(source, "path", ""), secrets.token_hex(4))
        self._handling: list[str] = []
        self._all: list[str] = []
        self._asked = float("-inf")

    def wake(self, lane: str, *, to_send: bool = False) -> None:
        """Hint one of those that handle, which one does not matter; or all, where one of them alone can send."""
        if time.monotonic() - self._asked > (_KNOWN_FOR if self._handling else _NOBODY_FOR):
            self._asked = time.monotonic()
            with self._database.read() as connection:
                rows = connection.execute(_listeners).all()
            self._handling = [address for handles, address in rows if handles]
            self._all = [address for _, address in rows]
        if to_send:
            self._hints.tell(self._all, lane)
        elif self._handling:
            self._hints.tell([random.choice(self._handling)], lane)

    def close(self) -> None:
        """Nothing: a hint keeps nothing open."""
