"""Parses responses and stream data of a Chat API: typed results, signals and errors. No I/O."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import orjson

from cometbot.channels.chat_api import schemas
from cometbot.channels.chat_api.models import Signal, UnknownSignal
from cometbot.errors import (
    ChannelError,
    OutcomeUnknown,
    PayloadError,
)
from cometbot.http.responses import HttpResponse, error_for_status

PING_DATA = "ping"

T = TypeVar("T")

_MAX_ERROR_TEXT_LENGTH = 500

_CREATED = {"message_created": "message", "event_created": "event"}
_SIGNAL = schemas.SignalSchema()


def parse_response(
    response: HttpResponse, schema: schemas.BaseSchema, request_name: str, secret: str = ""
) -> dict[str, Any]:
    """Return the content of a successful response; raise the matching :class:`ChannelError` for any other.

    ``request_name`` names the request in the error's text. ``secret`` is removed from the server's text.
    """
    value = response.json()
    code = value.get("code")
    is_error = isinstance(code, int) and 400 <= code <= 599
    if not 200 <= response.status < 300 or is_error:
        raise to_error(response, request_name, secret)
    try:
        found: dict[str, Any] = schemas.load(schema, value, "response")
    except PayloadError as error:
        raise OutcomeUnknown(f"{request_name}: {error}; is it the URL of a Chat API?", status=response.status) from None
    return found


def to_error(response: HttpResponse, request_name: str, secret: str = "") -> ChannelError:
    """Return the error in a response; its ``code`` is the server's ``type``."""
    value = response.json()
    error_type, error_message = _string_or_empty(value.get("type")), _string_or_empty(value.get("message"))
    text = ": ".join(part for part in (request_name, f"{response.status} {error_type}".strip(), error_message) if part)
    text = _truncate(text.replace(secret, "***") if secret else text)
    status = response.status if response.status >= 300 else int(value.get("code") or response.status)
    return error_for_status(replace(response, status=status), text, code=error_type)


def parse_signal(text: str) -> Signal:
    """Return the signal in the data of a server-sent event; :class:`UnknownSignal` if it is invalid or not known."""
    try:
        envelope = schemas.load(_SIGNAL, orjson.loads(text), "signal")
        kind, data = envelope["type"], envelope["data"]
        if kind not in schemas.SIGNALS:
            return UnknownSignal(raw=text)
        if kind in _CREATED:  # the object's members stand beside isBot
            data = {**data, _CREATED[kind]: data}
        signal: Signal = schemas.load(schemas.SIGNALS[kind], data, "signal")
        return replace(signal, raw=text)
    except (ValueError, PayloadError):
        return UnknownSignal(raw=text)


class SseParser:
    """Splits the bytes of a stream, in chunks of any size, into server-sent events.

    Only events named ``message`` are returned.
    """

    def __init__(self, limit: int = 4 * 1024 * 1024) -> None:
        self._limit = limit
        self._buffer = b""
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[str]:
        """Return the data of the events that ``chunk`` completes.

        Raises :class:`OutcomeUnknown` for an event that is longer than the limit.
        """
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        found = [data for line in lines if (data := self._handle_line(line.removesuffix(b"\r"))) is not None]
        if len(self._buffer) + sum(map(len, self._data)) > self._limit:
            raise OutcomeUnknown(f"the stream holds an event of more than {self._limit} bytes")
        return found

    def _handle_line(self, line: bytes) -> str | None:
        if not line:
            data, name = "\n".join(self._data), self._name
            self._data, self._name = [], ""
            return data if data and name in ("", "message") else None
        field, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if field == b"data":
            self._data.append(text)
        elif field == b"event":
            self._name = text
        return None


def _string_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def _truncate(text: str) -> str:
    return text if len(text) <= _MAX_ERROR_TEXT_LENGTH else text[: _MAX_ERROR_TEXT_LENGTH - 1] + "…"
