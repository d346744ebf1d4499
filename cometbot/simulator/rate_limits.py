"""CometChat's published rate limits: so many requests a minute for the whole app, in two groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from email.utils import formatdate

from cometbot.simulator.world import World

_MINUTE = 60


@dataclass(frozen=True, slots=True)
class RateLimitState:
    """What is left of this minute: ``reset_at`` in Unix time, ``retry_after`` in seconds, 0 for what may pass."""

    limit: int
    remaining: int
    reset_at: int
    retry_after: int

    def headers(self) -> dict[str, str]:
        """The headers that tell it: docs/protocols/cometchat.md, "Rate limits"."""
        headers = {"X-Rate-Limit": str(self.limit), "X-Rate-Limit-Remaining": str(self.remaining)}
        if self.retry_after:
            headers |= {"Retry-After": str(self.retry_after), "X-Rate-Limit-Reset": str(self.reset_at)}
        return headers


class RateLimits:
    """Counts requests by group and minute. Called with the world's lock held."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._used: dict[str, tuple[int, int]] = {}

    def count_request(self, group: str) -> RateLimitState:
        """What is left once this request was counted; with ``retry_after`` set it must be refused."""
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
    """Return the headers of an answer 429 that name the end of the wait in the way ``reset``."""
    ends_at = now + math.ceil(retry_after)
    headers = {
        "seconds": {"Retry-After": f"{retry_after:g}", "X-Rate-Limit-Reset": f"{ends_at:.0f}"},
        "milliseconds": {"X-Rate-Limit-Reset": f"{(now + retry_after) * 1000:.0f}"},
        "relative": {"X-Rate-Limit-Reset": f"{retry_after:g}"},
        "date": {"Retry-After": formatdate(ends_at, usegmt=True)},
        "past": {"Retry-After": formatdate(now - _MINUTE, usegmt=True)},
    }
    return {"X-Rate-Limit-Remaining": "0", **headers.get(reset, {})}
