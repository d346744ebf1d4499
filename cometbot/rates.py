"""Rates: how often something may happen in a minute, an hour or a day."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cometbot.errors import RegistrationError

MAX_COUNT = 1_000_000
"""The highest number of a rate."""

_PATTERN = re.compile(r"([0-9]{1,7})/(minute|hour|day)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True, slots=True)
class Rate:
    """A number in each period of UTC: a ``minute``, an ``hour`` or a ``day``."""

    limit: int
    period: str

    @classmethod
    def parse(cls, text: object, name: str) -> Rate:
        """Return the rate written as ``text``, such as ``"20/minute"``.

        Raises :class:`RegistrationError`, with the option's ``name``, for others. The number is from 1 to
        :data:`MAX_COUNT`.
        """
        found = _PATTERN.fullmatch("".join(text.lower().split())) if isinstance(text, str) else None
        limit = int(found[1]) if found else 0
        if found is None or not 1 <= limit <= MAX_COUNT:
            raise RegistrationError(
                f'{name}: expected a number a period, such as "20/minute", "100/hour" or "500/day", got {text!r}'
            )
        return cls(limit, found[2])

    def window(self, now: float) -> RateWindow:
        """Return the period of the time ``now``, in Unix seconds."""
        seconds = _SECONDS[self.period]
        index = int(now // seconds)
        return RateWindow(f"{self.period}:{index}", float((index + 1) * seconds), float(seconds))


@dataclass(frozen=True, slots=True)
class RateWindow:
    """One period of a rate: its name, which no other one has, when the next one begins (Unix seconds), its length."""

    name: str
    ends_at: float
    seconds: float
