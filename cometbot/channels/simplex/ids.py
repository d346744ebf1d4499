"""Ids of conversations, users and groups, and the mentions of users by their ids.

Ids are made from the CLI's ids and never from names that users choose.

A contact's uid is its id (``4``). A group member who is also a contact has that uid; other members have ``member-`` and
the id that is the same for all members. A group's guid is its id; the chat of one member with the group's moderators is
``3(_support:11)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cometbot.channels.simplex.models import Chat, Contact, ContactRequest, GroupInfo, Member
from cometbot.channels.simplex.protocol.refs import ChatRef
from cometbot.errors import BotError, MessageError, Rejected
from cometbot.models import Conversation, Group, User, to_scope

CHANNEL = "simplex"
REQUEST_PREFIX = "request-"
MEMBER_PREFIX = "member-"

_MENTION = re.compile(r"<@uid:([^<>\s]{1,200})>")
_PLAIN_NAME = re.compile(r"\w+")
_NUMBER = re.compile(r"[1-9]\d{0,18}", re.ASCII)
_GROUP = re.compile(r"[1-9]\d{0,18}(?:\(_support(?::[1-9]\d{0,18})?\))?", re.ASCII)


def make_direct_conversation(account: str, bot: str, uid: str) -> Conversation:
    """Return the conversation with a contact. Raises :class:`BotError` if ``uid`` is not a contact's."""
    if not _NUMBER.fullmatch(uid):
        hint = "a group member gets direct messages only once it is a contact" if uid.startswith(MEMBER_PREFIX) else ""
        raise BotError(
            f"SimpleX contact: expected a number as in ctx.sender.uid (for example '4'), got {uid[:60]!r}"
            + (f"; {hint}" if hint else "")
        )
    return Conversation(CHANNEL, account, bot, f"contact_{uid}", uid)


def make_group_conversation(account: str, bot: str, guid: str) -> Conversation:
    """Return the conversation of a group. Raises :class:`BotError` if ``guid`` is not a group's id."""
    if not _GROUP.fullmatch(guid):
        raise BotError(
            f"SimpleX group: expected a number as in ctx.event.group.guid (for example '3'), got {guid[:60]!r}"
        )
    return Conversation(CHANNEL, account, bot, f"group_{guid}", guid, is_group=True)


def make_request_conversation(account: str, bot: str, contact_request: ContactRequest) -> Conversation:
    """Return the conversation of a contact request. No message can be sent there before it is accepted."""
    name = f"{REQUEST_PREFIX}{contact_request.request_id}"
    return Conversation(CHANNEL, account, bot, name, name)


def make_chat_conversation(account: str, bot: str, chat: Chat) -> Conversation | None:
    """Return the conversation of a chat, or None if the chat cannot be written to."""
    ref = chat.ref
    if ref is None or ref.kind not in ("direct", "group"):
        return None
    make = make_direct_conversation if ref.kind == "direct" else make_group_conversation
    return make(account, bot, str(ref)[1:])


def make_chat_ref(conversation: Conversation) -> ChatRef:
    """Return the reference of a conversation for commands. Raises :class:`Rejected` if nothing can be sent to it."""
    if conversation.target.startswith(REQUEST_PREFIX):
        raise Rejected(
            "cannot send to a user who is not connected yet: accept the contact request first", code="not_connected"
        )
    try:
        return ChatRef.from_text(f"{'#' if conversation.is_group else '@'}{conversation.target}")
    except MessageError as error:
        raise Rejected(f"there is no such chat: {error}", code="no_chat") from error


def make_contact_user(contact: Contact) -> User:
    """Return the user for a contact."""
    ids = {"contact_id": contact.contact_id}
    return _make_user(str(contact.contact_id), contact, ids, link=contact.profile.link, status=contact.status)


def get_member_uid(member: Member) -> str:
    """Return the uid of a group member."""
    return str(member.contact_id) if member.contact_id is not None else f"{MEMBER_PREFIX}{member.member_id}"


def make_member_user(member: Member, group_info: GroupInfo | None) -> User:
    """Return the user for a group member. The customer of a business chat has the role ``customer``."""
    business = group_info.business if group_info else None
    is_customer = business is not None and bool(member.member_id) and member.member_id == business.customer_id
    return _make_user(
        get_member_uid(member),
        member,
        {name: getattr(member, name) for name in ("contact_id", "group_member_id", "member_id")},
        link=member.profile.link,
        role="customer" if is_customer else member.role,
        status=member.status,
        scope=to_scope(member.role),
    )


def make_request_user(contact_request: ContactRequest) -> User:
    """Return the user for a contact request, who is not a contact yet."""
    number = contact_request.request_id
    return _make_user(f"{REQUEST_PREFIX}{number}", contact_request, {"request_id": number})


def _make_user(uid: str, known: Contact | Member | ContactRequest, metadata: dict[str, Any], **fields: Any) -> User:
    profile = known.profile
    return User(
        uid=uid,
        name=profile.display_name or known.name,
        avatar=profile.image,
        metadata={**metadata, "is_bot": profile.is_bot},
        raw=known.raw,
        **fields,
    )


def make_group(group_info: GroupInfo) -> Group:
    """Return a group. Its type is ``business`` or ``private``, its scope the bot's own role in it."""
    business = group_info.business
    known = {"customer_id": business.customer_id, "business_id": business.business_id} if business else {}
    return Group(
        guid=str(group_info.group_id),
        name=group_info.profile.display_name or group_info.name,
        type="business" if business else "private",
        icon=group_info.profile.image,
        description=group_info.profile.description,
        scope=group_info.membership.role if group_info.membership else "",
        members_count=group_info.members_count,
        metadata=known,
        raw=group_info.raw,
    )


def has_mentions(content: Mapping[str, Any]) -> bool:
    """Return True if a content's text contains mentions."""
    return _MENTION.search(str(content.get("text") or "")) is not None


def resolve_mentions(
    content: Mapping[str, Any], find: Callable[[str], Member | None]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return ``content`` with names in place of uids, and the group member ids of the mentioned members by name.

    ``find`` returns the member for a uid. If there is none, its uid stays in the text, but nobody is notified. Of two
    members with the same name only the first is notified.
    """
    mentioned: dict[str, int] = {}

    def name(match: re.Match[str]) -> str:
        member = find(match[1])
        if member is None:
            return f"@{match[1]}"
        display_name = member.profile.display_name or member.name
        if "'" in display_name or not display_name.strip():
            return f"@{display_name or match[1]}"
        mentioned.setdefault(display_name, member.group_member_id)
        return f"@{display_name}" if _PLAIN_NAME.fullmatch(display_name) else f"@'{display_name}'"

    return {**content, "text": _MENTION.sub(name, str(content.get("text") or ""))}, mentioned


def make_member_finder(members: list[Member]) -> Callable[[str], Member | None]:
    """Return a function that finds a member by uid, or by the id that is the same for all members."""
    by_uid = {
        uid: member for member in members for uid in (f"{MEMBER_PREFIX}{member.member_id}", get_member_uid(member))
    }
    return by_uid.get
