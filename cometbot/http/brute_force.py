"""Slows down clients that guess a secret."""

from __future__ import annotations

import time
from collections.abc import Callable

from cometbot.http.rate_limiter import RateLimiter

MAX_FAILURES_PER_ADDRESS = 30
MAX_FAILURES_IN_ALL = 300
_MINUTE = 60.0
_ALL_KEY = ""


class BruteForceGuard:
    """Counts wrong keys, by address and for all addresses together, in this process only.

    A key from an address without wrong keys is always compared, so that no client is locked out by others' requests. An
    address that sent 30 wrong keys within a minute must wait before its next key is compared. While all addresses
    together have sent 300, this applies to each address that sent any.
    """

    def __init__(
        self,
        per_address: int = MAX_FAILURES_PER_ADDRESS,
        in_all: int = MAX_FAILURES_IN_ALL,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_address = RateLimiter(per_address, _MINUTE, clock=clock)
        self._in_all = RateLimiter(in_all, _MINUTE, clock=clock)

    def get_wait(self, address: str) -> float:
        """Return the seconds until a key from ``address`` is compared, 0 if it is now."""
        own = self._per_address.get_wait(address)
        if own > 0 or not self._per_address.is_in_use(address):
            return own
        return self._in_all.get_wait(_ALL_KEY)

    def count_failure(self, address: str) -> None:
        """Count a wrong key from ``address``."""
        self._per_address.acquire(address)
        self._in_all.acquire(_ALL_KEY)
