"""Notify the other processes of this machine of pending work, by unix datagrams without acknowledgement."""

from __future__ import annotations

import random
import secrets
import time

import sqlalchemy as sa

from cometbot.store.database import Database
from cometbot.store.datagram_socket import DatagramSocket
from cometbot.store.tables import processes

_CACHE_TIMEOUT, _EMPTY_CACHE_TIMEOUT = 1.0, 0.05
"""Seconds for which the list of listening processes is cached: if a process handles messages, and if none does."""

_listeners = sa.select(processes.c.handles, processes.c.address).where(processes.c.address != "")


class NotificationSocket(DatagramSocket):
    """Datagrams that name conversations. If one is lost, the sweep finds the pending work a second later."""


class LocalNotifier:
    """Notifies the processes of this machine that handle messages."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._socket = NotificationSocket(getattr(database, "path", ""), secrets.token_hex(4))
        self._handler_addresses: list[str] = []
        self._addresses: list[str] = []
        self._loaded_at = float("-inf")

    def notify(self, conversation_key: str, *, to_send: bool = False) -> None:
        """Notify any one process that handles messages; or all listening processes, if only one of them can send."""
        if time.monotonic() - self._loaded_at > (_CACHE_TIMEOUT if self._handler_addresses else _EMPTY_CACHE_TIMEOUT):
            self._loaded_at = time.monotonic()
            with self._database.read() as connection:
                rows = connection.execute(_listeners).all()
            self._handler_addresses = [address for handles, address in rows if handles]
            self._addresses = [address for _, address in rows]
        if to_send:
            self._socket.send(self._addresses, conversation_key)
        elif self._handler_addresses:
            self._socket.send([random.choice(self._handler_addresses)], conversation_key)

    def close(self) -> None:
        """Do nothing: the notifier holds no open resources."""
