"""What answers and events speak of, as values; each keeps the object that it was read from in ``raw``.

Ids are numbers of one CLI's database, a number space a kind. Enum values and tags are the CLI's own strings, unknown
ones included. Times are in seconds since 1970.
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
    """What somebody says of themselves: free to choose, neither unique nor lasting."""

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
        """Whether it calls itself a bot."""
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
    """Somebody whom the bot is connected to. ``name`` is unique in this database, until somebody changes it."""

    contact_id: int
    name: str = ""
    profile: Profile = Profile()
    status: str = ""
    custom_data: Raw = field(default_factory=dict, repr=False)
    raw: Raw = field(default_factory=dict, repr=False, compare=False)

    @property
    def ref(self) -> ChatRef:
        """The direct chat."""
        return ChatRef("direct", self.contact_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody in a group. ``group_member_id`` is for commands, ``member_id`` is the same for all members.

    ``contact_id`` is the direct chat with this member, None where there is none.
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
    """Whose business chat a group is: both are ``member_id`` of members."""

    chat_type: str = ""
    business_id: str = ""
    customer_id: str = ""
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupInfo:
    """A group that the bot is in. ``membership`` is the bot's own place in it; ``business`` is None in other groups."""

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
        """The group's chat."""
        return ChatRef("group", self.group_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """Where an item stands. ``type`` is ``direct``, ``group``, ``local`` … or unknown.

    ``is_support`` marks the talk of one member (``support_member``; None: of the bot) with a group's moderators.
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
        """How commands name it, a support scope included; None for what is no chat that one can write to."""
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
    """What a message holds. ``type`` is one of :data:`CONTENT_TYPES` or ``unknown``; ``tag`` is the sender's own word.

    ``seconds`` is how long a voice message or a video is; ``preview`` describes a link.
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
    """What a message answers. ``item_id`` is None where this database does not have it.

    ``is_own`` says that the bot wrote it, ``member`` who else did in a group.
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
        """Whether the bot wrote what is answered."""
        return self.direction in ("directSnd", "groupSnd")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a message. ``name`` is the sender's choice and no safe path.

    ``path`` is where it lies, as the CLI names it: absolute, or relative to the CLI's files folder; empty before it
    is complete. ``is_encrypted`` means that it cannot be read from there.
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
    """One line of a chat: a message, or something that happened.

    ``kind`` is the tag of its content (:data:`RECEIVED_MESSAGE`, :data:`SENT_MESSAGE`, ``rcvGroupEvent`` …); only
    messages have a ``content``. ``direction`` says from where it came (``directRcv``, ``groupSnd`` …), ``member`` who
    wrote it in a group (None: the bot, or the channel itself). ``mentions`` maps names in the text to members'
    ``member_id``. ``mentions_or_quotes_bot`` is the core's word on whether the bot was mentioned or answered.
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
        """Whether it is a message that somebody else wrote."""
        return self.kind == RECEIVED_MESSAGE

    @property
    def text(self) -> str:
        """What was written; empty where nothing was."""
        return self.content.text if self.content else ""

    @property
    def mentions_bot(self) -> bool:
        """Whether the text names the bot as a member of this group."""
        own = self.chat.group.membership if self.chat.group else None
        return own is not None and bool(own.member_id) and own.member_id in self.mentions.values()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """A reaction that was put on an item or taken off. ``emoji`` is empty for one that is none.

    ``direction`` says from where it came, ``member`` who it was in a group.
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
    """Somebody who asks to be connected."""

    request_id: int
    name: str = ""
    profile: Profile = Profile()
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A link by which people reach the bot, or join a group, and what happens when they do.

    ``auto_accept`` says that nobody has to let them in, ``welcome`` what they are told first.
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
        """The link to hand out: the short one where there is one."""
        return self.short_link or self.full_link


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTransfer:
    """The way of a file, in or out: what errors and warnings about it name."""

    file_id: int
    name: str = field(default="", repr=False)
    size: int = 0
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """An item that was deleted, and what stands in its place, None where nothing does."""

    item: Item
    replacement: Item | None = None
    raw: Raw = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSummary:
    """A chat of a list, with its newest items as far as they were asked for."""

    chat: Chat
    items: tuple[Item, ...] = ()
    unread: int = 0
    raw: Raw = field(default_factory=dict, repr=False, compare=False)
