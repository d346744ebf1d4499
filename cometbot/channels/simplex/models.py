"""Models of the objects in answers and events, with the paths of their fields in the CLI's objects.

Ids are those of one CLI's database, with a number space for each kind. Enum values and tags are the CLI's own strings,
unknown ones included. Times are in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from cometbot.channels.simplex.protocol.objects import (
    CliObject,
    Id,
    Raw,
    Tag,
    Time,
    find,
    find_list,
    is_object,
    read_object,
    read_or_none,
    read_tag,
)
from cometbot.channels.simplex.protocol.refs import ChatRef

RECEIVED_MESSAGE = "rcvMsgContent"
SENT_MESSAGE = "sndMsgContent"
CONTENT_TYPES = ("text", "link", "image", "video", "voice", "file", "report", "chat")

_LocalName = Annotated[str, "localDisplayName"]


def _read_content_type(value: object) -> str:
    tag = read_tag(value)
    return tag if tag in CONTENT_TYPES else "unknown"


def _read_sender_type(content: Raw) -> str:
    """Return the sender's own type: a ``tag`` counts only in content of an unknown type."""
    kind, tag = read_tag(content.get("type")), content.get("tag")
    return tag if kind not in CONTENT_TYPES and isinstance(tag, str) and tag else kind


def _is_present(value: object) -> bool:
    return value is not None


def _is_support(value: object) -> bool:
    return value == "memberSupport"


def _read_member_ids(value: object) -> dict[str, str]:
    """Return the mentioned members of a text: name → ``memberId``."""
    ids = {name: find(item, "memberId") for name, item in value.items()} if isinstance(value, Mapping) else {}
    return {name: member for name, member in ids.items() if isinstance(member, str) and member}


