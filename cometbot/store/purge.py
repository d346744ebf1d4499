"""Deletion of old rows, by one process at a time and in short batches."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from time import monotonic, sleep

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.store.database import Database
from cometbot.store.tables import facts

PURGE_LEASE_TTL = 60.0
"""Seconds after which another process purges instead of one that has died."""

MIN_BATCH_ROWS, MAX_BATCH_ROWS = 10, 500
TARGET_BATCH_SECONDS = 0.01
"""Seconds that a batch should take on SQLite: callbacks wait for the write lock meanwhile."""

PAUSE_FACTOR = 3.0
"""Pause after a batch, as a multiple of its duration. On PostgreSQL, where no writer waits, the multiple is 1."""

DeleteBatch = Callable[[Connection, int], int]
"""Deletes at most the given number of rows in a transaction; returns their number."""


class Purge:
    """Deletes rows in batches, unless another process does.

    The name of the purge and its owner are stored in the table ``facts``; each batch renews the lease.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._name = f"purge.{name}"
        self._token = secrets.token_hex(8)
        self._run_lock = threading.Lock()
        self._blocks_writers = not database.server_url

    def run(self, *deletions: DeleteBatch) -> int:
        """Delete all old rows; return their number, or 0 if another thread or process is purging."""
        if not self._run_lock.acquire(blocking=False):
            return 0
        try:
            return self._run(deletions)
        finally:
            self._run_lock.release()

    def _run(self, deletions: tuple[DeleteBatch, ...]) -> int:
        with self._database.write(durable=False) as connection:
            if not self._acquire(connection):
                return 0
        try:
            return sum(self._delete(delete) for delete in deletions)
        finally:
            with self._database.write(durable=False) as connection:
                self._release(connection)

    def _delete(self, delete: DeleteBatch) -> int:
        limit, removed = MIN_BATCH_ROWS if self._blocks_writers else MAX_BATCH_ROWS, 0
        while True:
            with self._database.write(durable=False) as connection:
                started_at = monotonic()
                if not self._acquire(connection):
                    return removed
                count = delete(connection, limit)
            seconds = monotonic() - started_at
            removed += count
            if count < limit:
                return removed
            if self._blocks_writers:
                limit = next_batch_limit(limit, seconds)
            sleep(seconds * (PAUSE_FACTOR if self._blocks_writers else 1.0))

    @property
    def _owner(self) -> str:
        return f"{self._token}-{os.getpid()}"  # this object may have been created before a fork

    def _acquire(self, connection: Connection) -> bool:
        """Acquire or renew the lease; return False while another process holds it."""
        insert = self._database.insert(facts).values(name=self._name, value="")
        connection.execute(insert.on_conflict_do_nothing(index_elements=["name"]))
        own_row = facts.c.name == self._name
        value = str(connection.execute(sa.select(facts.c.value).where(own_row).with_for_update()).scalar_one())
        owner, _, expires_at = value.partition(" ")
        now = self._database.clock()
        # A lease from before a correction of the clock may seem to last for years.
        if owner not in ("", self._owner) and now < float(expires_at) <= now + PURGE_LEASE_TTL:
            return False
        connection.execute(sa.update(facts).where(own_row).values(value=f"{self._owner} {now + PURGE_LEASE_TTL!r}"))
        return True

    def _release(self, connection: Connection) -> None:
        own_row = (facts.c.name == self._name) & facts.c.value.startswith(f"{self._owner} ")
        connection.execute(sa.delete(facts).where(own_row))


def next_batch_limit(limit: int, seconds: float) -> int:
    """Return the limit of rows for the next batch, after one of ``limit`` rows that took ``seconds``."""
    fitting = int(limit * TARGET_BATCH_SECONDS / max(seconds, 1e-6))
    return max(MIN_BATCH_ROWS, min(MAX_BATCH_ROWS, 2 * limit, fitting))
