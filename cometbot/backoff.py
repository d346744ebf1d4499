"""The wait between attempts, which grows with each failure."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """The wait before the n-th retry.

    It doubles from ``initial`` to ``maximum`` seconds; up to the fraction ``jitter`` of it is added at random.
    """

    initial: float = 0.5
    maximum: float = 300.0
    jitter: float = 0.25

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after this number of failures in a row."""
        wait = min(self.maximum, self.initial * 2.0 ** min(failures, 30))
        return wait * (1 + self.jitter * random.random())
