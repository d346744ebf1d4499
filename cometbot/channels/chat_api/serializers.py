"""Serializes stored objects and signals to the Chat API's JSON."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from cometbot.channels.chat_api.accounts import ACCOUNT_FIELD
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

STREAM_ID_KEY = "streamId"
"""The key of a message's metadata that holds the id of the stream that became the message."""

STREAM_DELTA, STREAM_COMPLETE, STREAM_ABORT = "message_stream_delta", "message_stream_complete", "message_stream_abort"

JsonObject = dict[str, Any]


def format_timestamp(milliseconds: int) -> str:
    """Return a time in ISO 8601, to the millisecond. The official client accepts only the time zone ``Z``."""
    at = datetime.fromtimestamp(milliseconds // 1000, timezone.utc)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def to_user(user: ChatUser) -> JsonObject:
    """Return the JSON of a user, who may be a participant."""
    shown = {name: value for name, value in user.data.items() if name != ACCOUNT_FIELD}
    return {"id": user.id, **shown, **_dates(user)}


def to_conversation(conversation: ChatConversation) -> JsonObject:
    """Return the JSON of a conversation."""
    return {"id": conversation.id, **_dates(conversation)}


def _dates(stored: ChatUser | ChatConversation) -> JsonObject:
    return {"createdAt": format_timestamp(stored.created_at), "updatedAt": format_timestamp(stored.updated_at)}


def to_message(message: ChatMessage) -> JsonObject:
    """Return the JSON of a message. Its metadata is beside the payload and never in it."""
    body: JsonObject = {
        "id": message.id,
        "createdAt": format_timestamp(message.at),
        "conversationId": message.conversation,
        "userId": message.sender,
        "payload": dict(message.payload),
    }
    return body if message.metadata is None else {**body, "metadata": dict(message.metadata)}


def to_event(event: ChatEvent) -> JsonObject:
    """Return the JSON of a user's event."""
    return {
        "id": event.id,
        "createdAt": format_timestamp(event.at),
        "conversationId": event.conversation,
        "userId": event.sender,
        "payload": dict(event.payload),
    }


def to_signal_payloads(signal: Signal) -> Sequence[JsonObject]:
    """Return the Chat API's signals for ``signal``, in order; none if the Chat API has no such signal."""
    data = signal.data
    if signal.kind == MESSAGE_CREATED and signal.message is not None:
        return _message_created(signal.message)
    if signal.kind == MESSAGE_DELETED:
        deleted = {"id": data["id"], "conversationId": signal.topic.id, "userId": data["sender"]}
        return [{"type": "message_deleted", "data": deleted}]
    if signal.kind == EVENT_CREATED:
        event_body = _bot_event(signal) if signal.event is None else to_event(signal.event)
        return [{"type": "event_created", "data": {**event_body, "isBot": signal.event is None}}]
    if signal.kind in (PARTICIPANT_ADDED, PARTICIPANT_REMOVED):
        participant = {"conversationId": signal.topic.id, "participantId": data["user"]}
        return [{"type": signal.kind, "data": participant}]
    return [{"type": signal.kind, "data": dict(data)}] if signal.kind in (STREAM_DELTA, STREAM_ABORT) else []


def _bot_event(signal: Signal) -> JsonObject:
    """Return the JSON of a bot's event, which is not stored and has no id."""
    body = {"id": None, "createdAt": format_timestamp(signal.at), "conversationId": signal.topic.id}
    return {**body, "userId": signal.data["sender"], "payload": signal.data["payload"]}


def _message_created(message: ChatMessage) -> list[JsonObject]:
    body = to_message(message)
    created = {"type": "message_created", "data": {**body, "isBot": message.is_bot}}
    stream_id = (message.metadata or {}).get(STREAM_ID_KEY)
    if not message.is_bot or not isinstance(stream_id, str):
        return [created]
    return [{"type": STREAM_COMPLETE, "data": {"streamId": stream_id, "message": body}}, created]


def to_error_body(status: int, kind: str, text: str, now: datetime) -> JsonObject:
    """Return the body of an error response.

    The official client needs all of these fields to create an error of its own class.
    """
    error_id = f"err_{now:%Y%m%d%H%M%S}x{secrets.token_hex(4).upper()}"
    return {"id": error_id, "code": status, "type": kind, "message": text}
