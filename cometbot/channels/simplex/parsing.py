"""Parses stored events of the SimpleX CLI into cometbot's events. No I/O."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from cometbot import events
from cometbot.channels.simplex import ids
from cometbot.channels.simplex.models import Contact, Deletion, GroupInfo, Item, Member, Reaction
from cometbot.channels.simplex.models import Quote as SimplexQuote
from cometbot.channels.simplex.protocol.frames import Record
from cometbot.channels.simplex.protocol.objects import find, find_list, is_object, read_or_none
from cometbot.channels.simplex.schemas import read_field, require_field
from cometbot.errors import PayloadError
from cometbot.models import Attachment, Conversation, Mention, Quote, User
from cometbot.text import clean_file_name

FILE_SCHEME = "simplex-file:"
"""The scheme of a received file's URL; the file's id, size, name and message follow. ``ctx.client.download()`` accepts
such URLs.
"""

_MESSAGE_TYPES = {"text": "text", "link": "text", "image": "image", "video": "video", "voice": "audio", "file": "file"}
_QUOTED_COMMAND = re.compile(r"\s*/'([^'\n]+)'\s*")

_MEMBERSHIP: Mapping[str, tuple[str, str, str]] = {
    "joinedGroupMember": ("joined", "member", "member"),
    "leftMember": ("left", "member", "member"),
    "deletedMember": ("kicked", "byMember", "deletedMember"),
    "deletedMemberUser": ("kicked", "member", ""),
    "userJoinedGroup": ("joined", "hostMember", ""),
    "memberRole": ("scope_changed", "byMember", "member"),
    "memberAcceptedByOther": ("added", "acceptingMember", "member"),
    "memberBlockedForAll": ("banned", "byMember", "member"),
}
"""By the event's tag: the action, and the fields with the actor and the member (empty: the bot)."""


@dataclass(frozen=True, slots=True)
class EventContext:
    """The conversation and the key of an event, and the bot's name."""

    conversation: Conversation
    key: str
    bot_name: str

    @property
    def bot_user(self) -> User:
        """The bot as a user."""
        return User(self.bot_name, name=self.bot_name)


def read_record(body: bytes) -> Record:
    """Return the record in a stored body. Raises :class:`PayloadError` if it is not a record."""
    try:
        record = Record.from_object(orjson.loads(body))
    except (ValueError, RecursionError) as error:
        raise PayloadError("the event of the SimpleX CLI is no JSON") from error
    if record is None:
        raise PayloadError("the event of the SimpleX CLI is no record with a type")
    return record


def parse(record: Record, context: EventContext) -> events.Event:
    """Return the event for a record. Raises :class:`PayloadError` if the record does not have the required shape."""
    return _PARSERS.get(record.type, _parse_unknown)(record, context)


def has_event_type(record: Record) -> bool:
    """Return True if :func:`parse` has a type for the event, False if handlers receive an ``UnknownEvent``."""
    return record.type in _PARSERS


def make_message(item: Item, context: EventContext, raw: Mapping[str, Any]) -> events.MessageEvent:
    """Return the event for a message, received or the bot's own."""
    content = item.content
    kind = content.type if content else "unknown"
    tag = content.tag if content else item.kind
    return events.MessageEvent(
        key=context.key,
        conversation=context.conversation,
        sender=find_sender(item, context),
        group=ids.make_group(item.chat.group) if item.chat.group else None,
        sent_at=item.sent_at,
        raw=raw,
        id=str(item.item_id),
        type=_MESSAGE_TYPES.get(kind, tag),
        category="message" if kind in _MESSAGE_TYPES else "custom",
        text=_text(item, context),
        attachments=_attachments(item),
        mentions=tuple(Mention(_mentioned_uid(item, name, context), name) for name in item.mentions),
        quote=_quote(item.quote, item, context),
        metadata=_metadata(item),
        data=_data(item),
    )


def find_sender(item: Item, context: EventContext) -> User:
    """Return the author of an item: a contact, a member, the group (channels send without a member), or the bot."""
    if item.direction.endswith("Snd"):
        return context.bot_user
    group = item.chat.group
    if item.member is None and item.chat.contact is None and group is not None:
        return User(f"group-{group.group_id}", name=group.profile.display_name)
    return _make_user(item.member, item.chat.contact, group)


def _make_user(member: Member | None, contact: Contact | None, group: GroupInfo | None) -> User:
    """Return the member of a group, or else the contact, or else a user without an id."""
    if member is not None:
        return ids.make_member_user(member, group)
    return ids.make_contact_user(contact) if contact is not None else User("")


