"""What the chat server keeps, as the Chat API says it: objects and signals, as JSON values."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from cometbot.channels.botpress.accounts import ACCOUNT_FIELD
from cometbot.chat import (
    EVENT_CREATED,
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    PARTICIPANT_ADDED,
    PARTICIPANT_REMOVED,
    ChatConversation,
    ChatEvent,
    ChatMessage,
    ChatUser,
    Signal,
)

STREAM_ID = "streamId"
"""The key of a message's metadata that names the stream whose pieces it is made of."""

DELTA, COMPLETE, ABORT = "message_stream_delta", "message_stream_complete", "message_stream_abort"

Wire = dict[str, Any]


def to_date(milliseconds: int) -> str:
    """A time in ISO 8601, to the millisecond; the client takes no other zone than ``Z``."""
    at = datetime.fromtimestamp(milliseconds // 1000, timezone.utc)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def to_user(user: ChatUser) -> Wire:
    """A user, who may be a participant."""
    dates = {"createdAt": to_date(user.created_at), "updatedAt": to_date(user.updated_at)}
    shown = {name: value for name, value in user.data.items() if name != ACCOUNT_FIELD}
    return {"id": user.id, **shown, **dates}


def to_conversation(conversation: ChatConversation) -> Wire:
    """A conversation."""
    dates = {"createdAt": to_date(conversation.created_at), "updatedAt": to_date(conversation.updated_at)}
    return {"id": conversation.id, **dates}


def to_message(message: ChatMessage) -> Wire:
    """A message, whose metadata stands beside its payload and never in it."""
    said: Wire = {
        "id": message.id,
        "createdAt": to_date(message.at),
        "conversationId": message.conversation,
        "userId": message.sender,
        "payload": dict(message.payload),
    }
    return said if message.metadata is None else {**said, "metadata": dict(message.metadata)}


def to_event(event: ChatEvent) -> Wire:
    """An event of a user."""
    return {
        "id": event.id,
        "createdAt": to_date(event.at),
        "conversationId": event.conversation,
        "userId": event.sender,
        "payload": dict(event.payload),
    }


def to_signals(signal: Signal) -> Sequence[Wire]:
    """What the Chat API tells of ``signal``, in order; nothing for what it has no word for."""
    data = signal.data
    if signal.kind == MESSAGE_CREATED and signal.message is not None:
        return _message_created(signal.message)
    if signal.kind == MESSAGE_DELETED:
        taken = {"id": data["id"], "conversationId": signal.topic.id, "userId": data["sender"]}
        return [{"type": "message_deleted", "data": taken}]
    if signal.kind == EVENT_CREATED:
        told = _bot_event(signal) if signal.event is None else to_event(signal.event)
        return [{"type": "event_created", "data": {**told, "isBot": signal.event is None}}]
    if signal.kind in (PARTICIPANT_ADDED, PARTICIPANT_REMOVED):
        named = {"conversationId": signal.topic.id, "participantId": data["user"]}
        return [{"type": signal.kind, "data": named}]
    return [{"type": signal.kind, "data": dict(data)}] if signal.kind in (DELTA, ABORT) else []


def _bot_event(signal: Signal) -> Wire:
    """An event of the bot, which is told and not kept: it has no id."""
    said = {"id": None, "createdAt": to_date(signal.at), "conversationId": signal.topic.id}
    return {**said, "userId": signal.data["sender"], "payload": signal.data["payload"]}


def _message_created(message: ChatMessage) -> list[Wire]:
    shape = to_message(message)
    created = {"type": "message_created", "data": {**shape, "isBot": message.is_bot}}
    stream_id = (message.metadata or {}).get(STREAM_ID)
    if not message.is_bot or not isinstance(stream_id, str):
        return [created]
    return [{"type": COMPLETE, "data": {"streamId": stream_id, "message": shape}}, created]


def to_refusal(status: int, kind: str, text: str, now: datetime) -> Wire:
    """The body of a refusal. The official client makes an error of its own class only of one with all of these."""
    error_id = f"err_{now:%Y%m%d%H%M%S}x{secrets.token_hex(4).upper()}"
    return {"id": error_id, "code": status, "type": kind, "message": text}
