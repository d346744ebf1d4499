"""The storage quota for what users create: users, conversations, messages and events."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from cometbot.errors import StorageFull
from cometbot.store.database import Database

_MEASURE_INTERVAL = 1.0
_LOG_INTERVAL = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageLimits:
    """The bytes that all files together and the database may have, and those that must stay free on their disks.

    A limit of 0 for the database is no limit.
    """

    files: int = 10 * 1024**3
    database: int = 10 * 1024**3
    min_free: int = 256 * 1024**2


class StorageQuota:
    """Refuses writes of users once the database has reached its limit, or its disk is nearly full.

    Strangers can sign up, so limits for each user do not bound the total. Messages of bots, deletions and delivery are
    never refused here. Each process measures the database once a second.
    """

    def __init__(self, database: Database, limits: StorageLimits) -> None:
        self._database = database
        self._max_size = limits.database
        self._min_free = limits.min_free
        self._problem = ""
        self._measured_at = self._logged_at = float("-inf")

    def check(self, connection: Connection) -> None:
        """Raise :class:`StorageFull` if users may store nothing more, and log an ERROR once a minute."""
        now = time.monotonic()
        if now - self._measured_at >= _MEASURE_INTERVAL:
            self._measured_at, self._problem = now, self._measure(connection)
        if not self._problem:
            return
        if now - self._logged_at >= _LOG_INTERVAL:
            self._logged_at = now
            _log.error("cannot store data of users: %s", self._problem)
        raise StorageFull(self._problem)

    def _measure(self, connection: Connection) -> str:
        free = self._database.free_space()
        if free is not None and free < self._min_free:
            return (
                f"the disk of the database: expected at least {self._min_free} bytes free, got {free}. "
                "Free space on the disk, or lower COMETBOT_FREE_SPACE."
            )
        if self._max_size and (size := self._database.size(connection)) >= self._max_size:
            return (
                f"the database: expected less than {self._max_size} bytes, got {size}. "
                "Delete users or chats, or raise COMETBOT_DATABASE_SIZE."
            )
        return ""
