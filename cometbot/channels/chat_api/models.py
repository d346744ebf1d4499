"""Data models of the Chat API's client: users, conversations, messages, events, and the signals of a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiUser:
    """A user. ``profile`` is free text, often JSON. Fields that were not given are empty."""

    id: str
    name: str
    picture_url: str
    profile: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ApiConversation:
    """A conversation."""

    id: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ApiMessage:
    """A message. ``payload`` holds its ``type`` and that type's fields; ``metadata`` holds data for programs."""

    id: str
    conversation_id: str
    user_id: str
    payload: Mapping[str, Any]
    metadata: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiEvent:
    """An event from an application to the bot, or from the bot.

    The bot's events are not stored, so their ``id`` is empty.
    """

    id: str
    conversation_id: str
    user_id: str
    payload: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list. ``next_token`` requests the next page, and is empty on the last one."""

    items: Sequence[T]
    next_token: str = ""

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that happened in a conversation. ``raw`` is the text that was received."""

    raw: str = field(repr=False, compare=False, kw_only=True, default="")


@dataclass(frozen=True, slots=True)
class MessageCreated(Signal):
    """A message was sent.

    ``is_bot`` is None for another sender's message that was missed and read from the list of messages, which does not
    contain this information.
    """

    message: ApiMessage
    is_bot: bool | None


@dataclass(frozen=True, slots=True)
class MessageDeleted(Signal):
    """A message was deleted by the user who had sent it."""

    id: str
    conversation_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class EventCreated(Signal):
    """An event was sent by an application or by the bot."""

    event: ApiEvent
    is_bot: bool


@dataclass(frozen=True, slots=True)
class ParticipantSignal(Signal):
    """A change of who takes part in the conversation."""

    conversation_id: str
    participant_id: str


@dataclass(frozen=True, slots=True)
class ParticipantAdded(ParticipantSignal):
    """A user was added to the conversation."""


@dataclass(frozen=True, slots=True)
class ParticipantRemoved(ParticipantSignal):
    """A user was removed from the conversation."""


@dataclass(frozen=True, slots=True)
class StreamDelta(Signal):
    """A part of a message that the bot is still writing. Parts are numbered from 0 and joined in order."""

    stream_id: str
    conversation_id: str
    user_id: str
    sequence: float
    delta: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StreamComplete(Signal):
    """A stream has ended with this message. Its :class:`MessageCreated` follows."""

    stream_id: str
    message: ApiMessage


@dataclass(frozen=True, slots=True)
class StreamAbort(Signal):
    """A stream has ended without a message."""

    stream_id: str
    conversation_id: str


@dataclass(frozen=True, slots=True)
class UnknownSignal(Signal):
    """Any other signal, including the server's ``ping``; see ``raw``."""
