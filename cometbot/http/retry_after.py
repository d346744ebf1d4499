"""Parses from a 429 response how long to wait before the next request. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

DEFAULT_RETRY_AFTER = 10.0
MAX_RETRY_AFTER = 3600.0

_HEADER_NAMES = ("retry-after", "x-rate-limit-reset", "x-ratelimit-reset", "ratelimit-reset")
_DAY = 86_400.0
_FIRST_UNIX_TIME = 1e9
"""The least number that always counts as a Unix time, whatever the clock's value: September 2001."""
_UNIX_TIME_SCALES = (1.0, 1e3, 1e6)
"""Units per second in which servers write Unix times: seconds, milliseconds, microseconds."""


def parse_retry_after(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds to wait, from 0 to an hour.

    ``Retry-After`` is read first, then the headers with a time of reset; the first wait above 0 counts. Each may
    contain seconds from now, a Unix time (in seconds, milliseconds or microseconds), or a date. Times are compared with
    the server's clock if the response has a ``Date`` header, else with ``now``, a Unix time. An invalid value counts as
    absent; if none is valid, the result is 10.
    """
    named = {name.lower(): value.strip() for name, value in headers.items()}
    date = _parse_date(named.get("date", ""))
    waits = [_parse_wait(name, named.get(name, ""), now if date is None else date) for name in _HEADER_NAMES]
    known = [wait for wait in waits if wait is not None]
    if not known:
        return DEFAULT_RETRY_AFTER
    return min(next((wait for wait in known if wait > 0), 0.0), MAX_RETRY_AFTER)


def _parse_wait(name: str, value: str, now: float) -> float | None:
    number = _parse_number(value)
    if number is None:
        date = _parse_date(value)
        return None if date is None else max(date - now, 0.0)
    if number <= _DAY:
        return number
    times = (number / scale for scale in _UNIX_TIME_SCALES)
    # Only Retry-After is certain to count seconds; a time of reset may come from a wrong clock.
    far = number if name == "retry-after" and number < _FIRST_UNIX_TIME else None
    return next((max(at - now, 0.0) for at in times if abs(at - now) <= _DAY), far)


def _parse_number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _parse_date(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
