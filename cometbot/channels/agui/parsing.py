"""Converts stored requests to cometbot's events, and the messages of a request to the history of its thread. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from cometbot.action_values import encode_value
from cometbot.channels.agui.run_input import InputMessage, RequestKind, RunInput
from cometbot.channels.agui.schemas import read_input
from cometbot.channels.base import IncomingEvent
from cometbot.chat import ChatMessage
from cometbot.content_types import media_family
from cometbot.errors import PayloadError
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.models import Attachment, Conversation, User
from cometbot.questions import ACTION_PREFIX, parse_action_name

JsonObject = dict[str, Any]


def make_body(run_input: Mapping[str, Any], user: str, kind: RequestKind | None) -> bytes:
    """Return the body to store for a request of ``user``, as an event of this kind."""
    return orjson.dumps({"user": user, "input": run_input, "kind": kind})


def parse(incoming: IncomingEvent) -> Event:
    """Return the event in a stored body. Raises :class:`PayloadError` for a body that is no request."""
    try:
        body = orjson.loads(incoming.body)
        raw, user = body["input"], str(body["user"])
        run_input, kind = read_input(raw), body["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise PayloadError(f"the stored body is no request of AG-UI: {error!r}") from None
    shared: Any = {
        "key": incoming.key,
        "conversation": incoming.conversation,
        "sender": User(user),
        "sent_at": incoming.received_at,
        "raw": raw,
        "client_tools": run_input.tools,
    }
    match kind:
        case "resume":
            return _make_resume_event(run_input, shared)
        case "tool":
            result = run_input.messages[-1]
            return ActionEvent(**shared, name=f"{ACTION_PREFIX}{result.tool_call_id}", value=encode_value(result.text))
        case "message":
            message = run_input.messages[run_input.find_message() or 0]
            return MessageEvent(**shared, **_make_content(message), id=message_id(incoming.key))
    raise PayloadError("the stored request has no message of a user")


def message_id(event_key: str) -> str:
    """Return the id of the message that an event is; the client's own may mean another message in another request."""
    return event_key.removeprefix("message:")


def to_history_rows(run_input: RunInput) -> list[JsonObject]:
    """Return the messages of users and of the bot in a request, to be stored for :func:`to_history`."""
    own = run_input.find_message()
    pairs = zip(run_input.messages, run_input.message_keys(), strict=True)
    return [
        {
            "role": message.role,
            "key": key,
            "id": message.id,
            "text": message.text,
            "files": [[item.url, item.name, item.mime_type] for item in message.attachments],
            "own": index == own,
        }
        for index, (message, key) in enumerate(pairs)
        if message.role in ("user", "assistant") and (message.text or message.attachments)
    ]


def to_history(
    rows: Sequence[Mapping[str, Any]], event_key: str, conversation: Conversation, sent_at: float
) -> Iterator[MessageEvent]:
    """Yield the messages that :func:`to_history_rows` has stored with a request whose event is ``event_key``."""
    for row in rows:
        attachments = tuple(Attachment(*file) for file in row["files"])
        message = InputMessage(row["role"], row["id"], row["text"], attachments)
        is_own = row["own"] and event_key.startswith("message:")
        key = event_key if is_own else row["key"]
        yield MessageEvent(
            **_make_content(message),
            key=key,
            conversation=conversation,
            sender=User(conversation.target if message.role == "user" else conversation.bot),
            # The protocol has no times: only that of the request is known.
            sent_at=sent_at if is_own else 0,
            id=message_id(key) if message.role == "user" else message.id or key,
        )


def to_text_event(row: ChatMessage, conversation: Conversation) -> MessageEvent:
    """Return a stored text of the bot as a message of the history."""
    return MessageEvent(
        key=f"message:{row.id}",
        conversation=conversation,
        sender=User(conversation.bot),
        sent_at=row.at / 1000,
        id=row.id,
        text=row.payload["text"],
    )


def _make_content(message: InputMessage) -> JsonObject:
    attachments = message.attachments
    kind = media_family(attachments[0].mime_type) if attachments else "text"
    return {"type": kind, "text": message.text, "attachments": attachments}


def _make_resume_event(run_input: RunInput, shared: JsonObject) -> ActionEvent:
    """Return the press of a question's button that answers an interrupt: with a value, or with those of a form."""
    entry = run_input.resume[0]
    values, value = {}, ""
    if isinstance(entry.payload, dict):
        values = {name: _to_text(given) for name, given in entry.payload.items()}
    elif not entry.is_cancelled:
        action = parse_action_name(f"{ACTION_PREFIX}{entry.interrupt_id}")
        is_field = action is not None and bool(action.field)
        # What is filled in for a field is always a text.
        value = _to_text(entry.payload) if is_field else encode_value(entry.payload)
    return ActionEvent(
        **shared,
        name=f"{ACTION_PREFIX}{entry.interrupt_id}",
        value=value,
        values=values,
        cancels=entry.is_cancelled,
    )


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