def _read_objects(value: object) -> tuple[Raw, ...]:
    return tuple(item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else ()


def _read_full_link(link: Any) -> str:
    """Return the full link of a link object, which must exist; empty if it has none."""
    if not is_object(link):
        raise ValueError("Not a valid link.")
    text = link.get("connFullLink")
    return text if isinstance(text, str) else ""


def _read_reacted_item(reaction: Raw) -> Item:
    """Return the item of a reaction, as an item of the chat."""
    item = find(reaction, "chatReaction.chatItem")
    return read_object(Item, {"chatInfo": reaction.get("chatInfo"), "chatItem": item})


def _read_valid_items(chat: Raw) -> tuple[Item, ...]:
    wholes = ({"chatInfo": chat.get("chatInfo"), "chatItem": raw} for raw in find_list(chat, "chatItems"))
    return tuple(filter(None, (read_or_none(Item, whole) for whole in wholes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile(CliObject):
    """A profile as its owner filled it in. Its values are free to choose, neither unique nor permanent."""

    display_name: str = ""
    full_name: str = ""
    description: Annotated[str, "shortDescr"] = ""
    image: str = field(default="", repr=False)
    link: Annotated[str, "contactLink"] = ""
    peer_type: str = ""
    preferences: Raw = field(default_factory=dict, repr=False)

    @property
    def is_bot(self) -> bool:
        """True if the profile says that it is a bot's."""
        return self.peer_type == "bot"


@dataclass(frozen=True, slots=True, kw_only=True)
class User(CliObject):
    """A profile of this CLI. ``name`` is its name in this database."""

    user_id: Id
    name: _LocalName = ""
    profile: Profile = Profile()
    is_active: Annotated[bool, "activeUser"] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact(CliObject):
    """A contact of the bot. ``name`` is unique in this database, but may change."""

    contact_id: Id
    name: _LocalName = ""
    profile: Profile = Profile()
    status: Annotated[str, "contactStatus"] = ""
    custom_data: Raw = field(default_factory=dict, repr=False)

    @property
    def ref(self) -> ChatRef:
        """The reference of the direct chat."""
        return ChatRef("direct", self.contact_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(CliObject):
    """A group member. ``group_member_id`` is for commands, ``member_id`` is the same for all members.

    ``contact_id`` is the direct chat with this member, or None if there is none. ``is_blocked`` is true if a moderator
    has hidden the member's messages from everybody.
    """

    group_member_id: Id
    member_id: str = ""
    name: _LocalName = ""
    profile: Annotated[Profile, "memberProfile"] = Profile()
    role: Annotated[str, "memberRole"] = ""
    category: Annotated[str, "memberCategory"] = ""
    status: Annotated[str, "memberStatus"] = ""
    contact_id: Annotated[Id | None, "memberContactId"] = None
    is_blocked: Annotated[bool, "blockedByAdmin"] = False

    @property
    def is_current(self) -> bool:
        """True unless the member has left or was removed. The CLI also lists former members."""
        return self.status not in ("rejected", "removed", "left", "deleted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Business(CliObject):
    """The parties of a business chat: ``business_id`` and ``customer_id`` are the ``member_id`` of members."""

    chat_type: str = ""
    business_id: str = ""
    customer_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInfo(CliObject):
    """A group that the bot is in.

    ``membership`` is the bot as a member; ``business`` is None except in business chats.
    """

    group_id: Id
    name: _LocalName = ""
    profile: Annotated[Profile, "groupProfile"] = Profile()
    membership: Member | None = None
    business: Annotated[Business | None, "businessChat"] = None
    members_count: Annotated[int | None, "groupSummary.currentMembers"] = None
    custom_data: Raw = field(default_factory=dict, repr=False)

    @property
    def ref(self) -> ChatRef:
        """The reference of the group's chat."""
        return ChatRef("group", self.group_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat(CliObject):
    """The chat of an item. ``type`` is ``direct``, ``group``, ``local`` … or unknown.

    ``is_support`` marks the chat of one member with a group's moderators: of ``support_member``, or of the bot if that
    is None.
    """

    type: Tag
    contact: Contact | None = None
    group: Annotated[GroupInfo | None, "groupInfo"] = None
    note_folder_id: Annotated[Id | None, "noteFolder.noteFolderId"] = None
    is_support: Annotated[bool, _is_support, "groupChatScope.type"] = False
    support_member: Annotated[Member | None, "groupChatScope.groupMember_"] = None

    @property
    def ref(self) -> ChatRef | None:
        """The reference for commands, a support scope included; None if the chat cannot be written to."""
        if self.type == "direct" and self.contact:
            return self.contact.ref
        if self.type == "group" and self.group:
            member = self.support_member.group_member_id if self.support_member else None
            return ChatRef("group", self.group.group_id, "support", member) if self.is_support else self.group.ref
        if self.type == "local" and self.note_folder_id is not None:
            return ChatRef("local", self.note_folder_id)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content(CliObject):
    """The content of a message.

    ``type`` is one of :data:`CONTENT_TYPES` or ``unknown``; ``tag`` is the sender's own type.

    ``seconds`` is the duration of a voice message or video; ``preview`` describes a link.
    """

    type: Annotated[str, _read_content_type]
    tag: Annotated[str, _read_sender_type, ""] = ""
    text: str = field(default="", repr=False)
    image: str = field(default="", repr=False)
    seconds: Annotated[int | None, "duration"] = None
    preview: Raw = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote(CliObject):
    """The message that a reply quotes. ``item_id`` is None if this database does not have it.

    ``is_own`` is True if the bot wrote it; otherwise ``member`` is its author in a group.
    """

    content: Content
    item_id: Id | None = None
    shared_id: Annotated[str, "sharedMsgId"] = ""
    direction: Annotated[Tag, "chatDir.type"] = ""
    member: Annotated[Member | None, "chatDir.groupMember"] = None
    sent_at: Time = 0.0

    @property
    def is_own(self) -> bool:
        """True if the bot wrote the quoted message."""
        return self.direction in ("directSnd", "groupSnd")


@dataclass(frozen=True, slots=True, kw_only=True)
class File(CliObject):
    """A file of a message. ``name`` is the sender's choice and not a safe path.

    ``path`` is the file's path for the CLI: absolute, or relative to the CLI's files folder; empty until the file is
    complete. ``is_encrypted`` means that the file on disk cannot be read.
    """

    file_id: Id
    name: Annotated[str, "fileName"] = field(default="", repr=False)
    size: Annotated[int, "fileSize"] = 0
    status: Annotated[Tag, "fileStatus.type"] = ""
    path: Annotated[str, "fileSource.filePath"] = field(default="", repr=False)
    is_encrypted: Annotated[bool, _is_present, "fileSource.cryptoArgs"] = False
    protocol: Annotated[str, "fileProtocol"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item(CliObject):
    """An item of a chat: a message, or an event such as a membership change.

    ``kind`` is the tag of its content (:data:`RECEIVED_MESSAGE`, :data:`SENT_MESSAGE`, ``rcvGroupEvent`` …); only
    messages have a ``content``. ``direction`` is its origin (``directRcv``, ``groupSnd`` …), ``member`` its author in a
    group (None for the bot, and for a channel's own messages). ``mentions`` maps names in the text to members'
    ``member_id``. ``mentions_or_quotes_bot`` is True if the SimpleX core reports that the bot was mentioned or quoted.
    """

    chat: Annotated[Chat, "chatInfo"]
    item_id: Annotated[Id, "chatItem.meta.itemId"]
    direction: Annotated[Tag, "chatItem.chatDir.type"]
    kind: Annotated[Tag, "chatItem.content.type"]
    content: Annotated[Content | None, "chatItem.content.msgContent"] = None
    member: Annotated[Member | None, "chatItem.chatDir.groupMember"] = None
    shared_id: Annotated[str, "chatItem.meta.itemSharedMsgId"] = ""
    status: Annotated[Tag, "chatItem.meta.itemStatus.type"] = ""
    sent_at: Annotated[Time, "chatItem.meta.itemTs"] = 0.0
    stored_at: Annotated[Time, "chatItem.meta.createdAt"] = 0.0
    mentions: Annotated[Mapping[str, str], _read_member_ids, "chatItem.mentions"] = field(
        default_factory=dict, repr=False
    )
    mentions_or_quotes_bot: Annotated[bool, "chatItem.meta.userMention"] = False
    quote: Annotated[Quote | None, "chatItem.quotedItem"] = None
    file: Annotated[File | None, "chatItem.file"] = None
    formatted: Annotated[tuple[Raw, ...], _read_objects, "chatItem.formattedText"] = field(default=(), repr=False)
    reactions: Annotated[tuple[Raw, ...], _read_objects, "chatItem.reactions"] = ()
    ttl: Annotated[int | None, "chatItem.meta.itemTimed.ttl"] = None
    is_edited: Annotated[bool, "chatItem.meta.itemEdited"] = False
    is_live: Annotated[bool, "chatItem.meta.itemLive"] = False
    is_deleted: Annotated[bool, is_object, "chatItem.meta.itemDeleted"] = False

    @property
    def is_received(self) -> bool:
        """True if it is a message that somebody else wrote."""
        return self.kind == RECEIVED_MESSAGE

    @property
    def text(self) -> str:
        """The text of the message, or an empty string."""
        return self.content.text if self.content else ""

    @property
    def mentions_bot(self) -> bool:
        """True if the text mentions the bot as a member of this group."""
        own = self.chat.group.membership if self.chat.group else None
        return own is not None and bool(own.member_id) and own.member_id in self.mentions.values()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction(CliObject):
    """A reaction that was added to an item or removed. ``emoji`` is empty for a reaction without an emoji.

    ``direction`` is its origin, ``member`` its author in a group.
    """

    chat: Annotated[Chat, "chatInfo"]
    item: Annotated[Item, _read_reacted_item, ""]
    direction: Annotated[Tag, "chatReaction.chatDir.type"]
    emoji: Annotated[str, "chatReaction.reaction.emoji"] = ""
    member: Annotated[Member | None, "chatReaction.chatDir.groupMember"] = None
    sent_at: Annotated[Time, "chatReaction.sentAt"] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRequest(CliObject):
    """A request of somebody to become a contact."""

    request_id: Annotated[Id, "contactRequestId"]
    name: _LocalName = ""
    profile: Profile = Profile()


@dataclass(frozen=True, slots=True, kw_only=True)
class Address(CliObject):
    """A link by which people contact the bot or join a group, with its settings.

    ``auto_accept`` means that requests are accepted automatically; ``welcome`` is the first message to new contacts.
    """

    full_link: Annotated[str, _read_full_link, "connLinkContact"] = field(repr=False)
    short_link: Annotated[str, "connLinkContact.connShortLink"] = ""
    is_business: Annotated[bool, "addressSettings.businessAddress"] = False
    auto_accept: Annotated[bool, is_object, "addressSettings.autoAccept"] = False
    welcome: Annotated[Content | None, "addressSettings.autoReply"] = None
    settings: Annotated[Raw, "addressSettings"] = field(default_factory=dict, repr=False)

    @property
    def link(self) -> str:
        """The link to publish: the short one if there is one."""
        return self.short_link or self.full_link


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTransfer(CliObject):
    """The part of a file transfer that error and warning events contain."""

    file_id: Id
    name: Annotated[str, "fileName", "fileInvitation.fileName"] = field(default="", repr=False)
    size: Annotated[int, "fileSize", "fileInvitation.fileSize"] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion(CliObject):
    """A deleted item, and the item that replaces it, or None."""

    item: Annotated[Item, "deletedChatItem"]
    replacement: Annotated[Item | None, "toChatItem"] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSummary(CliObject):
    """A chat of a list, with as many of its newest items as were requested."""

    chat: Annotated[Chat, "chatInfo"]
    items: Annotated[tuple[Item, ...], _read_valid_items, ""] = ()
    unread: Annotated[int, "chatStats.unreadCount"] = 0
