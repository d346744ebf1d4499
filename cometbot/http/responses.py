"""Responses of other servers: their JSON, the error that a status stands for, and how long to wait. No I/O."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from cometbot.errors import AuthenticationFailed, ChannelError, NotFound, OutcomeUnknown, RateLimited, Rejected
from cometbot.text import replace_surrogates

DEFAULT_RETRY_AFTER = 10.0
MAX_RETRY_AFTER = 3600.0
UNAVAILABLE_STATUSES = frozenset({502, 503, 504})
"""The statuses with which a proxy or a whole platform says that it is down."""

_CLASSES: Mapping[int, type[Rejected]] = {
    401: AuthenticationFailed,
    403: AuthenticationFailed,
    404: NotFound,
    410: NotFound,
}
_RETRY_HEADERS = ("retry-after", "x-rate-limit-reset", "x-ratelimit-reset", "ratelimit-reset")
_MAX_ERROR_LENGTH = 500
_DAY = 86_400.0
_FIRST_UNIX_TIME = 1e9
"""The least number that always counts as a Unix time, whatever the clock's value: September 2001."""
_UNIX_TIME_SCALES = (1.0, 1e3, 1e6)
"""Units per second in which servers write Unix times: seconds, milliseconds, microseconds."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An HTTP response with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_empty(self) -> bool:
        """True if the response declares that it has no body; a truncated response may lack one without that."""
        lowercased = {name.lower(): value for name, value in self.headers.items()}
        return self.status == 204 or lowercased.get("content-length") == "0"

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body, with U+FFFD for lone surrogates; empty if there is none."""
        value = self.value()
        return value if isinstance(value, dict) else {}

    def value(self) -> Any:
        """Return the JSON value in the body, with U+FFFD for lone surrogates; None if there is none."""
        try:
            return orjson.loads(self.body)
        except ValueError:  # orjson refuses lone surrogates, which any message in a history may contain
            try:
                return replace_surrogates(json.loads(self.body))
            except (ValueError, RecursionError):
                return None


def error_for_status(
    response: HttpResponse, text: str, *, code: str = "", details: Mapping[str, Sequence[str]] | None = None
) -> ChannelError:
    """Return the error that the status of a refused request stands for.

    :class:`RateLimited` for 429, with the wait that the headers ask for; :class:`OutcomeUnknown` for 5xx and 408;
    :class:`Rejected` or a subclass for any other status.
    """
    status = response.status
    if status == 429:
        return RateLimited(text, retry_after=parse_retry_after(response.headers, time.time()))
    if status >= 500 or status == 408:
        return OutcomeUnknown(text, down=status in UNAVAILABLE_STATUSES, status=status)
    return _CLASSES.get(status, Rejected)(text, code=code, status=status, details=details)


def describe_refusal(request_name: str, status: int, code: str, message: str, secrets: Sequence[str] = ()) -> str:
    """Return the text of the error for a refused request, like :func:`redact`."""
    return redact(": ".join(filter(None, (request_name, f"{status} {code}".strip(), message))), secrets)


def redact(text: str, secrets: Sequence[str]) -> str:
    """Return ``text``, of at most 500 characters, with ``***`` in place of ``secrets``, which a server may echo."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text if len(text) <= _MAX_ERROR_LENGTH else text[: _MAX_ERROR_LENGTH - 1] + "…"


def parse_retry_after(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds to wait before the next request, from 0 to an hour.

    ``Retry-After`` is read first, then the headers with a time of reset; the first wait above 0 counts. Each may
    contain seconds from now, a Unix time (in seconds, milliseconds or microseconds), or a date. Times are compared with
    the server's clock if the response has a ``Date`` header, else with ``now``, a Unix time. An invalid value counts as
    absent; if none is valid, the result is 10.
    """
    named = {name.lower(): value.strip() for name, value in headers.items()}
    date = _parse_date(named.get("date", ""))
    waits = [_parse_wait(name, named.get(name, ""), now if date is None else date) for name in _RETRY_HEADERS]
    known = [wait for wait in waits if wait is not None]
    if not known:
        return DEFAULT_RETRY_AFTER
    return min(next((wait for wait in known if wait > 0), 0.0), MAX_RETRY_AFTER)


def parse_number(value: str) -> float | None:
    """Return the number in a header, or None if it is negative, infinite or no number."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def _parse_wait(name: str, value: str, now: float) -> float | None:
    number = parse_number(value)
    if number is None:
        date = _parse_date(value)
        return None if date is None else max(date - now, 0.0)
    if number <= _DAY:
        return number
    times = (number / scale for scale in _UNIX_TIME_SCALES)
    # Only Retry-After is certain to count seconds; a time of reset may come from a wrong clock.
    far = number if name == "retry-after" and number < _FIRST_UNIX_TIME else None
    return next((max(at - now, 0.0) for at in times if abs(at - now) <= _DAY), far)


def _parse_date(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
