"""Converts stored messages and events of users to cometbot's events. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from cometbot.channels.base import IncomingEvent
from cometbot.channels.chat_api import payloads, schemas
from cometbot.channels.chat_api.models import ApiMessage, ApiUser
from cometbot.errors import PayloadError
from cometbot.events import ConversationStarted, CustomEvent, DeleteEvent, Event, MessageEvent
from cometbot.models import Conversation, Group, User

_USER, _MESSAGE, _EVENT = schemas.UserSchema(), schemas.MessageSchema(), schemas.EventSchema()
_PLAIN_TYPES = frozenset({"text", "markdown", "image", "audio", "video", "file"})
_PAYLOAD_SCHEMA = schemas.CreateMessageBody(only=["payload"])


def parse(incoming: IncomingEvent) -> Event:
    """Return the event in a stored body.

    It has a ``user``, and a ``message``, a ``deleted`` message, an ``event``, or the conversation that has ``started``.

    Raises :class:`PayloadError` for any other body.
    """
    try:
        body = orjson.loads(incoming.body)
    except ValueError as error:
        raise PayloadError(f"the stored body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise PayloadError("the stored body is JSON, but no object")
    sender = to_user(schemas.load(_USER, body.get("user"), "user"))
    shared: Any = {
        "key": incoming.key,
        "conversation": incoming.conversation,
        "sender": sender,
        "group": group_of(incoming.conversation),
    }
    if "started" in body:
        return _parse_started(body["started"], shared)
    if "event" in body:
        event = schemas.load(_EVENT, body["event"], "event")
        at = event.created_at.timestamp()
        return CustomEvent(**shared, sent_at=at, raw=body["event"], id=event.id, data=event.payload)
    raw_message: Any = body.get("deleted" if "deleted" in body else "message")
    message = schemas.load(_MESSAGE, raw_message, "message")
    schemas.load(_PAYLOAD_SCHEMA, {"payload": message.payload}, "message")
    message_event = to_message_event(message, incoming.conversation, sender, raw_message)
    if "deleted" not in body:
        return message_event
    return DeleteEvent(**shared, raw=raw_message, message_id=message.id, message=message_event)


def _parse_started(started: Any, shared: Mapping[str, Any]) -> ConversationStarted:
    try:
        return ConversationStarted(**shared, sent_at=started["timestamp"] / 1000, raw=started)
    except (KeyError, TypeError):
        raise PayloadError("the stored body names no conversation that has started") from None


def to_message_event(
    message: ApiMessage, conversation: Conversation, sender: User, raw: Mapping[str, Any] | None = None
) -> MessageEvent:
    """Return the event for ``message``.

    The payload of a card, choice or location is in ``data``. If a bloc contains a location, ``data`` is the whole bloc.
    """
    payload = message.payload
    kind = payloads.kind_of(payload)
    attachments = payloads.attachments_of(payload)
    is_text_or_media = kind == "text" or bool(attachments)
    return MessageEvent(
        key=f"message:{message.id}",
        conversation=conversation,
        sender=sender,
        group=group_of(conversation),
        sent_at=message.created_at.timestamp(),
        raw=raw or {},
        id=message.id,
        type=kind,
        category="message" if is_text_or_media else "custom" if kind == "location" else "interactive",
        text=payloads.text_of(payload),
        attachments=attachments,
        metadata=message.metadata,
        data={} if _is_plain(payload) else payload,
    )


def _is_plain(payload: Mapping[str, Any]) -> bool:
    """Return whether the event's text and attachments contain the whole payload."""
    items = payload["items"] if payload["type"] == "bloc" else [payload]
    return all(item["type"] in _PLAIN_TYPES for item in items)


def to_user(user: ApiUser) -> User:
    """Return the sender. A profile that is a JSON object becomes the metadata; other text is its member ``profile``."""
    return User(
        user.id,
        name=user.name,
        avatar=user.picture_url,
        metadata=_profile_metadata(user.profile),
        lasting_id=stable_user_id(user.id, round(user.created_at.timestamp() * 1000)),
    )


def stable_user_id(uid: str, created_at: int) -> str:
    """Return an id that a later user with the same ``uid`` does not share. ``created_at`` is in milliseconds."""
    return f"{uid}:{created_at}"


def group_of(conversation: Conversation) -> Group | None:
    """Return the group of a conversation, or None for a one-to-one conversation."""
    return Group(conversation.target) if conversation.is_group else None


def _profile_metadata(text: str) -> Mapping[str, Any]:
    if not text:
        return {}
    try:
        value = orjson.loads(text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"profile": text}
