"""Reads from an answer 429 how long its sender wants us to wait. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

DEFAULT = 10.0
LONGEST = 3600.0

_NAMES = ("retry-after", "x-rate-limit-reset", "x-ratelimit-reset", "ratelimit-reset")
_DAY = 86_400.0
_FIRST_UNIX_TIME = 1e9
"""The least number that is taken for a Unix time whatever the clock says: September 2001."""
_SCALES = (1.0, 1e3, 1e6)
"""Parts of a second in which servers write Unix times: seconds, milliseconds, microseconds."""


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds to wait, from 0 to an hour.

    ``Retry-After`` is read first, then the headers that name a time of reset. Each may hold seconds from now, a Unix
    time (in seconds or parts of them), or a date. Times are compared with the server's own clock, where its ``Date``
    tells it, else with ``now``. A value that makes no sense counts as absent; without any the result is 10.
    """
    named = {name.lower(): value.strip() for name, value in headers.items()}
    date = _timestamp(named.get("date", ""))
    waits = [_wait(name, named.get(name, ""), now if date is None else date) for name in _NAMES]
    known = [wait for wait in waits if wait is not None]
    if not known:
        return DEFAULT
    return min(next((wait for wait in known if wait > 0), 0.0), LONGEST)


def _wait(name: str, value: str, now: float) -> float | None:
    number = _number(value)
    if number is None:
        date = _timestamp(value)
        return None if date is None else max(date - now, 0.0)
    if number <= _DAY:
        return number
    times = (number / scale for scale in _SCALES)
    # Only Retry-After is known to count seconds; a time of reset may come from a clock that is wrong.
    far = number if name == "retry-after" and number < _FIRST_UNIX_TIME else None
    return next((max(at - now, 0.0) for at in times if abs(at - now) <= _DAY), far)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _timestamp(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
