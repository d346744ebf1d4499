"""Rate limits with one token bucket for each key, and a guard that slows down clients that guess a secret."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cometbot.http.errors import too_many_requests

MAX_FAILURES_PER_ADDRESS = 30
MAX_FAILURES_IN_ALL = 300

_MINUTE = 60.0
_ALL_KEY = ""
_SWEEP_THRESHOLD = 1024


@dataclass(slots=True)
class _Bucket:
    tokens: float
    updated_at: float


class RateLimiter:
    """Token buckets: ``limit`` actions within ``period`` seconds for each key, counted in this process only.

    A bucket refills evenly. A key without an action for ``period`` may perform all ``limit`` at once. Full buckets are
    deleted from time to time. There are never more than ``max_keys`` buckets: if a new one is needed, the bucket that
    was used least recently is deleted, and its key starts again with a full one. A limit of 0 allows everything.
    """

    def __init__(
        self, limit: int, period: float, *, max_keys: int = 100_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._period = period
        self._max_keys = max_keys
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}
        self._swept_at = clock()

    def acquire(self, key: str, count: int = 1) -> float:
        """Count ``count`` actions of ``key`` and return 0, or return the seconds until they are allowed."""
        if self._limit <= 0:
            return 0.0
        with self._lock:
            now = self._clock()
            self._sweep(now)
            bucket = self._buckets.pop(key, None) or _Bucket(self._limit, now)
            self._buckets[key] = bucket
            bucket.tokens = min(self._limit, bucket.tokens + (now - bucket.updated_at) * self._limit / self._period)
            bucket.updated_at = now
            missing = min(count, self._limit) - bucket.tokens
            if missing > 1e-9:
                return missing * self._period / self._limit
            bucket.tokens -= count
            return 0.0

    def check(self, key: str, what: str) -> None:
        """Count one action of ``key``. Raises :class:`HttpError` (429, ``what`` as text) if it is not allowed."""
        if (wait := self.acquire(key)) > 0:
            raise too_many_requests(what, wait)

    def get_wait(self, key: str) -> float:
        """Return the seconds until one more action of ``key`` is allowed, like :meth:`acquire`, but count nothing."""
        return max(0.0, (1 - self._get_tokens(key)) * self._period / self._limit) if self._limit > 0 else 0.0

    def is_in_use(self, key: str) -> bool:
        """Return whether the bucket of ``key`` is not full."""
        return self._get_tokens(key) < self._limit

    def _get_tokens(self, key: str) -> float:
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                return self._limit
            return bucket.tokens + (self._clock() - bucket.updated_at) * self._limit / self._period

    def _sweep(self, now: float) -> None:
        """Delete full buckets at intervals, and the least recently used one if there are too many."""
        if len(self._buckets) > _SWEEP_THRESHOLD and now - self._swept_at > self._period:
            self._swept_at = now
            self._buckets = {key: item for key, item in self._buckets.items() if now - item.updated_at < self._period}
        while len(self._buckets) >= self._max_keys:
            del self._buckets[next(iter(self._buckets))]


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
