"""Durations that authors write: ``"90s"``, ``"2h"``, a number of seconds, or a ``timedelta``."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from cometbot.errors import BotError

Duration = str | int | float | timedelta

MAX_DURATION = 366 * 86400.0
"""The longest duration, in seconds."""

_PATTERN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([a-z]*)")
_UNITS = {
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
}


def to_seconds(value: Duration, name: str) -> float:
    """Return ``value`` in seconds. Raises :class:`BotError`, with ``name``, unless it is above 0 and a year at most."""
    seconds = _parse(value)
    if seconds is None or not 0 < seconds <= MAX_DURATION:
        raise BotError(
            f'{name}: expected a duration such as "90s", "2h" or timedelta(days=3), above 0 and at most a year; '
            f"got {value!r}"
        )
    return seconds


def _parse(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    found = _PATTERN.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    unit = _UNITS.get(found[2]) if found else None
    return float(found[1]) * unit if found and unit else None
