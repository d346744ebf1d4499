"""Short texts between the processes of any number of machines: PostgreSQL's ``LISTEN`` and ``NOTIFY``."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress

import psycopg
import sqlalchemy as sa

from cometbot.errors import StoreBusy
from cometbot.store.broadcast import Broadcast
from cometbot.store.database import Database
from cometbot.store.postgresql import CONNECT_OPTIONS

log = logging.getLogger(__name__)

_MOST_WAITING = 10_000
_TOGETHER = 100
_LOOK = 1.0
_RETRY = 1.0
_END = ""


class Notices(Broadcast):
    """One connection to listen on, outside of the pools, and one thread that tells, so that no request waits for it.

    Behind pgbouncer the connection must be a session's own: transaction pooling forgets who listens.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._channel = f"cometbot_{name}"
        self._token = secrets.token_hex(4)
        self._texts: queue.Queue[str] = queue.Queue(_MOST_WAITING)
        self._guard = threading.Lock()
        self._teller: threading.Thread | None = None
        self._ended = threading.Event()
        self._notify = sa.text("SELECT pg_notify(:channel, said) FROM unnest(CAST(:texts AS text[])) AS said")

    def listen(self, heard: Callable[[str], None]) -> None:
        threading.Thread(target=self._hear, args=(heard,), name="cometbot-notices", daemon=True).start()

    def tell(self, text: str) -> None:
        try:
            self._texts.put_nowait(f"{self._token}:{text}")
        except queue.Full:
            return
        if self._teller is None:
            with self._guard:
                if self._teller is None:
                    self._teller = threading.Thread(target=self._tell_all, name="cometbot-telling", daemon=True)
                    self._teller.start()

    def _tell_all(self) -> None:
        texts: list[str] = []
        while _END not in texts:
            texts = [self._texts.get()]
            while not self._texts.empty() and len(texts) < _TOGETHER:
                texts.append(self._texts.get())
            try:
                self._tell_now([text for text in texts if text != _END])
            except (StoreBusy, sa.exc.DatabaseError) as error:
                log.debug("could not tell other processes what happened: %s", error)

    def _tell_now(self, texts: list[str]) -> None:
        if not texts:
            return
        with self._database.write(durable=False) as connection:
            connection.execute(self._notify, {"channel": self._channel, "texts": texts})

    def _hear(self, heard: Callable[[str], None]) -> None:
        while not self._ended.is_set():
            try:
                self._hear_until_broken(heard)
            except psycopg.Error as error:
                log.info("cannot hear other processes until the database is back: %s", type(error).__name__)
                self._ended.wait(_RETRY)

    def _hear_until_broken(self, heard: Callable[[str], None]) -> None:
        with psycopg.connect(self._database.shared_url, autocommit=True, **CONNECT_OPTIONS) as connection:
            connection.execute(f"LISTEN {self._channel}")
            heard("")  # what was told before is missed
            while not self._ended.is_set():
                for notice in connection.notifies(timeout=_LOOK):
                    self._pass_on(notice.payload, heard)

    def _pass_on(self, payload: str, heard: Callable[[str], None]) -> None:
        """Let the text be heard, unless it was told in this process."""
        token, _, text = payload.partition(":")
        if token != self._token:
            heard(text)

    def close(self) -> None:
        self._ended.set()
        with suppress(queue.Full):
            self._texts.put_nowait(_END)
        if self._teller is not None:
            self._teller.join(2)
