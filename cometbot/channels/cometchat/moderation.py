"""Reads the requests of CometChat's moderation: a message to judge, and the texts before it. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from cometbot.channels.cometchat import parsing, payloads, schemas
from cometbot.channels.cometchat.payloads import find_entity
from cometbot.channels.cometchat.raw_payloads import find_id
from cometbot.errors import PayloadError
from cometbot.models import Conversation, User
from cometbot.moderation import ContextMessage, ModerationItem, Verdict


def read_item(payload: Mapping[str, Any], *, account: str, bot: str) -> ModerationItem:
    """Return the message to judge in ``payload``, which is the last of its ``contextMessages``.

    Each entry maps a uid to a text, the last one to a whole message, in which the uid may be another user's: the
    message itself says who sent it. Entries and fields of other types count as absent. Raises :class:`PayloadError` if
    the last entry has no message, or an empty one.
    """
    entries = payload.get("contextMessages")
    entries = entries if isinstance(entries, list) else []
    message = _find_message(entries[-1] if entries else None)
    if message is None:
        raise PayloadError(
            "contextMessages: expected a list whose last entry has the message to judge",
            details={"contextMessages": ["The last entry must be an object with a message object."]},
        )
    return _make_item(message, tuple(_read_context(entries[:-1])), account, bot)


def make_answer(verdict: Verdict) -> bytes:
    """Return the body of the response with a verdict."""
    reason = verdict.reason.encode("utf-8", "replace").decode()
    return orjson.dumps({"isMatchingCondition": verdict.match, "confidence": verdict.confidence, "reason": reason})


def _find_message(entry: object) -> dict[str, Any] | None:
    values = entry.values() if isinstance(entry, dict) else ()
    return next((value for value in values if isinstance(value, dict) and value), None)


def _read_context(entries: list[Any]) -> Iterator[ContextMessage]:
    for entry in entries:
        for uid, text in entry.items() if isinstance(entry, dict) else ():
            if isinstance(text, str):
                yield ContextMessage(uid, text)


def _make_item(raw: dict[str, Any], context: tuple[ContextMessage, ...], account: str, bot: str) -> ModerationItem:
    message = payloads.load_message(raw)
    is_group = message["receiverType"] == "group"
    place = (parsing.CHANNEL, account, bot, message["conversationId"].lower(), message["receiver"].lower())
    conversation = Conversation(*place, is_group=is_group)
    event = parsing.make_message(message, parsing.make_history_context(conversation, raw))
    receiver = schemas.find_user(find_entity(message, "receiver"))
    if receiver is None and find_id(message["receiver"]):
        receiver = User(message["receiver"])
    return ModerationItem(
        sender=event.sender,
        text=event.text,
        context=context,
        type=event.type,
        category=event.category,
        attachments=event.attachments,
        mentions=event.mentions,
        receiver=None if is_group else receiver,
        group=event.group,
        id=event.id,
        conversation_id=message["conversationId"],
        thread_id=event.thread_id,
        sent_at=event.sent_at,
        tags=event.tags,
        metadata=event.metadata,
        data=event.data,
        raw=raw,
    )
