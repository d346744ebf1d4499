"""The values that events and messages refer to: users, groups, conversations and attachments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cometbot.errors import BotError
from cometbot.text import clean_file_name


def check_recipient(user: str, group: str, error: type[BotError] = BotError) -> None:
    """Raise ``error`` unless exactly one of ``user`` (a uid) and ``group`` (a guid) is given."""
    if bool(user) == bool(group):
        raise error(f"recipient: expected either a user or a group, got {'both' if user else 'neither'}")


class ConversationKey(NamedTuple):
    """The key of a conversation, unique among all channels, accounts and bots. It is the unit of order."""

    channel: str
    account: str
    bot: str
    conversation: str

    def __str__(self) -> str:
        account = self.account.replace("/", "%2F")
        return f"{self.channel}/{account}/{self.bot}/{self.conversation}"


@dataclass(frozen=True, slots=True)
class User:
    """A user, as the platform described them with the event. Everything but ``uid`` may be empty.

    ``lasting_id`` is set where a platform may reassign the uid of a removed user. It never belongs to another user.
    ``channel`` is set only by handlers that name a user of another channel (``ctx.approve``).
    """

    uid: str
    name: str = ""
    avatar: str = ""
    link: str = ""
    role: str = ""
    status: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    lasting_id: str = field(default="", repr=False, compare=False)
    channel: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.name or self.uid


@dataclass(frozen=True, slots=True)
class Group:
    """A group of users, identified by its ``guid``. ``type`` is ``public``, ``password`` or ``private``.

    ``channel`` is set only by handlers that name a group of another channel (``ctx.approve``).
    """

    guid: str
    name: str = ""
    type: str = ""
    icon: str = ""
    description: str = ""
    owner: str = ""
    scope: str = ""
    members_count: int | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    channel: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.name or self.guid


@dataclass(frozen=True, slots=True)
class Conversation:
    """A one-to-one chat or a group.

    ``id`` is the channel's own id of it. ``target`` is the recipient to send to: the other user's uid one-to-one, the
    guid in a group.
    """

    channel: str
    account: str
    bot: str
    id: str
    target: str
    is_group: bool = False
    key: ConversationKey = field(init=False, repr=False, compare=False)
    """The key of this conversation among all channels, accounts and bots."""
    key_text: str = field(init=False, repr=False, compare=False)
    """``str(key)``, made once."""

    def __post_init__(self) -> None:
        key = ConversationKey(self.channel, self.account, self.bot, self.id)
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "key_text", str(key))

    @property
    def is_direct(self) -> bool:
        """True if this is a one-to-one conversation."""
        return not self.is_group


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a message. ``size`` is in bytes, None if the platform does not report it.

    ``name`` is the sender's name for it, without folders, control characters and direction overrides, on every channel.
    The original name is in the event's ``raw``.
    """

    url: str
    name: str = ""
    mime_type: str = ""
    extension: str = ""
    size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean_file_name(self.name))
        object.__setattr__(self, "extension", clean_file_name(self.extension))


@dataclass(frozen=True, slots=True)
class Mention:
    """A user who is mentioned in a text."""

    uid: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """The earlier message that a message quotes."""

    id: str
    text: str = ""
    sender: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool of the client that an event came from, such as a page that can show a map.

    Handlers call it with ``ctx.call``. ``parameters`` is the JSON schema of its arguments, as the client wrote it.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