def _text(item: Item, context: EventContext) -> str:
    """Return the text with mentions written as ``<@uid:…>``."""
    text = item.text
    quoted = _QUOTED_COMMAND.fullmatch(text)
    if quoted:
        return f"/{quoted[1].strip()}"
    if not item.mentions:
        return text
    parts = [part for part in item.formatted if isinstance(part.get("text"), str)]
    if "".join(part["text"] for part in parts) != text or not all(_is_complete_mention(part) for part in parts):
        return _replace_mentions_by_name(text, item, context)
    return "".join(_render_mention(part, item, context) for part in parts)


def _get_mentioned_name(part: Mapping[str, Any]) -> str:
    """Return the name in a part of a text that is a mention; empty for other parts."""
    name = find(part, "format.memberName") if find(part, "format.type") == "mention" else None
    return name if isinstance(name, str) else ""


def _is_complete_mention(part: Mapping[str, Any]) -> bool:
    """Return True if a part is no mention, or holds a whole one."""
    name = _get_mentioned_name(part)
    return not name or part["text"] in (f"@{name}", f"@'{name}'")


def _render_mention(part: Mapping[str, Any], item: Item, context: EventContext) -> str:
    name = _get_mentioned_name(part)
    return f"<@uid:{_mentioned_uid(item, name, context)}>" if name in item.mentions else str(part["text"])


def _replace_mentions_by_name(text: str, item: Item, context: EventContext) -> str:
    for name in sorted(item.mentions, key=len, reverse=True):
        token = f"<@uid:{_mentioned_uid(item, name, context)}>"
        text = text.replace(f"@'{name}'", token)
        text = re.sub(rf"@{re.escape(name)}(?!\w)", lambda _, token=token: token, text)  # type: ignore[misc]
    return text


def _mentioned_uid(item: Item, name: str, context: EventContext) -> str:
    group = item.chat.group
    member_id = item.mentions[name]
    if group is not None and group.membership is not None and group.membership.member_id == member_id:
        return context.bot_name
    return f"{ids.MEMBER_PREFIX}{member_id}"


def _quote(quote: SimplexQuote | None, item: Item, context: EventContext) -> Quote | None:
    if quote is None:
        return None
    return Quote(
        id=str(quote.item_id or ""), text=quote.content.text, sender=_quoted_uid(quote, item, context), raw=quote.raw
    )


def _quoted_uid(quote: SimplexQuote, item: Item, context: EventContext) -> str:
    if quote.is_own:
        return context.bot_name
    if quote.member is not None:
        return ids.get_member_uid(quote.member)
    return str(item.chat.contact.contact_id) if item.chat.contact else ""


def _attachments(item: Item) -> tuple[Attachment, ...]:
    file = item.file
    if file is None:
        return ()
    name = clean_file_name(file.name)
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    mime_type = mimetypes.guess_type(f"x.{extension}")[0] or "" if extension else ""
    url = f"{FILE_SCHEME}{file.file_id}?size={file.size}&name={quote(name[:200], safe='')}"
    if item.chat.ref is not None:
        url += f"&chat={quote(str(item.chat.ref), safe='')}&item={item.item_id}"
    return (Attachment(url, name, mime_type, extension, file.size),)


def _metadata(item: Item) -> dict[str, Any]:
    """Return further properties of the item."""
    known = {
        "item_id": item.item_id,
        "shared_id": item.shared_id or None,
        "ttl": item.ttl,
        "edited": item.is_edited or None,
        "forwarded": is_object(find(item.raw, "chatItem.meta.itemForwarded")) or None,
    }
    return _without_none(known)


def _data(item: Item) -> dict[str, Any]:
    content = item.content
    if content is None:
        return {}
    data = {
        "preview": dict(content.preview) or None,
        "image": content.image or None,
        "seconds": content.seconds,
        "content": dict(content.raw) if content.type in ("unknown", "chat", "report") else None,
    }
    return _without_none(data)


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _parse_message(record: Record, context: EventContext) -> events.Event:
    return make_message(require_field(record, "chatItems"), context, record.raw)


def _parse_update(record: Record, context: EventContext) -> events.Event:
    """Return an edit, or the message if the key is a message's: that was a live message, which has now ended."""
    item: Item = require_field(record, "chatItem")
    message = make_message(item, context, record.raw)
    if context.key.startswith("message:"):
        return message
    return events.EditEvent(
        **_common_fields(context, record, message.sender, item.chat.group), sent_at=item.sent_at, message=message
    )


