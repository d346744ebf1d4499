"""The rows of a thread: requests of the client, texts and calls of the bot, and ends of events."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from cometbot.action_values import decode_value
from cometbot.channels.base import EventEnd
from cometbot.errors import MessageError
from cometbot.messages import ClientCall, Message, Text
from cometbot.steps import ASK, CALL, Waiting
from cometbot.token_usage import ModelUsage

JsonObject = dict[str, Any]

REQUEST, TEXT, TOOL_CALL, END = "request", "text", "call", "end"
"""The kinds of rows, in the member ``kind`` of their payload."""

DELTA, TOOL_CALLED, TOOL_RETURNED = "agui_delta", "agui_tool_called", "agui_tool_returned"
"""The kinds of signals that are no rows: a piece of a stream, and the begin and end of a call of the bot's own tool."""


def make_message_row(message: Message, stream_id: str, ending: str | None = None) -> JsonObject:
    """Return the row of a message: its text, and what it is besides, or a call of a tool of the client.

    ``stream_id`` and ``ending``: see :class:`Operation`.
    """
    if isinstance(message, ClientCall):
        return {
            "op": "send",
            "kind": TOOL_CALL,
            "id": message.id,
            "name": message.name,
            "arguments": dict(message.arguments),
        }
    row: JsonObject = {"op": "send", "kind": TEXT, "text": message.to_text()}
    if stream_id:
        row["stream"] = stream_id
    if ending is not None:
        row["ending"] = ending
    if not isinstance(message, Text):
        row["custom"] = _to_json({"name": f"cometbot.{type(message).__name__.lower()}", "value": message})
    return row


def make_end_row(end: EventEnd) -> JsonObject:
    """Return the row of the end of an event: what kind it is, and what the bot waits for."""
    row: JsonObject = {"kind": END, "event": end.key, "generation": end.generation, "end": end.kind}
    if end.usage:
        row["usage"] = _add_usage(end.usage)
    waiting = end.waiting
    if waiting is not None and waiting.kind == CALL:
        row["pending"] = f"{end.dialog}.{waiting.step}"
    elif waiting is not None and waiting.kind == ASK and waiting.question_text:
        row["interrupt"] = _make_interrupt(end.dialog, waiting)
    return row


def _add_usage(usage: Sequence[ModelUsage]) -> list[JsonObject]:
    """Return the tokens of each model, in the form of the protocol."""
    return [
        {
            "model": model,
            "inputTokens": sum(item.input for item in usage if item.model == model),
            "outputTokens": sum(item.output for item in usage if item.model == model),
            "cachedInputTokens": sum(item.cached for item in usage if item.model == model),
        }
        for model in dict.fromkeys(item.model for item in usage)
    ]


def _make_interrupt(dialog: str, waiting: Waiting) -> JsonObject:
    """Return the interrupt of a question, in the form of the protocol."""
    interrupt: JsonObject = {
        "id": f"{dialog}.{waiting.step}" + (f":{waiting.asked_field}" if waiting.asked_field else ""),
        "reason": "cometbot.question",
        "message": waiting.question_text,
        "responseSchema": _make_schema(waiting),
    }
    if waiting.expires_at is not None:
        expires_at = datetime.fromtimestamp(waiting.expires_at, timezone.utc)
        interrupt["expiresAt"] = expires_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return interrupt


def _make_schema(waiting: Waiting) -> JsonObject:
    """Return the JSON schema of an answer: one of the values of the choices, or a text."""
    offers = [offer for offered in waiting.offers for offer in offered.get("offers", ())]
    if not offers:
        return {"type": "string"}
    return {"enum": [decode_value(value) for _, _, value in offers]}


def _to_json(value: Mapping[str, Any]) -> Any:
    """Return JSON for ``value``; what is no JSON becomes text."""
    try:
        return json.loads(json.dumps(value, default=_to_plain, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"the message must be JSON: {error}") from None


def _to_plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
        return {name: member for name, member in members.items() if member not in (None, "", (), [], {})}
    return dict(value) if isinstance(value, Mapping) else str(value)
