"""What the chat server keeps and tells: users, conversations, messages, events, files, signals. Values.

All times are whole milliseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

MESSAGE_CREATED = "message_created"
MESSAGE_UPDATED = "message_updated"
MESSAGE_DELETED = "message_deleted"
EVENT_CREATED = "event_created"
PARTICIPANT_ADDED = "participant_added"
PARTICIPANT_REMOVED = "participant_removed"
CONVERSATION_UPDATED = "conversation_updated"
CONVERSATION_DELETED = "conversation_deleted"

Data = Mapping[str, Any]
"""JSON that belongs to a protocol: the chat server keeps it and gives it back, and looks into none of it."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose rows are meant: those of one bot behind one channel. No operation reaches beyond its scope.

    Without a bot it is the whole channel: what is made in it belongs to no bot (the users and files of a platform), and
    what is looked for in it may belong to any of the channel's bots.
    """

    channel: str
    bot: str = ""


class Topic(NamedTuple):
    """What one can listen to: a conversation, or what concerns one user."""

    channel: str
    bot: str
    id: str

    @classmethod
    def of_user(cls, scope: Scope, user: str) -> Topic:
        """What concerns one user and is in none of the conversations: only what is told there is heard there."""
        return cls(scope.channel, scope.bot, f"@{user}")

    @property
    def is_conversation(self) -> bool:
        """Whether the database can say what a listener missed."""
        return not self.id.startswith("@")


@dataclass(frozen=True, slots=True)
class ChatUser:
    """Somebody who talks. ``data`` is what the protocol says of a user; ``seen_at`` when one was last here."""

    scope: Scope
    id: str
    data: Data
    created_at: int
    updated_at: int
    seen_at: int


@dataclass(frozen=True, slots=True)
class ChatConversation:
    """A conversation, with the user who made it.

    ``position`` counts what happened in it. ``last_at`` is the time of the latest of it: strictly increasing, whichever
    process of whichever machine does something.
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
        """What happens here, for listeners."""
        return Topic(self.scope.channel, self.scope.bot, self.id)


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is not stored yet.

    ``client_id`` is unique within its conversation: what is posted under it a second time is not stored again.
    ``files`` are ids of files that the message uses, so that they are not taken for forgotten ones. ``id`` is made
    where it is empty.
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
    """A message. ``at`` is its time, which no other message or event of the conversation has."""

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
    """Something that happened in an application and is no message."""

    scope: Scope
    id: str
    conversation: str
    sender: str
    payload: Data
    at: int


@dataclass(frozen=True, slots=True)
class ChatFile:
    """A file that was uploaded. ``kind`` is ``image``, ``audio``, ``video`` or ``file``; type and kind come from its
    content. ``used_at`` is None until a message uses it."""

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
class Signal:
    """Something that happened, as listeners hear it.

    ``position`` is its place in the conversation; 0 for what is not kept (somebody types, a piece of a stream, a
    conversation that is gone). ``message`` and ``event`` are set where the signal is about one, ``data`` says the rest:
    ``{"id", "sender"}`` of a deleted message, ``{"user"}`` of a participant.
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
    """A part of a list. ``next`` asks for the part after it, and is empty at the end."""

    items: Sequence[T]
    next: str = ""


@dataclass(frozen=True, slots=True)
class NumberedPage(Generic[T]):
    """A part of a list by its number. ``total`` counts all that match."""

    items: Sequence[T]
    total: int


@dataclass(frozen=True, slots=True)
class PostResult:
    """What became of a draft. ``is_new`` is false where its ``client_id`` was stored already: ``message`` is that one,
    and nobody is told."""

    message: ChatMessage
    is_new: bool
    signals: tuple[Signal, ...] = ()
