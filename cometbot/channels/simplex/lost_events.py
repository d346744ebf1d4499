"""Events that the SimpleX CLI gave to another client."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from cometbot.channels.simplex.settling import SETTLING

_log = logging.getLogger(__name__)

ENOUGH = 3
"""Events that have to be lost before another client is the likely cause."""


class LostEvents:
    """Compares the items whose events came with those that had to be fetched.

    The CLI gives each event to one of its clients. For :data:`SETTLING` seconds that may be a connection of ours that
    broke before, so what is lost until then says nothing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._settled_at = 0.0
        self._found: set[int] = set()
        self._heard = 0
        self._counts = self._is_reported = False

    def begin(self) -> None:
        """Start anew on a new connection."""
        with self._lock:
            self._settled_at = self._clock() + SETTLING
            self._found.clear()
            self._counts = self._is_reported = False

    def add_heard(self, item_id: int) -> None:
        """Record an item whose event came."""
        with self._lock:
            self._heard = max(self._heard, item_id)
            self._found.discard(item_id)

    def add_found(self, item_id: int) -> None:
        """Record an item that was fetched although no event of it had come."""
        with self._lock:
            if self._counts:
                self._found.add(item_id)

    def report(self) -> None:
        """Log once a connection that another client takes events. Call this after each look for missed items."""
        with self._lock:
            if not self._counts:
                self._counts = self._clock() >= self._settled_at
                return
            # Later events came already, so these are not on their way any more.
            count = sum(item_id < self._heard for item_id in self._found)
            if count < ENOUGH or self._is_reported:
                return
            self._is_reported = True
        _log.warning(
            "%d events of SimpleX did not come: another client is connected to the SimpleX CLI and takes events, of "
            "which each goes to one client only. Disconnect it, or give it a CLI of its own.",
            count,
        )
