"""Models of the objects in answers and events; each stores the object that it was read from in ``raw``.

Ids are those of one CLI's database, with a number space for each kind. Enum values and tags are the CLI's own strings,
unknown ones included. Times are in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cometbot.channels.simplex.protocol.refs import ChatRef

Raw = Mapping[str, Any]

RECEIVED_MESSAGE = "rcvMsgContent"
SENT_MESSAGE = "sndMsgContent"
CONTENT_TYPES = ("text", "link", "image", "video", "voice", "file", "report", "chat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A profile as its owner filled it in. Its values are free to choose, neither unique nor permanent."""

    display_name: str = ""
    full_name: str = ""
    description: str = ""
    image: str = field(default="", repr=False)
    link: str = ""
    peer_type: str = ""
    preferences: Raw = field(default_factory=dict, repr=False)
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_bot(self) -> bool:
        """True if the profile says that it is a bot's."""
        return self.peer_type == "bot"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A profile of this CLI. ``name`` is its name in this database."""

    user_id: int
    name: str = ""
    profile: Profile = Profile()
    is_active: bool = True
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A contact of the bot. ``name`` is unique in this database, but may change."""

    contact_id: int
    name: str = ""
    profile: Profile = Profile()
    status: str = ""
    custom_data: Raw = field(default_factory=dict, repr=False)
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @property
    def ref(self) -> ChatRef:
        """The reference of the direct chat."""
        return ChatRef("direct", self.contact_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A group member. ``group_member_id`` is for commands, ``member_id`` is the same for all members.

    ``contact_id`` is the direct chat with this member, or None if there is none.
    """

    group_member_id: int
    member_id: str = ""
    name: str = ""
    profile: Profile = Profile()
    role: str = ""
    category: str = ""
    status: str = ""
    contact_id: int | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Business:
    """The parties of a business chat: ``business_id`` and ``customer_id`` are the ``member_id`` of members."""

    chat_type: str = ""
    business_id: str = ""
    customer_id: str = ""
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInfo:
    """A group that the bot is in.

    ``membership`` is the bot as a member; ``business`` is None except in business chats.
    """

    group_id: int
    name: str = ""
    profile: Profile = Profile()
    membership: Member | None = None
    business: Business | None = None
    members_count: int | None = None
    custom_data: Raw = field(default_factory=dict, repr=False)
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @property
    def ref(self) -> ChatRef:
        """The reference of the group's chat."""
        return ChatRef("group", self.group_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """The chat of an item. ``type`` is ``direct``, ``group``, ``local`` … or unknown.

    ``is_support`` marks the chat of one member with a group's moderators: of ``support_member``, or of the bot if that
    is None.
    """

    type: str
    contact: Contact | None = None
    group: GroupInfo | None = None
    note_folder_id: int | None = None
    is_support: bool = False
    support_member: Member | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

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
class Content:
    """The content of a message.

    ``type`` is one of :data:`CONTENT_TYPES` or ``unknown``; ``tag`` is the sender's own type.

    ``seconds`` is the duration of a voice message or video; ``preview`` describes a link.
    """

    type: str
    tag: str = ""
    text: str = field(default="", repr=False)
    image: str = field(default="", repr=False)
    seconds: int | None = None
    preview: Raw = field(default_factory=dict, repr=False)
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """The message that a reply quotes. ``item_id`` is None if this database does not have it.

    ``is_own`` is True if the bot wrote it; otherwise ``member`` is its author in a group.
    """

    content: Content
    item_id: int | None = None
    shared_id: str = ""
    direction: str = ""
    member: Member | None = None
    sent_at: float = 0.0
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_own(self) -> bool:
        """True if the bot wrote the quoted message."""
        return self.direction in ("directSnd", "groupSnd")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a message. ``name`` is the sender's choice and not a safe path.

    ``path`` is the file's path for the CLI: absolute, or relative to the CLI's files folder; empty until the file is
    complete. ``is_encrypted`` means that the file on disk cannot be read.
    """

    file_id: int
    name: str = field(default="", repr=False)
    size: int = 0
    status: str = ""
    path: str = field(default="", repr=False)
    is_encrypted: bool = False
    protocol: str = ""
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item of a chat: a message, or an event such as a membership change.

    ``kind`` is the tag of its content (:data:`RECEIVED_MESSAGE`, :data:`SENT_MESSAGE`, ``rcvGroupEvent`` …); only
    messages have a ``content``. ``direction`` is its origin (``directRcv``, ``groupSnd`` …), ``member`` its author in a
    group (None for the bot, and for a channel's own messages). ``mentions`` maps names in the text to members'
    ``member_id``. ``mentions_or_quotes_bot`` is True if the SimpleX core reports that the bot was mentioned or quoted.
    """

    chat: Chat
    item_id: int
    direction: str
    kind: str
    content: Content | None = None
    member: Member | None = None
    shared_id: str = ""
    status: str = ""
    sent_at: float = 0.0
    stored_at: float = 0.0
    mentions: Mapping[str, str] = field(default_factory=dict, repr=False)
    mentions_or_quotes_bot: bool = False
    quote: Quote | None = None
    file: File | None = None
    formatted: tuple[Raw, ...] = field(default=(), repr=False)
    reactions: tuple[Raw, ...] = ()
    ttl: int | None = None
    is_edited: bool = False
    is_live: bool = False
    is_deleted: bool = False
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

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
class Reaction:
    """A reaction that was added to an item or removed. ``emoji`` is empty for a reaction without an emoji.

    ``direction`` is its origin, ``member`` its author in a group.
    """

    chat: Chat
    item: Item
    emoji: str
    direction: str
    member: Member | None = None
    sent_at: float = 0.0
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRequest:
    """A request of somebody to become a contact."""

    request_id: int
    name: str = ""
    profile: Profile = Profile()
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A link by which people contact the bot or join a group, with its settings.

    ``auto_accept`` means that requests are accepted automatically; ``welcome`` is the first message to new contacts.
    """

    full_link: str = field(default="", repr=False)
    short_link: str = ""
    is_business: bool = False
    auto_accept: bool = False
    welcome: Content | None = None
    settings: Raw = field(default_factory=dict, repr=False)
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @property
    def link(self) -> str:
        """The link to publish: the short one if there is one."""
        return self.short_link or self.full_link


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTransfer:
    """A file transfer, in or out, as errors and warnings about it name it."""

    file_id: int
    name: str = field(default="", repr=False)
    size: int = 0
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """A deleted item, and the item that replaces it, or None."""

    item: Item
    replacement: Item | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSummary:
    """A chat of a list, with as many of its newest items as were requested."""

    chat: Chat
    items: tuple[Item, ...] = ()
    unread: int = 0
    raw: Raw = field(default_factory=dict, repr=False, compare=False)
