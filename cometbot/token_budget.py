"""Token budgets: how many tokens of models a user of a bot may use in an hour, a day, a week or a month."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from cometbot.errors import RegistrationError

MAX_TOKENS = 10**12
"""The most tokens of a budget, and of one call of a model."""

PERIODS = ("hour", "day", "week", "month")

_PATTERN = re.compile(r"([0-9]{1,13}(?:\.[0-9]{1,6})?)([km]?)/([a-z]+)")
_UNITS = {"": 1, "k": 1000, "m": 1_000_000}


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """A user's tokens in each period of UTC: an ``hour``, a ``day``, a ``week`` from Monday, or a ``month``."""

    limit: int
    period: str

    @classmethod
    def parse(cls, text: object) -> TokenBudget:
        """Return the budget written as ``text``, such as ``"200k/day"``. Raises :class:`RegistrationError` for others.

        It has from 1 to :data:`MAX_TOKENS` tokens.
        """
        found = _PATTERN.fullmatch("".join(text.lower().split())) if isinstance(text, str) else None
        limit = Decimal(found[1]) * _UNITS[found[2]] if found else Decimal(0)
        if found is None or found[3] not in PERIODS or limit % 1 or not 1 <= limit <= MAX_TOKENS:
            raise RegistrationError(
                'token_budget: expected whole tokens a period, such as "200k/day", "1.5M/month" or "5000/hour" '
                f"({', '.join(PERIODS)}; k is 1,000 and M 1,000,000), got {text!r}"
            )
        return cls(int(limit), found[3])

    def window(self, now: float) -> Window:
        """Return the period of the time ``now``, in Unix seconds."""
        start, end = _find_bounds(self.period, datetime.fromtimestamp(now, timezone.utc))
        return Window(f"{self.period}:{start:%Y-%m-%dT%H}", end)


@dataclass(frozen=True, slots=True)
class Window:
    """One period of a budget: its name, which no other one has, and the time when the next one begins."""

    name: str
    ends_at: datetime

    def seconds_left(self, now: float) -> float:
        """Return the seconds from ``now`` to its end."""
        return self.ends_at.timestamp() - now


def describe_seconds(seconds: float) -> str:
    """Return a time ahead for users, rounded up: ``in 5 hours``."""
    minutes = max(1, math.ceil(seconds / 60))
    hours = math.ceil(minutes / 60)
    if minutes < 60:
        number, unit = minutes, "minute"
    else:
        number, unit = (hours, "hour") if hours < 48 else (math.ceil(hours / 24), "day")
    return f"in {number} {unit}{'' if number == 1 else 's'}"


def _find_bounds(period: str, now: datetime) -> tuple[datetime, datetime]:
    hour = now.replace(minute=0, second=0, microsecond=0)
    if period == "hour":
        return hour, hour + timedelta(hours=1)
    day = hour.replace(hour=0)
    if period == "day":
        return day, day + timedelta(days=1)
    if period == "week":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)
