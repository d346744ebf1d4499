"""Reads new messages of the usual shape without the schemas, for the view that routes them and for the worker.

The schemas define what a payload means. The functions here give the same result at a small part of the cost, or none:
for any other payload, the schemas are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cometbot.channels.cometchat import payloads, schemas
from cometbot.events import MessageEvent
from cometbot.models import Conversation, User

_CATEGORIES = tuple(sorted(payloads.MESSAGE_CATEGORIES))
_USER_TEXTS = ("name", "avatar", "link", "role", "status")
_ADDRESS_FIELDS = frozenset({"conversationId", "sender", "receiverType", "receiver"})
_TEXT_FIELDS = frozenset({"id", "category", "type", "data", "sentAt", "updatedAt", "muid", "parentId"})
_OTHER_FIELDS = frozenset(schemas.MESSAGE.fields) - _ADDRESS_FIELDS - _TEXT_FIELDS
_OTHER_DATA_FIELDS = frozenset(schemas.MESSAGE_DATA.fields) - {"text", "entities"}
_OTHER_USER_FIELDS = frozenset(schemas.USER.fields) - {"uid", *_USER_TEXTS}
_matches_id = schemas.ID_PATTERN.fullmatch


def is_plain_message(payload: Mapping[str, Any]) -> bool:
    """Return whether ``payload`` is a callback with a complete new message, which can be routed without parsing.

    :func:`payloads.read_notification` would give the same result at a hundred times the cost.
    """
    data = payload.get("data")
    if type(data) is not dict or payload.get("trigger") != "after_message":
        return False
    for name in ("id", "conversationId", "sender", "receiver"):
        value = data.get(name)
        if type(value) is not str or not _matches_id(value):
            return False
    return (
        data.get("receiverType") in schemas.RECEIVER_TYPES
        and data.get("category") in _CATEGORIES
        and not data.get("deletedAt")
    )


def read_plain_text(payload: Mapping[str, Any], *, conversation: Conversation, key: str) -> MessageEvent | None:
    """Return the event of a one-to-one message that is only a text, or None for any other payload.

    :func:`parsing.parse` would give the same event.
    """
    if not is_plain_message(payload) or conversation.is_group:
        return None
    message = payload["data"]
    if not _OTHER_FIELDS.isdisjoint(message) or message["receiverType"] != "user":
        return None
    if message["category"] != "message" or message.get("type") != "text":
        return None
    sent_at, muid, thread_id = message.get("sentAt"), message.get("muid", ""), message.get("parentId", "")
    if type(sent_at) is not int or not 0 <= sent_at < schemas.MAX_TIMESTAMP or type(muid) is not str:
        return None
    if thread_id != "" and (type(thread_id) is not str or not _matches_id(thread_id)):
        return None
    data = message.get("data")
    if type(data) is not dict or not _OTHER_DATA_FIELDS.isdisjoint(data):
        return None
    text, sender = data.get("text"), _read_sender(data.get("entities"), message["sender"])
    if type(text) is not str or "<@uid:" in text or sender is None:
        return None
    return MessageEvent(
        key=key,
        conversation=conversation,
        sender=sender,
        sent_at=float(sent_at),
        raw=payload,
        id=message["id"],
        text=text,
        thread_id=thread_id,
        muid=muid,
    )


def _read_sender(entities: object, uid: str) -> User | None:
    """Return the sender's entity, or None if it is absent or has more than texts."""
    holder = entities.get("sender") if type(entities) is dict else None
    entity = holder.get("entity") if type(holder) is dict else None
    if type(entity) is not dict or entity.get("uid") != uid or not _OTHER_USER_FIELDS.isdisjoint(entity):
        return None
    texts = {}
    for name in _USER_TEXTS:
        if name in entity:
            if type(entity[name]) is not str:
                return None
            texts[name] = entity[name]
    return User(uid, raw=entity, **texts)
