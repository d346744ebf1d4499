"""Detects events that the SimpleX CLI sent to another client."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from cometbot.channels.simplex.recovery import RECOVERY_PERIOD

_log = logging.getLogger(__name__)

LOST_EVENT_THRESHOLD = 3
"""Lost events after which another client is the likely cause."""


class LostEventDetector:
    """Compares the items whose events arrived with those that had to be fetched.

    The CLI sends each event to one of its clients. For :data:`RECOVERY_PERIOD` seconds that may be our own earlier
    connection that broke, so events lost until then are not counted.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counting_from = 0.0
        self._fetched: set[int] = set()
        self._newest_delivered = 0
        self._is_counting = self._is_reported = False

    def reset(self) -> None:
        """Start counting anew on a new connection."""
        with self._lock:
            self._counting_from = self._clock() + RECOVERY_PERIOD
            self._fetched.clear()
            self._is_counting = self._is_reported = False

    def add_delivered(self, item_id: int) -> None:
        """Record an item whose event arrived."""
        with self._lock:
            self._newest_delivered = max(self._newest_delivered, item_id)
            self._fetched.discard(item_id)

    def add_fetched(self, item_id: int) -> None:
        """Record an item that was fetched although its event had not arrived."""
        with self._lock:
            if self._is_counting:
                self._fetched.add(item_id)

    def log_lost_events(self) -> None:
        """Log once per connection that another client receives events. Call this after each check for missed items."""
        with self._lock:
            if not self._is_counting:
                self._is_counting = self._clock() >= self._counting_from
                return
            # Events of later items have arrived, so these are no longer on their way.
            count = sum(item_id < self._newest_delivered for item_id in self._fetched)
            if count < LOST_EVENT_THRESHOLD or self._is_reported:
                return
            self._is_reported = True
        _log.warning(
            "%d events of SimpleX did not come: another client is connected to the SimpleX CLI and takes events, of "
            "which each goes to one client only. Disconnect it, or give it a CLI of its own.",
            count,
        )
