"""What the Chat API speaks of, as values: users, conversations, messages, events, and the signals of a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiUser:
    """Somebody who chats. ``profile`` is free text, often JSON; what was not given is empty."""

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
    """A message. ``payload`` holds its ``type`` and what belongs to that; ``metadata`` is what programs say beside."""

    id: str
    conversation_id: str
    user_id: str
    payload: Mapping[str, Any]
    metadata: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ApiEvent:
    """Something that an application told the bot or the bot an application. The bot's own have no ``id``: they are not
    kept."""

    id: str
    conversation_id: str
    user_id: str
    payload: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list, and the token that asks for what follows; empty on the last page."""

    items: Sequence[T]
    next_token: str = ""

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that happened in a conversation; ``raw`` is what was received."""

    raw: str = field(repr=False, compare=False, kw_only=True, default="")


@dataclass(frozen=True, slots=True)
class MessageCreated(Signal):
    """Somebody wrote. ``is_bot`` is None for somebody else's message that was missed and read from the list later,
    which does not say."""

    message: ApiMessage
    is_bot: bool | None


@dataclass(frozen=True, slots=True)
class MessageDeleted(Signal):
    """A message was taken back by the user who had written it."""

    id: str
    conversation_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class EventCreated(Signal):
    """An event came, from an application or from the bot."""

    event: ApiEvent
    is_bot: bool


@dataclass(frozen=True, slots=True)
class ParticipantAdded(Signal):
    """Somebody takes part from now on."""

    conversation_id: str
    participant_id: str


@dataclass(frozen=True, slots=True)
class ParticipantRemoved(Signal):
    """Somebody takes part no more."""

    conversation_id: str
    participant_id: str


@dataclass(frozen=True, slots=True)
class StreamDelta(Signal):
    """A piece of a message that the bot is still writing; pieces are numbered from 0 and put together in order."""

    stream_id: str
    conversation_id: str
    user_id: str
    sequence: float
    delta: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StreamComplete(Signal):
    """The message that a stream has become; its :class:`MessageCreated` follows."""

    stream_id: str
    message: ApiMessage


@dataclass(frozen=True, slots=True)
class StreamAbort(Signal):
    """A stream that becomes no message."""

    stream_id: str
    conversation_id: str


@dataclass(frozen=True, slots=True)
class UnknownSignal(Signal):
    """Anything else, the server's ``ping`` included; see ``raw``."""
