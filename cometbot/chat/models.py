"""The values of the chat server: users, conversations, messages, events, files and signals.

All times are whole milliseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

Data = Mapping[str, Any]
"""JSON defined by a protocol. The chat server stores and returns it without reading it."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The owner of rows: one bot behind one channel. No operation reaches beyond its scope.

    Without a bot, it is the whole channel. Rows created in it belong to no bot (the users and files of a platform);
    lookups in it find rows of all bots of the channel.
    """

    channel: str
    bot: str = ""

    def topic(self, conversation: str) -> Topic:
        """Return the topic of a conversation in this scope."""
        return Topic(self.channel, self.bot, conversation)


class Topic(NamedTuple):
    """A topic to subscribe to: a conversation, or what concerns one user."""

    channel: str
    bot: str
    id: str

    @classmethod
    def of_user(cls, scope: Scope, user: str) -> Topic:
        """Return the topic of what concerns one user outside conversations. Only signals sent to it arrive there."""
        return cls(scope.channel, scope.bot, f"@{user}")

    @property
    def is_conversation(self) -> bool:
        """True if this is a conversation, so that the database has the signals that a listener missed."""
        return not self.id.startswith("@")


@dataclass(frozen=True, slots=True)
class ChatUser:
    """A user. ``data`` is defined by the protocol. ``seen_at`` is set on creation only."""

    scope: Scope
    id: str
    data: Data
    created_at: int
    updated_at: int
    seen_at: int


@dataclass(frozen=True, slots=True)
class ChatConversation:
    """A conversation with its owner.

    ``position`` counts the changes in it. ``last_at`` is the time of the latest one; it strictly increases over all
    processes and machines.
    """

    scope: Scope
    id: str
    owner: str
    data: Data
    created_at: int
    updated_at: int
    last_at: int
    position: int

    @property
    def topic(self) -> Topic:
        """The topic of this conversation."""
        return self.scope.topic(self.id)


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is not stored yet.

    ``client_id`` is unique within its conversation: a second draft with the same one is not stored. ``files`` are the
    ids of the files that the message uses, so that they do not count as unused. An empty ``id`` is generated.
    """

    sender: str
    payload: Data
    metadata: Data | None = None
    is_bot: bool = False
    client_id: str = ""
    files: Sequence[str] = ()
    id: str = ""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message. No other message or event of the conversation has the same time ``at``."""

    scope: Scope
    id: str
    conversation: str
    sender: str
    is_bot: bool
    payload: Data
    metadata: Data | None
    client_id: str
    at: int
    edited_at: int | None = None


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """An event in an application that is no message."""

    scope: Scope
    id: str
    conversation: str
    sender: str
    payload: Data
    at: int


@dataclass(frozen=True, slots=True)
class ChatFile:
    """An uploaded file.

    ``kind`` is ``image``, ``audio``, ``video`` or ``file``. Type and kind are detected from the content. ``used_at`` is
    None until a message uses it.
    """

    scope: Scope
    id: str
    owner: str
    name: str
    size: int
    mime_type: str
    kind: str
    created_at: int
    used_at: int | None = None


@dataclass(frozen=True, slots=True)
class Removal:
    """The unfinished removal of a user's messages, stored under ``name`` until it is finished.

    It covers messages until the time ``before``, so that a new user with the same id keeps their own.
    """

    name: str
    scope: Scope
    user: str
    before: int


@dataclass(frozen=True, slots=True)
class Signal:
    """A change, as listeners receive it.

    ``position`` is its position in the conversation, or 0 if it is ephemeral (typing, a stream delta, a deleted
    conversation). ``message`` or ``event`` is set if the signal is about one. ``data`` has the rest: ``{"id",
    "sender"}`` of a deleted message, ``{"user"}`` of a participant.
    """

    topic: Topic
    kind: str
    position: int = 0
    at: int = 0
    message: ChatMessage | None = None
    event: ChatEvent | None = None
    data: Data = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list. ``next`` is the cursor of the next part, empty at the end."""

    items: Sequence[T]
    next: str = ""


@dataclass(frozen=True, slots=True)
class NumberedPage(Generic[T]):
    """A part of a list by number. ``total`` counts all matching items."""

    items: Sequence[T]
    total: int


@dataclass(frozen=True, slots=True)
class PostResult:
    """The result of posting a draft.

    If its ``client_id`` was already stored, ``is_new`` is false, and ``message`` is the stored one.
    """

    message: ChatMessage
    is_new: bool
