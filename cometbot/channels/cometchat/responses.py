"""Parses CometChat's REST responses: envelopes, typed errors, rate limit headers. No I/O."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from cometbot.errors import (
    AuthenticationFailed,
    ChannelError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
)
from cometbot.http.retry_after import parse_retry_after
from cometbot.text import replace_surrogates

_MAX_ERROR_TEXT = 500
_SERVER_ERROR_CODES = frozenset(
    {"ERR_OPERATION_FAILED", "ERR_MISSION_FAILED", "ERR_EXCEPTION", "ERR_BAD_ERROR_RESPONSE"}
)
_UNAVAILABLE_STATUSES = frozenset({502, 503, 504})
_SECRET_FIELDS = frozenset({"password", "authtoken", "apikey", "secret"})


class Record(dict[str, Any]):
    """An object in a response. Its repr masks passwords and tokens, which CometChat returns in clear text."""

    def __repr__(self) -> str:
        return repr({name: "***" if name.lower() in _SECRET_FIELDS else value for name, value in self.items()})


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """The app's limit of requests per minute and the rest of it, as of a response; None for an absent value.

    ``measured_at`` is Unix time.
    """

    limit: int | None = None
    remaining: int | None = None
    measured_at: float = 0.0

    @classmethod
    def from_headers(cls, headers: Mapping[str, str], now: float) -> RateLimitStatus | None:
        """Return the status in a response's headers, in any of their spellings, or None if they contain none."""
        lowercased = {name.lower(): value for name, value in headers.items()}
        limit = _first_number(lowercased, "x-rate-limit", "x-rate-limit-limit", "x-ratelimit-limit", "x-ratelimit")
        remaining = _first_number(lowercased, "x-rate-limit-remaining", "x-ratelimit-remaining")
        if limit is None and remaining is None:
            return None
        return cls(limit, remaining, now)


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """An HTTP response with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_empty(self) -> bool:
        """True if the response declares that it has no body; a truncated response may lack one without that."""
        lowercased = {name.lower(): value for name, value in self.headers.items()}
        return self.status == 204 or lowercased.get("content-length") == "0"


def read_envelope(body: bytes) -> dict[str, Any]:
    """Return the JSON object in ``body``, with U+FFFD for lone surrogates; empty if there is none.

    It has ``data`` and ``meta``, or ``error``.
    """
    try:
        envelope = orjson.loads(body)
    except ValueError:  # orjson refuses lone surrogates, which any message in a history may contain
        try:
            envelope = replace_surrogates(json.loads(body))
        except (ValueError, RecursionError):
            return {}
    return envelope if isinstance(envelope, dict) else {}


def read_error(envelope: Mapping[str, Any]) -> tuple[str, str, Any]:
    """Return the code, message and details of the error in an envelope; empty if there is none."""
    error = envelope.get("error")
    error = error if isinstance(error, dict) else {}
    code, message = (text if isinstance(text := error.get(name), str) else "" for name in ("code", "message"))
    return code, message, error.get("details")


def parse_envelope(answer: ApiResponse, what: str, secrets: Sequence[str] = ()) -> dict[str, Any]:
    """Return the envelope (``data``, ``meta``) of a successful response.

    Raises the matching subclass of :class:`ChannelError` for any other response. ``what`` names the request in the
    error's text; ``secrets`` are masked in CometChat's message.
    """
    envelope = read_envelope(answer.body)
    if 200 <= answer.status < 300:
        if "data" not in envelope and not answer.is_empty:
            raise OutcomeUnknown(
                f"{what}: the answer {answer.status} is not CometChat's JSON; check COMETCHAT_API_URL",
                status=answer.status,
            )
        return envelope
    raise error_from_response(answer, what, secrets)


def error_from_response(answer: ApiResponse, what: str, secrets: Sequence[str] = ()) -> ChannelError:
    """Return the error of a response, classified by CometChat's own code first, then by the HTTP status."""
    code, message, details = read_error(read_envelope(answer.body))
    text = _redact(": ".join(part for part in (what, f"{answer.status} {code}".strip(), message) if part), secrets)
    if answer.status == 429 or code == "ERR_TOO_MANY_REQUESTS":
        return RateLimited(text, retry_after=parse_retry_after(answer.headers, time.time()))
    kind = _rejection_class(code, answer.status)
    if kind is None:
        return OutcomeUnknown(text, down=answer.status in _UNAVAILABLE_STATUSES, status=answer.status)
    return kind(text, code=code, status=answer.status, details=_details(details, secrets))


def _rejection_class(code: str, status: int) -> type[Rejected] | None:
    """Return the class of a refusal, or None for a temporary error of the server."""
    if code in _SERVER_ERROR_CODES or code.startswith("ERR_WS_") or status == 408:
        return None
    if code.startswith(("AUTH_ERR_", "ERR_APIKEY_")):
        return AuthenticationFailed
    if code.endswith("_NOT_FOUND"):
        return NotFound
    if status >= 500:
        # A code for a client error counts even with a 5xx; all others are temporary errors of the server.
        is_clear = code.startswith(("ERR_BAD_REQUEST", "ERR_EMPTY_", "ERR_INVALID_"))
        return Rejected if is_clear else None
    if code:
        return Rejected
    if status in (401, 403):
        return AuthenticationFailed
    return NotFound if status in (404, 410) else Rejected


def _details(details: object, secrets: Sequence[str]) -> dict[str, list[str]]:
    if not isinstance(details, dict):
        return {}
    listed = {str(name): texts if isinstance(texts, list) else [texts] for name, texts in details.items()}
    return {name: [_redact(str(text), secrets) for text in texts] for name, texts in listed.items()}


def _redact(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text if len(text) <= _MAX_ERROR_TEXT else text[: _MAX_ERROR_TEXT - 1] + "…"


def _first_number(lowercased: Mapping[str, str], *names: str) -> int | None:
    numbers = (_parse_number(lowercased[name]) for name in names if name in lowercased)
    return next((int(number) for number in numbers if number is not None), None)


def _parse_number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
