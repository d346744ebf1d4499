"""Turns what was stored of the SimpleX CLI's events into ours. No I/O."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from cometbot.channels.simplex import names
from cometbot.channels.simplex.protocol.frames import Record
from cometbot.channels.simplex.schemas import read
from cometbot.channels.simplex.views import Deletion, GroupInfo, Item, Member, Reaction
from cometbot.channels.simplex.views import Quote as SimplexQuote
from cometbot.errors import PayloadError
from cometbot.events import (
    ContactEvent,
    DeleteEvent,
    EditEvent,
    Event,
    MembershipEvent,
    MessageEvent,
    ReactionEvent,
    UnknownEvent,
)
from cometbot.models import Attachment, Conversation, Mention, Quote, User
from cometbot.text import clean_file_name

FILE_SCHEME = "simplex-file:"
"""What the URL of a received file begins with; its number, size, name and place follow. ``ctx.client.download()`` takes
it."""

_TYPES = {"text": "text", "link": "text", "image": "image", "video": "video", "voice": "audio", "file": "file"}
_QUOTED_COMMAND = re.compile(r"\s*/'([^'\n]+)'\s*")
_FORWARDED = "itemForwarded"

_MEMBERSHIP: Mapping[str, tuple[str, str, str]] = {
    "joinedGroupMember": ("joined", "member", "member"),
    "leftMember": ("left", "member", "member"),
    "deletedMember": ("kicked", "byMember", "deletedMember"),
    "deletedMemberUser": ("kicked", "member", ""),
    "userJoinedGroup": ("joined", "hostMember", ""),
    "memberRole": ("scope_changed", "byMember", "member"),
    "memberAcceptedByOther": ("added", "acceptingMember", "member"),
}
"""By the event's tag: our action, and the fields with who did it and to whom (empty: to the bot)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event belongs: its conversation, its key, and how the bot is called."""

    conversation: Conversation
    key: str
    own: str

    @property
    def bot_user(self) -> User:
        """The bot, as somebody who takes part."""
        return User(self.own, name=self.own)


def read_record(body: bytes) -> Record:
    """The record in a stored body. Raises :class:`PayloadError` for what is none."""
    try:
        record = Record.from_object(orjson.loads(body))
    except (ValueError, RecursionError) as error:
        raise PayloadError("the event of the SimpleX CLI is no JSON") from error
    if record is None:
        raise PayloadError("the event of the SimpleX CLI is no record with a type")
    return record


def parse(record: Record, place: Place) -> Event:
    """The event. Raises :class:`PayloadError` for one that has not the shape that it must have."""
    if record.type in _MEMBERSHIP:
        return _membership(record, place)
    parser = _PARSERS.get(record.type)
    return parser(record, place) if parser else _unknown(record, place)


def make_message(item: Item, place: Place, raw: Mapping[str, Any]) -> MessageEvent:
    """A message, received or the bot's own."""
    content = item.content
    kind = content.type if content else "unknown"
    tag = content.tag if content else item.kind
    return MessageEvent(
        key=place.key,
        conversation=place.conversation,
        sender=sender_of(item, place),
        group=names.to_group(item.chat.group) if item.chat.group else None,
        sent_at=item.sent_at,
        raw=raw,
        id=str(item.item_id),
        type=_TYPES.get(kind, tag),
        category="message" if kind in _TYPES else "custom",
        text=_text(item, place),
        attachments=_attachments(item),
        mentions=tuple(_mentions(item, place)),
        quote=_quote(item.quote, item, place),
        metadata=_metadata(item),
        data=_data(item),
    )


def sender_of(item: Item, place: Place) -> User:
    """Who wrote an item: a contact, a member, the group itself (a channel speaks without a member), or the bot."""
    if item.direction.endswith("Snd"):
        return place.bot_user
    if item.member is not None:
        return names.member_user(item.member, item.chat.group)
    if item.chat.contact is not None:
        return names.contact_user(item.chat.contact)
    group = item.chat.group
    return User(f"group-{group.group_id}", name=group.profile.display_name) if group else User("")


def _text(item: Item, place: Place) -> str:
    """What was written, with mentions spelled ``<@uid:…>``."""
    text = item.text
    quoted = _QUOTED_COMMAND.fullmatch(text)
    if quoted:
        return f"/{quoted[1].strip()}"
    if not item.mentions:
        return text
    parts = [part for part in item.formatted if isinstance(part.get("text"), str)]
    if "".join(part["text"] for part in parts) != text or not all(_is_whole(part) for part in parts):
        return _spell_by_name(text, item, place)
    return "".join(_spell(part, item, place) for part in parts)


