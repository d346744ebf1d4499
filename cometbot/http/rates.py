"""How often somebody may do something."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_FEW = 1024


@dataclass(slots=True)
class _Bucket:
    left: float
    seen: float


class Rates:
    """So many times within so many seconds for each key, evenly filled up again; counted in this process alone.

    Who has rested for ``seconds`` may do all ``limit`` at once. Keys that are full again are forgotten, and there are
    never more than ``most``: where so many are at work at once, the one that was seen first begins anew. A limit of 0
    lets everything pass.
    """

    def __init__(
        self, limit: int, seconds: float, *, most: int = 100_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._guard = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}
        self._swept = clock()

    def wait(self, key: str, times: int = 1) -> float:
        """Seconds until ``key`` may do it ``times`` times; 0 if it may now, which is then counted."""
        if self._limit <= 0:
            return 0.0
        with self._guard:
            now = self._clock()
            self._sweep(now)
            bucket = self._buckets.pop(key, None) or _Bucket(self._limit, now)
            self._buckets[key] = bucket
            bucket.left = min(self._limit, bucket.left + (now - bucket.seen) * self._limit / self._seconds)
            bucket.seen = now
            missing = min(times, self._limit) - bucket.left
            if missing > 1e-9:
                return missing * self._seconds / self._limit
            bucket.left -= times
            return 0.0

    def peek(self, key: str) -> float:
        """As :meth:`wait` for once more, but nothing is counted."""
        with self._guard:
            bucket = self._buckets.get(key)
            if bucket is None or self._limit <= 0:
                return 0.0
            left = bucket.left + (self._clock() - bucket.seen) * self._limit / self._seconds
            return max(0.0, (1 - left) * self._seconds / self._limit)

    def has_used(self, key: str) -> bool:
        """Return whether ``key`` did anything that is not made up for yet."""
        with self._guard:
            bucket = self._buckets.get(key)
            if bucket is None or self._limit <= 0:
                return False
            return bucket.left + (self._clock() - bucket.seen) * self._limit / self._seconds < self._limit

    def _sweep(self, now: float) -> None:
        """Forget who is full again, from time to time, and the first if there are too many."""
        if len(self._buckets) > _FEW and now - self._swept > self._seconds:
            self._swept = now
            self._buckets = {key: item for key, item in self._buckets.items() if now - item.seen < self._seconds}
        while len(self._buckets) >= self._most:
            del self._buckets[next(iter(self._buckets))]
