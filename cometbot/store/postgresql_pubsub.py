"""Publish and subscribe between processes on any number of machines, by PostgreSQL's ``LISTEN`` and ``NOTIFY``."""

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
from cometbot.store.database import Database
from cometbot.store.postgresql import CONNECT_OPTIONS
from cometbot.store.pubsub import PubSub

log = logging.getLogger(__name__)

_QUEUE_LIMIT = 10_000
_BATCH_LIMIT = 100
_POLL_INTERVAL = 1.0
_RECONNECT_INTERVAL = 1.0
_STOP = ""


class PostgreSQLPubSub(PubSub):
    """Listens on its own connection outside of the pools, and publishes in its own thread, so that no request waits.

    Behind pgbouncer the connection must use session pooling: transaction pooling loses the ``LISTEN``.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._channel = f"cometbot_{name}"
        self._token = secrets.token_hex(4)
        self._queue: queue.Queue[str] = queue.Queue(_QUEUE_LIMIT)
        self._lock = threading.Lock()
        self._publisher: threading.Thread | None = None
        self._closed = threading.Event()
        self._notify = sa.text("SELECT pg_notify(:channel, said) FROM unnest(CAST(:texts AS text[])) AS said")

    def subscribe(self, callback: Callable[[str], None]) -> None:
        threading.Thread(target=self._listen_forever, args=(callback,), name="cometbot-listen", daemon=True).start()

    def publish(self, text: str) -> None:
        try:
            self._queue.put_nowait(f"{self._token}:{text}")
        except queue.Full:
            return
        if self._publisher is None:
            with self._lock:
                if self._publisher is None:
                    self._publisher = threading.Thread(
                        target=self._publish_queued, name="cometbot-publish", daemon=True
                    )
                    self._publisher.start()

    def _publish_queued(self) -> None:
        texts: list[str] = []
        while _STOP not in texts:
            texts = [self._queue.get()]
            while not self._queue.empty() and len(texts) < _BATCH_LIMIT:
                texts.append(self._queue.get())
            try:
                self._publish_batch([text for text in texts if text != _STOP])
            except (StoreBusy, sa.exc.DatabaseError) as error:
                log.debug("cannot notify other processes: %s", error)

    def _publish_batch(self, texts: list[str]) -> None:
        if not texts:
            return
        with self._database.write(durable=False) as connection:
            connection.execute(self._notify, {"channel": self._channel, "texts": texts})

    def _listen_forever(self, callback: Callable[[str], None]) -> None:
        while not self._closed.is_set():
            try:
                self._listen_until_disconnected(callback)
            except psycopg.Error as error:
                log.info("cannot listen to other processes: %s. Trying again every second.", type(error).__name__)
                self._closed.wait(_RECONNECT_INTERVAL)

    def _listen_until_disconnected(self, callback: Callable[[str], None]) -> None:
        with psycopg.connect(self._database.server_url, autocommit=True, **CONNECT_OPTIONS) as connection:
            connection.execute(f"LISTEN {self._channel}")
            callback("")  # texts published before this point are missed
            while not self._closed.is_set():
                for notice in connection.notifies(timeout=_POLL_INTERVAL):
                    self._dispatch(notice.payload, callback)

    def _dispatch(self, payload: str, callback: Callable[[str], None]) -> None:
        """Call ``callback`` with the text, unless this process published it."""
        token, _, text = payload.partition(":")
        if token != self._token:
            callback(text)

    def close(self) -> None:
        self._closed.set()
        with suppress(queue.Full):
            self._queue.put_nowait(_STOP)
        if self._publisher is not None:
            self._publisher.join(2)
