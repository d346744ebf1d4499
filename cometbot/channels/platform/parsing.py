"""Converts stored messages and actions of users to cometbot's events."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import orjson

from cometbot.channels.base import IncomingEvent
from cometbot.chat import ChatMessage, media_kind
from cometbot.errors import PayloadError
from cometbot.events import ActionEvent, ConversationStarted, Event, MessageEvent
from cometbot.models import Attachment, Conversation, User


def parse(incoming: IncomingEvent, base_url: str) -> Event:
    """Return the event in a stored body. Raises :class:`PayloadError` for an invalid body."""
    try:
        body = orjson.loads(incoming.body)
        user = body["user"]
        sender = User(user["id"], user.get("name") or user["nickname"])
        if "started" in body:
            at = body["started"]["timestamp"] / 1000
            common = {"key": incoming.key, "conversation": incoming.conversation, "sender": sender, "raw": body}
            return ConversationStarted(**common, sent_at=at)
        message, action = body["message"], body["action"]
        if action is None:
            return _to_message_event(message, incoming.conversation, sender, base_url, body)
        return ActionEvent(
            **_common_fields(message, incoming.conversation, sender, body),
            name=action["name"],
            value=action["value"],
            values=dict(action["values"]),
            message_id=action["messageId"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PayloadError(f"invalid platform message: {type(error).__name__}") from error


def to_message_event(message: ChatMessage, conversation: Conversation, user: User, base_url: str) -> MessageEvent:
    """Return the event for a stored message. The sender of a bot's message is the bot, else ``user``."""
    payload = message.payload
    raw_message = {
        "id": message.id,
        "body": payload.get("body", ""),
        "attachments": payload.get("attachments", ()),
        "timestamp": message.at,
    }
    sender = User(message.sender) if message.is_bot else user
    return _to_message_event(raw_message, conversation, sender, base_url, raw_message)


def _to_message_event(
    message: Mapping[str, Any], conversation: Conversation, sender: User, base_url: str, raw: Mapping[str, Any]
) -> MessageEvent:
    attachments = tuple(_to_attachment(item, base_url) for item in message.get("attachments", ()))
    return MessageEvent(
        **_common_fields(message, conversation, sender, raw),
        id=message["id"],
        type=media_kind(attachments[0].mime_type) if attachments else "text",
        text=message["body"],
        attachments=attachments,
    )


def _common_fields(
    message: Mapping[str, Any], conversation: Conversation, sender: User, raw: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "key": f"message:{message['id']}",
        "conversation": conversation,
        "sender": sender,
        "sent_at": message["timestamp"] / 1000,
        "raw": raw,
    }


def _to_attachment(item: Mapping[str, Any], base_url: str) -> Attachment:
    """Return the attachment for a file.

    Its extension is that of the path, which fits the file's type; if the path has none, that of the name.
    """
    path, name = item["path"], item["name"]
    extension = os.path.splitext(path)[1] or os.path.splitext(name)[1].lower()
    return Attachment(f"{base_url}/{path}", name, item["mimeType"], extension[1:], item["size"])