def _named(part: Mapping[str, Any]) -> str:
    """The name in a part of a text that is a mention, empty for other parts."""
    form = part.get("format")
    name = form.get("memberName") if isinstance(form, Mapping) and form.get("type") == "mention" else None
    return name if isinstance(name, str) else ""


def _is_whole(part: Mapping[str, Any]) -> bool:
    """Whether a part that is a mention holds all of it."""
    name = _named(part)
    return not name or part["text"] in (f"@{name}", f"@'{name}'")


def _spell(part: Mapping[str, Any], item: Item, place: Place) -> str:
    name = _named(part)
    return f"<@uid:{_mentioned_uid(item, name, place)}>" if name in item.mentions else str(part["text"])


def _spell_by_name(text: str, item: Item, place: Place) -> str:
    for name in sorted(item.mentions, key=len, reverse=True):
        token = f"<@uid:{_mentioned_uid(item, name, place)}>"
        text = text.replace(f"@'{name}'", token)
        text = re.sub(rf"@{re.escape(name)}(?!\w)", lambda _, token=token: token, text)  # type: ignore[misc]
    return text


def _mentions(item: Item, place: Place) -> Sequence[Mention]:
    return [Mention(_mentioned_uid(item, name, place), name) for name in item.mentions]


def _mentioned_uid(item: Item, name: str, place: Place) -> str:
    group = item.chat.group
    member_id = item.mentions[name]
    if group is not None and group.membership is not None and group.membership.member_id == member_id:
        return place.own
    return f"{names.MEMBER}{member_id}"


def _quote(quote: SimplexQuote | None, item: Item, place: Place) -> Quote | None:
    if quote is None:
        return None
    return Quote(
        id=str(quote.item_id or ""), text=quote.content.text, sender=_quoted_uid(quote, item, place), raw=quote.raw
    )


def _quoted_uid(quote: SimplexQuote, item: Item, place: Place) -> str:
    if quote.is_own:
        return place.own
    if quote.member is not None:
        return names.member_uid(quote.member)
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
    """What else the CLI says of the item."""
    known: dict[str, Any] = {"item_id": item.item_id}
    if item.shared_id:
        known["shared_id"] = item.shared_id
    if item.ttl is not None:
        known["ttl"] = item.ttl
    if item.is_edited:
        known["edited"] = True
    meta = item.raw.get("chatItem", {}).get("meta", {}) if isinstance(item.raw.get("chatItem"), Mapping) else {}
    if isinstance(meta, Mapping) and isinstance(meta.get(_FORWARDED), Mapping):
        known["forwarded"] = True
    return known


def _data(item: Item) -> dict[str, Any]:
    content = item.content
    if content is None:
        return {}
    data: dict[str, Any] = {}
    if content.preview:
        data["preview"] = dict(content.preview)
    if content.image:
        data["image"] = content.image
    if content.seconds is not None:
        data["seconds"] = content.seconds
    if content.type == "unknown" or content.type in ("chat", "report"):
        data["content"] = dict(content.raw)
    return data


def _message(record: Record, place: Place) -> Event:
    return make_message(_first_item(record, "chatItems"), place, record.raw)


def _update(record: Record, place: Place) -> Event:
    """An edit; or, under the key of a message, the end of one that was being written before our eyes."""
    item: Item | None = read(record, "chatItem")
    if item is None:
        raise PayloadError("the event of the SimpleX CLI lacks its chatItem")
    message = make_message(item, place, record.raw)
    if place.key.startswith("message:"):
        return message
    return EditEvent(**_common(place, record, message.sender, item.chat.group), sent_at=item.sent_at, message=message)


def _deletion(record: Record, place: Place) -> Event:
    deletions: list[Deletion] = read(record, "chatItemDeletions") or []
    if not deletions:
        raise PayloadError("the event of the SimpleX CLI names no message that was deleted")
    item = deletions[0].item
    message = make_message(item, place, record.raw)
    common = _common(place, record, message.sender, item.chat.group)
    return DeleteEvent(**common, message_id=str(item.item_id), message=message)


def _group_deletion(record: Record, place: Place) -> Event:
    """A deletion in a group that tells only numbers."""
    ids = record.raw.get("chatItemIDs")
    if not isinstance(ids, list) or not ids or isinstance(ids[0], bool) or not isinstance(ids[0], int):
        raise PayloadError("the event of the SimpleX CLI names no message that was deleted")
    group: GroupInfo | None = read(record, "groupInfo")
    member: Member | None = read(record, "member_")
    sender = names.member_user(member, group) if member else User("")
    return DeleteEvent(**_common(place, record, sender, group), message_id=str(ids[0]))


