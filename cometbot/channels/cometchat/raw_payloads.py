"""Reads callbacks without the schemas, in the same way for the view that routes them and the worker that handles them.

The schemas define what a payload means. A message of the usual shape is read here with the same result at a small part
of their cost; for any other payload they are used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from cometbot.errors import PayloadError
from cometbot.events import MessageEvent
from cometbot.json_depth import MAX_DEPTH, limit_depth
from cometbot.models import Conversation, User

ID_PATTERN = re.compile(r"[^\x00-\x1f\x7f]{1,255}")
"""The format of an id: it becomes part of keys and paths, so its length is limited and control characters are not
allowed."""

MAX_TIMESTAMP = 10**15
"""Upper bound of a time in Unix seconds."""

RECEIVER_TYPES = ("user", "group")

MESSAGE_CATEGORIES = ("message", "custom", "interactive", "card")
"""Categories of messages that users and bots write; ``action`` and ``call`` messages report events."""

MODERATION_TRIGGERS = frozenset(
    {
        "moderation_engine_approved",
        "moderation_engine_blocked",
        "moderation_engine_failed",
        "moderation_manual_approved",
    }
)

_SPECIAL_FIELDS = frozenset({"tags", "quotedMessageId", "quotedMessage"})
_SPECIAL_DATA_FIELDS = _SPECIAL_FIELDS | {"url", "attachments", "mentions"}
_SPECIAL_USER_FIELDS = frozenset({"tags", "metadata"})
_USER_TEXTS = ("name", "avatar", "link", "role", "status")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_INTEGER_DIGITS = 20


def read_body(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON object in ``body``, and a body that any JSON parser reads as that object.

    The last of duplicate keys counts. A byte order mark is skipped. Lone surrogates and bytes that are not UTF-8 become
    U+FFFD. NaN, infinities and values nested deeper than :data:`~cometbot.json_depth.MAX_DEPTH` become null. Raises
    :class:`PayloadError` if ``body`` is not a JSON object.
    """
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        body = limit_depth(_decode(body)).encode()
    try:
        payload = orjson.loads(body)
    except ValueError as error:
        body = _normalize(body, error)
        payload = orjson.loads(body)
    if not isinstance(payload, dict):
        raise PayloadError("the body is JSON, but no object", details={"body": ["Must be an object."]})
    return payload, body


def find_id(value: object) -> str:
    """Return ``value`` as an id, or "" if it is not a valid one; integers are accepted too."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return text if isinstance(text, str) and ID_PATTERN.fullmatch(text) else ""


def is_disapproved(payload: Mapping[str, Any]) -> bool:
    """Return whether the message that was sent or edited has the moderation status ``disapproved``.

    The result is False for the webhooks of the moderation itself, which have that status too: they report a decision
    and are no messages.
    """
    trigger, data = payload.get("trigger"), payload.get("data")
    if not isinstance(data, dict) or (isinstance(trigger, str) and trigger in MODERATION_TRIGGERS):
        return False
    value: object = find_message(data)
    for name in ("data", "moderation", "status"):
        value = value.get(name) if isinstance(value, dict) else None
    return value == "disapproved"


def find_message(data: Mapping[str, Any]) -> object:
    """Return the message object in ``data``, which may be ``data`` itself."""
    if "conversationId" in data or "category" in data:
        return data
    return next((data[name] for name in ("message", "call") if isinstance(data.get(name), dict)), data)


def is_plain_message(payload: Mapping[str, Any]) -> bool:
    """Return whether ``payload`` is a callback with a complete new message, which can be routed without parsing.

    :func:`payloads.read_notification` would give the same result at a hundred times the cost.
    """
    data = payload.get("data")
    if type(data) is not dict or payload.get("trigger") != "after_message":
        return False
    for name in ("id", "conversationId", "sender", "receiver"):
        value = data.get(name)
        if type(value) is not str or not ID_PATTERN.fullmatch(value):
            return False
    return (
        data.get("receiverType") in RECEIVER_TYPES
        and data.get("category") in MESSAGE_CATEGORIES
        and not data.get("deletedAt")
    )


def read_plain_text(payload: Mapping[str, Any], *, conversation: Conversation, key: str) -> MessageEvent | None:
    """Return the event of a one-to-one text message of the usual shape, or None for any other payload.

    :func:`parsing.parse` would give the same event.
    """
    if not is_plain_message(payload) or conversation.is_group:
        return None
    message = payload["data"]
    if not _SPECIAL_FIELDS.isdisjoint(message) or message["receiverType"] != "user":
        return None
    if message["category"] != "message" or message.get("type") != "text":
        return None
    sent_at, muid, thread_id = message.get("sentAt"), message.get("muid", ""), message.get("parentId", "")
    if type(sent_at) is not int or not 0 <= sent_at < MAX_TIMESTAMP or type(muid) is not str:
        return None
    if thread_id != "" and (type(thread_id) is not str or not ID_PATTERN.fullmatch(thread_id)):
        return None
    data = message.get("data")
    if type(data) is not dict or not _SPECIAL_DATA_FIELDS.isdisjoint(data):
        return None
    text, metadata, moderation = data.get("text"), data.get("metadata", {}), data.get("moderation", {})
    if type(text) is not str or "<@uid:" in text or type(metadata) is not dict or type(moderation) is not dict:
        return None
    status, sender = moderation.get("status", ""), _read_sender(data.get("entities"), message["sender"])
    if type(status) is not str or sender is None:
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
        metadata=metadata,
        moderation=status,
        muid=muid,
    )


def _read_sender(entities: object, uid: str) -> User | None:
    """Return the sender's entity, or None if it is absent or has more than texts."""
    holder = entities.get("sender") if type(entities) is dict else None
    entity = holder.get("entity") if type(holder) is dict else None
    if type(entity) is not dict or entity.get("uid") != uid or not _SPECIAL_USER_FIELDS.isdisjoint(entity):
        return None
    texts = {}
    for name in _USER_TEXTS:
        if name in entity:
            if type(entity[name]) is not str:
                return None
            texts[name] = entity[name]
    return User(uid, raw=entity, **texts)


def _normalize(body: bytes, cause: ValueError) -> bytes:
    try:
        value = json.loads(_decode(body), parse_int=_parse_int, parse_float=_parse_float, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise PayloadError(f"the body is not JSON: {cause}", details={"body": [f"Not JSON: {cause}"]}) from None
    return _SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False)).encode()


def _decode(body: bytes) -> str:
    return body.decode(json.detect_encoding(body), "replace")


def _parse_int(digits: str) -> int | float | None:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else _parse_float(digits)


def _parse_float(digits: str) -> float | None:
    number = float(digits)
    return number if abs(number) != float("inf") else None
