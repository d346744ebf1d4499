"""What people do on the platform, as events."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import orjson

from cometbot.channels.base import Incoming
from cometbot.chat import ChatMessage, kind_of
from cometbot.errors import PayloadError
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.models import Attachment, Conversation, User


def parse(incoming: Incoming, base_url: str) -> Event:
    """The event in a stored body. Raises :class:`PayloadError` for a body that is none."""
    try:
        body = orjson.loads(incoming.body)
        message, user, action = body["message"], body["user"], body["action"]
        event = _event(
            message, incoming.conversation, User(user["id"], user.get("name") or user["nickname"]), base_url, body
        )
        return event if action is None else _press(event, action)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PayloadError(f"this is no message of the platform: {type(error).__name__}") from error


def to_event(message: ChatMessage, conversation: Conversation, writer: User, base_url: str) -> MessageEvent:
    """A stored message as it once came in; what bots said is theirs."""
    payload = message.payload
    shown = {
        "id": message.id,
        "body": payload.get("body", ""),
        "attachments": payload.get("attachments", ()),
        "timestamp": message.at,
    }
    sender = User(message.sender) if message.is_bot else writer
    return _event(shown, conversation, sender, base_url, shown)


def _event(
    message: Mapping[str, Any], conversation: Conversation, sender: User, base_url: str, raw: Mapping[str, Any]
) -> MessageEvent:
    attachments = tuple(_attachment(item, base_url) for item in message.get("attachments", ()))
    return MessageEvent(
        key=f"message:{message['id']}",
        conversation=conversation,
        sender=sender,
        sent_at=message["timestamp"] / 1000,
        raw=raw,
        id=message["id"],
        type=_type(attachments),
        text=message["body"],
        attachments=attachments,
    )


def _press(event: MessageEvent, action: Mapping[str, Any]) -> ActionEvent:
    return ActionEvent(
        key=event.key,
        conversation=event.conversation,
        sender=event.sender,
        sent_at=event.sent_at,
        raw=event.raw,
        name=action["name"],
        value=action["value"],
        values=dict(action["values"]),
        message_id=action["messageId"],
    )


def _attachment(item: Mapping[str, Any], base_url: str) -> Attachment:
    """The file. The extension of its path fits its type; where the path has none, it is the name's."""
    path, name = item["path"], item["name"]
    extension = os.path.splitext(path)[1] or os.path.splitext(name)[1].lower()
    return Attachment(f"{base_url}/{path}", name, item["mimeType"], extension[1:], item["size"])


def _type(attachments: tuple[Attachment, ...]) -> str:
    return kind_of(attachments[0].mime_type) if attachments else "text"
