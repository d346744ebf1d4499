"""CometChat's published rate limits: requests per minute for the whole app, in two groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from email.utils import formatdate

from cometbot.simulator.world import World

_MINUTE = 60


@dataclass(frozen=True, slots=True)
class RateLimitState:
    """The remaining quota of this minute.

    ``reset_at`` is in Unix time. ``retry_after`` is in seconds, 0 if the request may pass.
    """

    limit: int
    remaining: int
    reset_at: int
    retry_after: int

    def headers(self) -> dict[str, str]:
        """Return the rate limit headers: docs/protocols/cometchat.md, "Rate limits"."""
        headers = {"X-Rate-Limit": str(self.limit), "X-Rate-Limit-Remaining": str(self.remaining)}
        if self.retry_after:
            headers |= {"Retry-After": str(self.retry_after), "X-Rate-Limit-Reset": str(self.reset_at)}
        return headers


class RateLimits:
    """Counts requests by group and minute. Must be called with the world's lock held."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._used: dict[str, tuple[int, int]] = {}

    def count_request(self, group: str) -> RateLimitState:
        """Count a request and return the remaining quota. The request must be refused if ``retry_after`` is set."""
        now = self._world.clock()
        minute = int(now // _MINUTE)
        counted, used = self._used.get(group, (minute, 0))
        used = used + 1 if counted == minute else 1
        limit = self._limit(group)
        reset_at = (minute + 1) * _MINUTE
        if used > limit:
            return RateLimitState(limit, 0, reset_at, max(1, math.ceil(reset_at - now)))
        self._used[group] = (minute, used)
        return RateLimitState(limit, limit - used, reset_at, 0)

    def _limit(self, group: str) -> int:
        return self._world.behaviour.core_limit if group == "core" else self._world.behaviour.standard_limit


def rate_limit_headers(retry_after: float, reset: str, now: float) -> dict[str, str]:
    """Return the headers of a 429 that give the time to wait in the format ``reset``, one of ``RESETS``."""
    ends_at = now + math.ceil(retry_after)
    headers = {
        "seconds": {"Retry-After": f"{retry_after:g}", "X-Rate-Limit-Reset": f"{ends_at:.0f}"},
        "milliseconds": {"X-Rate-Limit-Reset": f"{(now + retry_after) * 1000:.0f}"},
        "relative": {"X-Rate-Limit-Reset": f"{retry_after:g}"},
        "date": {"Retry-After": formatdate(ends_at, usegmt=True)},
        "past": {"Retry-After": formatdate(now - _MINUTE, usegmt=True)},
    }
    return {"X-Rate-Limit-Remaining": "0", **headers.get(reset, {})}
