"""Asks a bot's function for moderation about a message, in the form in which CometChat sends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.cometchat.moderation import read_item
from cometbot.content_types import media_family
from cometbot.errors import BotError
from cometbot.models import Attachment, User, file_reader
from cometbot.moderation import Verdict, moderate


def ask_moderation(
    bot: Bot,
    text: str,
    *,
    sender: User,
    group: str,
    context: Sequence[str | tuple[str, str]],
    attachment: Attachment | None,
    sent_at: float,
    read_file: Callable[[Attachment, int], bytes],
) -> Verdict:
    """Return what ``bot`` says about a message of ``sender``, and raise what its function raises.

    ``context`` are the texts before it, oldest first: of ``sender``, or with the uid of another user before. Raises
    :class:`BotError` if the bot has no function, or if it returns no decision.
    """
    if bot.moderation is None:
        raise BotError(f"moderate: the bot {bot.name} judges no messages; decorate a function with @bot.moderate")
    earlier = [(sender.uid, item) if isinstance(item, str) else item for item in context]
    message = _make_message(text, sender, group, attachment, int(sent_at))
    payload = {"contextMessages": [*({uid: said} for uid, said in earlier), {message["receiver"]: message}]}
    item = read_item(payload, account="test", bot=bot.name)
    token = file_reader.set(read_file)
    try:
        return moderate(bot.moderation, item)
    finally:
        file_reader.reset(token)


def _make_message(text: str, sender: User, group: str, attachment: Attachment | None, sent_at: int) -> dict[str, Any]:
    receiver = group or "somebody"
    data: dict[str, Any] = {"text": text} if text or attachment is None else {}
    if attachment is not None:
        data["attachments"] = [_attachment_json(attachment)]
    entity = {"entityType": "group", "entity": {"guid": group, "name": group}}
    if not group:
        entity = {"entityType": "user", "entity": {"uid": receiver, "name": receiver.title()}}
    data["entities"] = {"sender": {"entityType": "user", "entity": _user_json(sender)}, "receiver": entity}
    return {
        "id": "1",
        "conversationId": f"group_{group}" if group else "_user_".join(sorted((sender.uid, receiver))),
        "sender": sender.uid,
        "receiverType": "group" if group else "user",
        "receiver": receiver,
        "category": "message",
        "type": "text" if attachment is None else media_family(attachment.mime_type),
        "data": data,
        "sentAt": sent_at,
        "updatedAt": sent_at,
    }


def _user_json(user: User) -> dict[str, Any]:
    known = {name: getattr(user, name) for name in ("uid", "name", "avatar", "link", "role", "status")}
    lists = {"tags": list(user.tags), "metadata": dict(user.metadata)}
    return {name: value for name, value in {**known, **lists}.items() if value}


def _attachment_json(attachment: Attachment) -> dict[str, Any]:
    return {
        "url": attachment.url,
        "name": attachment.name,
        "mimeType": attachment.mime_type,
        "extension": attachment.extension,
        "size": attachment.size,
    }