def _reaction(record: Record, place: Place) -> Event:
    reaction: Reaction | None = read(record, "reaction")
    if reaction is None:
        raise PayloadError("the event of the SimpleX CLI lacks its reaction")
    chat = reaction.chat
    if reaction.member is not None:
        sender = names.member_user(reaction.member, chat.group)
    else:
        sender = names.contact_user(chat.contact) if chat.contact else User("")
    return ReactionEvent(
        **_common(place, record, sender, chat.group),
        sent_at=reaction.sent_at,
        message_id=str(reaction.item.item_id),
        reaction=reaction.emoji,
        added=record.raw.get("added") is not False,
    )


def _membership(record: Record, place: Place) -> Event:
    action, by, whom = _MEMBERSHIP[record.type]
    group: GroupInfo | None = read(record, "groupInfo")
    doer, done = _member_of(record, by, group), _member_of(record, whom, group) if whom else place.bot_user
    scope, before = (str(record.raw.get(name) or "") for name in ("toRole", "fromRole"))
    common = _common(place, record, doer, group)
    return MembershipEvent(**common, action=action, members=(done,), scope=scope, old_scope=before)


def _block(record: Record, place: Place) -> Event:
    group: GroupInfo | None = read(record, "groupInfo")
    action = "unbanned" if record.raw.get("blocked") is False else "banned"
    common = _common(place, record, _member_of(record, "byMember", group), group)
    return MembershipEvent(**common, action=action, members=(_member_of(record, "member", group),))


def _member_of(record: Record, name: str, group: GroupInfo | None) -> User:
    member: Member | None = read(record, name)
    if member is None:
        raise PayloadError(f"the event of the SimpleX CLI lacks its {name}")
    return names.member_user(member, group)


def _connected(record: Record, place: Place) -> Event:
    contact = read(record, "contact")
    if contact is None:
        raise PayloadError("the event of the SimpleX CLI lacks its contact")
    return ContactEvent(**_common(place, record, names.contact_user(contact), None), action="connected")


def _business(record: Record, place: Place) -> Event:
    """A customer who came through the business address, into a group of its own."""
    group: GroupInfo | None = read(record, "groupInfo")
    if group is None:
        raise PayloadError("the event of the SimpleX CLI lacks its groupInfo")
    customer = group.business.customer_id if group.business else ""
    sender = User(f"{names.MEMBER}{customer}", name=group.profile.display_name or group.name, role="customer")
    return ContactEvent(**_common(place, record, sender, group), action="connected")


def _request(record: Record, place: Place) -> Event:
    asked = read(record, "contactRequest")
    if asked is None:
        raise PayloadError("the event of the SimpleX CLI lacks its contactRequest")
    return ContactEvent(**_common(place, record, names.request_user(asked), None), action="request")


def _unknown(record: Record, place: Place) -> Event:
    """Anything else that belongs to a chat."""
    contact, group = _read_quietly(record, "contact"), _read_quietly(record, "groupInfo")
    item = _read_quietly(record, "chatItem") or _read_quietly(record, "chatItem_")
    member = _read_quietly(record, "member")
    if isinstance(item, Item):
        sender, group = sender_of(item, place), item.chat.group
    elif isinstance(member, Member):
        sender = names.member_user(member, group)
    else:
        sender = names.contact_user(contact) if contact else User("")
    return UnknownEvent(**_common(place, record, sender, group), kind=record.type)


def _read_quietly(record: Record, name: str) -> Any:
    try:
        return read(record, name)
    except PayloadError:
        return None


def _common(place: Place, record: Record, sender: User, group: GroupInfo | None) -> dict[str, Any]:
    shown = names.to_group(group) if group is not None else None
    return {
        "key": place.key,
        "conversation": place.conversation,
        "sender": sender,
        "group": shown,
        "raw": record.raw,
    }


def _first_item(record: Record, name: str) -> Item:
    items: list[Item] = read(record, name) or []
    if not items:
        raise PayloadError("the event of the SimpleX CLI holds no message")
    return items[0]


_PARSERS: Mapping[str, Callable[[Record, Place], Event]] = {
    "newChatItems": _message,
    "chatItemUpdated": _update,
    "chatItemsDeleted": _deletion,
    "groupChatItemsDeleted": _group_deletion,
    "chatItemReaction": _reaction,
    "memberBlockedForAll": _block,
    "contactConnected": _connected,
    "acceptingBusinessRequest": _business,
    "businessRequestAlreadyAccepted": _business,
    "receivedContactRequest": _request,
}
