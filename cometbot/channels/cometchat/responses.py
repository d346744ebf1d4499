"""Parses CometChat's REST responses: envelopes, typed errors, rate limit headers. No I/O."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cometbot.channels.cometchat.raw_payloads import find_id
from cometbot.errors import (
    AuthenticationFailed,
    ChannelError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
)
from cometbot.http.responses import (
    UNAVAILABLE_STATUSES,
    HttpResponse,
    describe_refusal,
    error_for_status,
    parse_number,
    parse_retry_after,
    redact,
)

_SERVER_ERROR_CODES = frozenset(
    {"ERR_OPERATION_FAILED", "ERR_MISSION_FAILED", "ERR_EXCEPTION", "ERR_BAD_ERROR_RESPONSE"}
)
_UNKNOWN_TOKEN_CODE = "AUTH_ERR_AUTH_TOKEN_NOT_FOUND"
"""The token in the path, that of a user, does not exist; the API key is valid."""

_LIMIT_HEADERS = ("x-rate-limit", "x-rate-limit-limit", "x-ratelimit-limit", "x-ratelimit")
_REMAINING_HEADERS = ("x-rate-limit-remaining", "x-ratelimit-remaining")
_SECRET_FIELDS = frozenset({"password", "authtoken", "apikey", "secret", "headers"})


class Record(dict[str, Any]):
    """An object in a response.

    Its repr masks passwords, tokens and the headers for agents, which CometChat returns in clear text.
    """

    def __repr__(self) -> str:
        return repr(_mask(dict(self)))


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
        numbers: dict[str, int] = {}
        for name, value in headers.items():
            number = parse_number(value) if name.lower() in _LIMIT_HEADERS + _REMAINING_HEADERS else None
            if number is not None:
                numbers[name.lower()] = int(number)
        return cls(_first(numbers, _LIMIT_HEADERS), _first(numbers, _REMAINING_HEADERS), now) if numbers else None


def read_error(envelope: Mapping[str, Any]) -> tuple[str, str, Any]:
    """Return the code, message and details of the error in an envelope; empty if there is none."""
    error = envelope.get("error")
    error = error if isinstance(error, dict) else {}
    code, message = (text if isinstance(text := error.get(name), str) else "" for name in ("code", "message"))
    return code, message, error.get("details")


def parse_envelope(answer: HttpResponse, what: str, secrets: Sequence[str] = ()) -> dict[str, Any]:
    """Return the envelope (``data``, ``meta``) of a successful response.

    Raises the matching subclass of :class:`ChannelError` for any other response. ``what`` names the request in the
    error's text; ``secrets`` are masked in CometChat's message.
    """
    envelope = answer.json()
    if 200 <= answer.status < 300:
        if "data" not in envelope and not answer.is_empty:
            raise OutcomeUnknown(
                f"{what}: the answer {answer.status} is not CometChat's JSON; check COMETCHAT_API_URL",
                status=answer.status,
            )
        return envelope
    raise error_from_response(answer, what, secrets)


def parse_plain(answer: HttpResponse, what: str, secrets: Sequence[str] = ()) -> dict[str, Any]:
    """Return a successful response without an envelope as one, with the body as ``data``.

    A response that does have an envelope is returned as it is. Raises like :func:`parse_envelope`.
    """
    if not 200 <= answer.status < 300:
        raise error_from_response(answer, what, secrets)
    body = answer.value()
    if body is None and not answer.is_empty:
        raise OutcomeUnknown(
            f"{what}: the answer {answer.status} is not CometChat's JSON; check COMETCHAT_API_URL", status=answer.status
        )
    return body if isinstance(body, dict) and "data" in body else {"data": body}


def find_secrets(body: Mapping[str, Any]) -> list[str]:
    """Return the texts in a request's body that no error may show: a bot's password, and an agent's headers."""
    password, meta = body.get("password"), body.get("integrationMeta")
    headers = meta.get("headers") if isinstance(meta, Mapping) else None
    values = [text for text in headers.values() if isinstance(text, str)] if isinstance(headers, Mapping) else []
    tokens = [text.partition(" ")[2] for text in values]
    return [password, *values, *tokens] if isinstance(password, str) else [*values, *tokens]


def get_message_id(record: Mapping[str, object]) -> str:
    """Return the id of a message. Raises :class:`OutcomeUnknown` if it has no valid one."""
    message_id = find_id(record.get("id"))
    if not message_id:
        raise OutcomeUnknown("CometChat answered without a message id")
    return message_id


def error_from_response(answer: HttpResponse, what: str, secrets: Sequence[str] = ()) -> ChannelError:
    """Return the error of a response, classified by CometChat's own code first, then by the HTTP status."""
    code, message, given_details = read_error(answer.json())
    text = describe_refusal(what, answer.status, code, message, secrets)
    details = _details(given_details, secrets)
    if not code or answer.status == 429:
        return error_for_status(answer, text, details=details)
    if code == "ERR_TOO_MANY_REQUESTS":
        return RateLimited(text, retry_after=parse_retry_after(answer.headers, time.time()))
    kind = None if answer.status == 408 else _error_class(code, answer.status)
    if kind is None:
        return OutcomeUnknown(text, down=answer.status in UNAVAILABLE_STATUSES, status=answer.status)
    return kind(text, code=code, status=answer.status, details=details)


def _mask(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "***" if name.lower() in _SECRET_FIELDS else _mask(item) for name, item in value.items()}
    return [_mask(item) for item in value] if isinstance(value, list) else value


def _error_class(code: str, status: int) -> type[Rejected] | None:
    """Return the class of an error with CometChat's ``code``, or None for a temporary error of its server."""
    if code in _SERVER_ERROR_CODES or code.startswith("ERR_WS_"):
        return None
    if code.startswith(("AUTH_ERR_", "ERR_APIKEY_")) and code != _UNKNOWN_TOKEN_CODE:
        return AuthenticationFailed
    if code.endswith("_NOT_FOUND"):
        return NotFound
    # A code for a client error counts even with a 5xx; all others are temporary errors of the server.
    is_clear = status < 500 or code.startswith(("ERR_BAD_REQUEST", "ERR_EMPTY_", "ERR_INVALID_"))
    return Rejected if is_clear else None


def _details(details: object, secrets: Sequence[str]) -> dict[str, list[str]]:
    if not isinstance(details, dict):
        return {}
    listed = {str(name): texts if isinstance(texts, list) else [texts] for name, texts in details.items()}
    return {name: [redact(str(text), secrets) for text in texts] for name, texts in listed.items()}


def _first(numbers: Mapping[str, int], names: Sequence[str]) -> int | None:
    return next((numbers[name] for name in names if name in numbers), None)