def _parse_deletion(record: Record, context: EventContext) -> events.Event:
    deletion: Deletion = require_field(record, "chatItemDeletions")
    item = deletion.item
    message = make_message(item, context, record.raw)
    common = _common_fields(context, record, message.sender, item.chat.group)
    return events.DeleteEvent(**common, message_id=str(item.item_id), message=message)


def _parse_group_deletion(record: Record, context: EventContext) -> events.Event:
    """Parse a deletion in a group, of which the CLI reports only item ids."""
    item_ids = find_list(record.raw, "chatItemIDs")
    if not item_ids or isinstance(item_ids[0], bool) or not isinstance(item_ids[0], int):
        raise PayloadError("the event of the SimpleX CLI names no message that was deleted")
    group: GroupInfo | None = read_field(record, "groupInfo")
    member: Member | None = read_field(record, "member_")
    sender = _make_user(member, None, group)
    return events.DeleteEvent(**_common_fields(context, record, sender, group), message_id=str(item_ids[0]))


def _parse_reaction(record: Record, context: EventContext) -> events.Event:
    reaction: Reaction = require_field(record, "reaction")
    chat = reaction.chat
    sender = _make_user(reaction.member, chat.contact, chat.group)
    return events.ReactionEvent(
        **_common_fields(context, record, sender, chat.group),
        sent_at=reaction.sent_at,
        message_id=str(reaction.item.item_id),
        reaction=reaction.emoji,
        added=record.raw.get("added") is not False,
    )


def _parse_membership(record: Record, context: EventContext) -> events.Event:
    action, by, whom = _MEMBERSHIP[record.type]
    if record.raw.get("blocked") is False:
        action = "unbanned"
    group: GroupInfo | None = read_field(record, "groupInfo")
    actor = ids.make_member_user(require_field(record, by), group)
    member = ids.make_member_user(require_field(record, whom), group) if whom else context.bot_user
    scope, before = (str(record.raw.get(name) or "") for name in ("toRole", "fromRole"))
    common = _common_fields(context, record, actor, group)
    kind = events.MembershipEvent if whom or action != "joined" else events.GroupStarted
    return kind(**common, action=action, members=(member,), scope=scope, old_scope=before)


def _parse_connected_contact(record: Record, context: EventContext) -> events.Event:
    sender = ids.make_contact_user(require_field(record, "contact"))
    return events.ContactStarted(**_common_fields(context, record, sender, None), action="connected")


def _parse_business_contact(record: Record, context: EventContext) -> events.Event:
    """Parse the connection of a customer through the business address, for whom the CLI created a group."""
    group: GroupInfo = require_field(record, "groupInfo")
    customer = group.business.customer_id if group.business else ""
    sender = User(f"{ids.MEMBER_PREFIX}{customer}", name=group.profile.display_name or group.name, role="customer")
    is_new = record.type == "acceptingBusinessRequest"
    kind = events.ContactStarted if is_new else events.ContactEvent
    return kind(**_common_fields(context, record, sender, group), action="connected")


def _parse_contact_request(record: Record, context: EventContext) -> events.Event:
    sender = ids.make_request_user(require_field(record, "contactRequest"))
    return events.ContactEvent(**_common_fields(context, record, sender, None), action="request")


def _parse_unknown(record: Record, context: EventContext) -> events.Event:
    """Parse any other event of a chat."""
    raw = record.raw
    item = read_or_none(Item, raw.get("chatItem") or raw.get("chatItem_"))
    contact, group = read_or_none(Contact, raw.get("contact")), read_or_none(GroupInfo, raw.get("groupInfo"))
    member = read_or_none(Member, raw.get("member"))
    if item is not None:
        sender, group = find_sender(item, context), item.chat.group
    else:
        sender = _make_user(member, contact, group)
    return events.UnknownEvent(**_common_fields(context, record, sender, group), kind=record.type)


def _common_fields(context: EventContext, record: Record, sender: User, group: GroupInfo | None) -> dict[str, Any]:
    common = {"key": context.key, "conversation": context.conversation, "raw": record.raw, "sender": sender}
    return {**common, "group": ids.make_group(group) if group is not None else None}


_PARSERS: Mapping[str, Callable[[Record, EventContext], events.Event]] = {
    "newChatItems": _parse_message,
    "chatItemUpdated": _parse_update,
    "chatItemsDeleted": _parse_deletion,
    "groupChatItemsDeleted": _parse_group_deletion,
    "chatItemReaction": _parse_reaction,
    **dict.fromkeys(_MEMBERSHIP, _parse_membership),
    "contactConnected": _parse_connected_contact,
    "acceptingBusinessRequest": _parse_business_contact,
    "businessRequestAlreadyAccepted": _parse_business_contact,
    "receivedContactRequest": _parse_contact_request,
}
