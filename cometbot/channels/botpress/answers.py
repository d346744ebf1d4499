"""Reads what a Chat API answers and tells: typed results, signals and errors. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from cometbot.channels.botpress import records, schemas
from cometbot.channels.botpress.records import Signal
from cometbot.errors import (
    AuthenticationFailed,
    ChannelError,
    NotFound,
    PayloadError,
    RateLimited,
    Rejected,
    Uncertain,
)
from cometbot.http.retry_after import retry_after

PING = "ping"

T = TypeVar("T")

_TEXT_LIMIT = 500
_DOWN = frozenset({502, 503, 504})

_MESSAGE, _EVENT, _ORIGIN = schemas.MessageShape(), schemas.EventShape(), schemas.OriginShape()
_DELETED, _PARTICIPANT = schemas.MessageDeletedShape(), schemas.ParticipantShape()
_DELTA, _COMPLETE, _ABORT = schemas.DeltaShape(), schemas.CompleteShape(), schemas.AbortShape()
_SIGNAL = schemas.SignalShape()


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The JSON object in the body; empty if there is none."""
        try:
            value = orjson.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


def read(answer: Answer, schema: schemas.Shape, what: str, secret: str = "") -> dict[str, Any]:
    """What is in an answer that says yes; others raise the :class:`ChannelError` that fits.

    ``what`` names the request in the error's text; ``secret`` is taken out of what the server says.
    """
    value = answer.json()
    code = value.get("code")
    is_refusal = isinstance(code, int) and 400 <= code <= 599
    if not 200 <= answer.status < 300 or is_refusal:
        raise error_from(answer, what, secret)
    try:
        found: dict[str, Any] = schemas.load(schema, value, "the answer")
    except PayloadError as error:
        raise Uncertain(f"{what}: {error}; is it the URL of a Chat API?", status=answer.status) from None
    return found


def error_from(answer: Answer, what: str, secret: str = "") -> ChannelError:
    """The error in an answer; its ``code`` is the ``type`` that the server gives it."""
    value = answer.json()
    kind, said = _text(value.get("type")), _text(value.get("message"))
    text = ": ".join(part for part in (what, f"{answer.status} {kind}".strip(), said) if part)
    text = _shortened(text.replace(secret, "***") if secret else text)
    status = answer.status if answer.status >= 300 else int(value.get("code") or answer.status)
    if status == 429:
        return RateLimited(text, retry_after=retry_after(answer.headers, time.time()))
    if status >= 500 or status == 408:
        return Uncertain(text, down=status in _DOWN, status=status)
    classes: Mapping[int, type[Rejected]] = {401: AuthenticationFailed, 403: AuthenticationFailed, 404: NotFound}
    return classes.get(status, Rejected)(text, code=kind, status=status)


def signal_from(text: str) -> Signal:
    """The signal in the data of a server-sent event; what is none, or not known, is an :class:`UnknownSignal`."""
    try:
        told = schemas.load(_SIGNAL, orjson.loads(text), "the signal")
        make = _SIGNALS.get(told["type"])
        return make(told["data"], text) if make else records.UnknownSignal(raw=text)
    except (ValueError, PayloadError):
        return records.UnknownSignal(raw=text)


def _created(data: Mapping[str, Any], raw: str) -> Signal:
    is_bot = schemas.load(_ORIGIN, data)["isBot"]
    return records.MessageCreated(schemas.load(_MESSAGE, data), is_bot, raw=raw)


def _event(data: Mapping[str, Any], raw: str) -> Signal:
    is_bot = schemas.load(_ORIGIN, data)["isBot"]
    return records.EventCreated(schemas.load(_EVENT, data), is_bot, raw=raw)


def _deleted(data: Mapping[str, Any], raw: str) -> Signal:
    found = schemas.load(_DELETED, data)
    return records.MessageDeleted(found["id"], found["conversationId"], found["userId"], raw=raw)


def _participant(kind: Callable[..., Signal]) -> Callable[[Mapping[str, Any], str], Signal]:
    def make(data: Mapping[str, Any], raw: str) -> Signal:
        found = schemas.load(_PARTICIPANT, data)
        return kind(found["conversationId"], found["participantId"], raw=raw)

    return make


def _delta(data: Mapping[str, Any], raw: str) -> Signal:
    found = schemas.load(_DELTA, data)
    names = ("streamId", "conversationId", "userId", "sequence", "delta", "createdAt")
    return records.StreamDelta(*(found[name] for name in names), raw=raw)


def _complete(data: Mapping[str, Any], raw: str) -> Signal:
    found = schemas.load(_COMPLETE, data)
    return records.StreamComplete(found["streamId"], found["message"], raw=raw)


def _abort(data: Mapping[str, Any], raw: str) -> Signal:
    found = schemas.load(_ABORT, data)
    return records.StreamAbort(found["streamId"], found["conversationId"], raw=raw)


_SIGNALS: Mapping[str, Callable[[Mapping[str, Any], str], Signal]] = {
    "message_created": _created,
    "message_deleted": _deleted,
    "event_created": _event,
    "participant_added": _participant(records.ParticipantAdded),
    "participant_removed": _participant(records.ParticipantRemoved),
    "message_stream_delta": _delta,
    "message_stream_complete": _complete,
    "message_stream_abort": _abort,
}


class EventReader:
    """Server-sent events out of the bytes of a stream, however they are cut. Only events called ``message`` count."""

    def __init__(self, limit: int = 4 * 1024 * 1024) -> None:
        self._limit = limit
        self._rest = b""
        self._name = ""
        self._data: list[str] = []

    def feed(self, piece: bytes) -> list[str]:
        """The data of the events that are whole now. Raises :class:`Uncertain` for an event without an end."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        found = [data for line in lines if (data := self._take(line.removesuffix(b"\r"))) is not None]
        if len(self._rest) + sum(map(len, self._data)) > self._limit:
            raise Uncertain(f"the stream holds an event of more than {self._limit} bytes")
        return found

    def _take(self, line: bytes) -> str | None:
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


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _shortened(text: str) -> str:
    return text if len(text) <= _TEXT_LIMIT else text[: _TEXT_LIMIT - 1] + "…"
