"""The nouns that events and messages speak of: users, groups, conversations, attachments. Values, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cometbot.text import clean_file_name


class ConversationKey(NamedTuple):
    """Names one conversation among all channels, accounts and bots: the unit of order."""

    channel: str
    account: str
    bot: str
    conversation: str

    def __str__(self) -> str:
        account = self.account.replace("/", "%2F")
        return f"{self.channel}/{account}/{self.bot}/{self.conversation}"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who takes part in conversations. Everything but ``uid`` may be empty: platforms send snapshots.

    ``lasting_id`` is set where a platform gives the uid of a removed user to somebody else: no other user ever has it.
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

    def __str__(self) -> str:
        return self.name or self.uid


@dataclass(frozen=True, slots=True)
class Group:
    """A group of users, named by its ``guid``. ``type`` is ``public``, ``password`` or ``private``."""

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

    def __str__(self) -> str:
        return self.name or self.guid


@dataclass(frozen=True, slots=True)
class Conversation:
    """Where something was said, or is to be said.

    ``id`` is the channel's own name for it; ``target`` is whom one writes to so that it arrives there: the uid of the
    other side one-to-one, the guid in a group.
    """

    channel: str
    account: str
    bot: str
    id: str
    target: str
    is_group: bool = False

    @property
    def key(self) -> ConversationKey:
        """What names its lane."""
        return ConversationKey(self.channel, self.account, self.bot, self.id)

    @property
    def is_direct(self) -> bool:
        """Whether it is one-to-one."""
        return not self.is_group


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with a message. ``size`` is in bytes, None where the platform did not say.

    ``name`` is what the sender called it, without folders, control characters and direction overrides, on every
    channel; the name as it came is in the event's ``raw``.
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
    """A user who is named in a text."""

    uid: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Quote:
    """The earlier message that a message answers to."""

    id: str
    text: str = ""
    sender: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
