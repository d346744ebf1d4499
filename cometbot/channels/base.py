"""What a channel is: the code for one door, behind one interface that delivery drives."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from cometbot.bot import Bot
from cometbot.context import StateChange
from cometbot.events import Event, MessageEvent
from cometbot.messages import Capabilities, Message, Operation, Text
from cometbot.models import Conversation, ConversationKey
from cometbot.splitting import split_text, utf8_size
from cometbot.store.database import Transaction

__all__ = [
    "MAX_KEY_BYTES",
    "Capabilities",
    "Channel",
    "DeliveryService",
    "IncomingEvent",
    "OutgoingRequest",
    "fall_back_to_text",
    "split_text",
]

MAX_KEY_BYTES = 1500
"""Bytes of an event's key: no index takes an entry of any length."""

_UNSTORABLE_PATTERN = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_KEY_KIND_PATTERN = re.compile("[!-~]{1,40}")


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """Something that came in, as it is stored: where it belongs, what makes it unique, and its body unparsed.

    ``sender`` is the uid of who caused it. ``received_at`` is set by the store. A ``key`` that no index would take, for
    its length or for what control characters it holds, has a hash in the place of all that follows its kind.
    """

    conversation: Conversation
    key: str
    body: bytes
    sender: str = ""
    received_at: float = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", to_storable_key(self.key))


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """One stored request to a platform. ``payload`` is what the channel rendered, ``client_id`` what finds it again
    there.

    ``target_id`` is the platform's id of the bot's own earlier message that this one is about.
    """

    conversation: Conversation
    client_id: str
    payload: Mapping[str, Any] = field(repr=False)
    target_id: str | None = None


class DeliveryService(Protocol):
    """What a channel's views may ask of delivery."""

    @property
    def bots(self) -> Mapping[str, Bot]:
        """The bots that are served, by name."""
        ...

    def enqueue(self, incoming: IncomingEvent) -> bool:
        """Whether it is new; durable on return. Raises ``StoreBusy`` if the database did not take it in time."""
        ...

    def enqueue_in(self, transaction: Transaction, incoming: IncomingEvent) -> bool:
        """Store the event in a transaction of the caller's; whether to :meth:`notify` its conversation after the
        commit.

        False for one that is known already, and where somebody is at work on the conversation.
        """
        ...

    def enqueue_outgoing_in(
        self,
        transaction: Transaction,
        conversation: Conversation,
        payloads: Sequence[Mapping[str, Any]],
        event: str = "",
    ) -> bool:
        """Store requests to a platform in a transaction of the caller's, as the channel's ``render`` would have made
        them; whether to :meth:`notify` the conversation after the commit.

        Nothing is stored again under an ``event`` that was stored before. Raises :class:`BotError` for a channel that
        is not here.
        """
        ...

    def notify(self, conversation_key: str, *, to_send: bool = False) -> None:
        """Let somebody know that ``str(conversation.key)`` has something undone; ``to_send``: replies only."""
        ...

    def has_conversation(self, key: ConversationKey) -> bool:
        """Return whether this bot got or said something here, or is known to take part (:meth:`add_conversations`)."""
        ...

    def add_conversations(self, conversations: Iterable[Conversation]) -> None:
        """Store that the bot takes part in these conversations, in which nothing was said or heard yet."""
        ...

    def find_sent_conversation(self, channel: str, account: str, platform_id: str) -> Conversation | None:
        """Where the bot's own message with this id was said, None if it is not known."""
        ...

    def find_received_conversation(self, channel: str, account: str, bot: str, key: str) -> Conversation | None:
        """Return the conversation of an event that was stored under ``key``, None if it is not known (any more)."""
        ...


class Channel(ABC):
    """One door.

    ``parse`` and ``render`` are pure. ``send`` and ``find_sent`` talk to the platform and raise the
    :class:`ChannelError` that fits; delivery decides what follows. A channel is used by many threads at once.
    """

    name: ClassVar[str]
    has_single_sender: ClassVar[bool] = False
    """Whether one process alone can send, because it holds the connection to the platform."""
    has_stored_conversations: ClassVar[bool] = False
    """Whether :meth:`conversation` returns one that is there, so that what came from there before need not be asked."""
    capabilities: Capabilities

    @property
    def can_send(self) -> bool:
        """Whether this process can send; the same for as long as it lives. What is said where it cannot is stored, and
        sent by the process that can."""
        return True

    def internal_bots(self) -> Sequence[Bot]:
        """Bots in whose conversations this channel has something to send, beside those that are served: they handle
        nothing."""
        return ()

    @property
    @abstractmethod
    def account(self) -> str:
        """To whom message ids belong on this platform: the app id, the profile."""

    @abstractmethod
    def conversation(self, bot: Bot, *, user: str = "", group: str = "") -> Conversation:
        """The conversation of ``bot`` with one user, or of one group."""

    @abstractmethod
    def parse(self, incoming: IncomingEvent) -> Event:
        """The event in a stored body. Raises :class:`PayloadError` if it has not the shape that it must have."""

    @abstractmethod
    def render(self, operation: Operation) -> list[dict[str, Any]]:
        """The requests that carry out ``operation``, in order, as JSON values that :meth:`send` takes.

        A long text becomes several. What the platform cannot show falls back to text (see :func:`fall_back_to_text`).
        Raises
        :class:`MessageError` for what goes over a limit of the platform and cannot be split, naming the limit.
        """

    @abstractmethod
    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        """The platform's id for what was just carried out (empty if it gives none), within ``timeout`` seconds in
        all."""

    def find_sent(self, sending: OutgoingRequest, *, timeout: float) -> str | None:
        """The platform's id of an earlier :meth:`send` whose answer is unknown; None if it did not arrive, or if nobody
        can tell: it is sent again. Raises a :class:`ChannelError` if it cannot be looked for now, but later.

        Asked only where ``capabilities.look_up`` is true.
        """
        return None

    def cooldown(self) -> float:
        """Seconds for which the platform wants no more requests, as far as its last answer said; 0 for none."""
        return 0.0

    def preview(self, conversation: Conversation, message_id: str, text: str) -> None:
        """Show an unfinished text in a message, if that can be done now. Asked only where ``stream_interval`` is
        set."""

    def stream_delta(self, conversation: Conversation, stream_id: str, sequence: int, text: str | None) -> None:
        """Show the next piece of a message that is still being written, if that can be done now; None gives it up.

        Asked only where ``capabilities.deltas`` is true. Pieces are numbered from 0; nothing of them is stored.
        """

    def set_typing(self, conversation: Conversation, is_typing: bool) -> None:
        """Show that a handler has begun or ended its work on a message here, if that can be done now."""

    def filter_state_changes(self, transaction: Transaction, changes: Sequence[StateChange]) -> Sequence[StateChange]:
        """Those of ``changes`` that are to be remembered: not of a user or conversation that has been removed since the
        handler began. Called in the transaction that stores them."""
        return changes

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        """The newest messages of a conversation, oldest first; empty where the platform keeps none."""
        return []

    def client(self, bot: str) -> Any:
        """The platform's own client for ``bot``."""
        return None

    def readonly_client(self, bot: str, on_write: Callable[[str], None]) -> Any:
        """As :meth:`client`, but it only reads, and tells ``on_write`` what else it was asked for; for rehearsals."""
        return None

    def is_bot(self, uid: str) -> bool:
        """Whether the platform lists this user as a bot, as far as it is known without asking now."""
        return False

    def refresh(self) -> None:
        """Bring up to date what is kept of the platform; called every few minutes, in the background."""

    def attach(self, delivery: DeliveryService) -> None:
        """Remember the delivery that this channel belongs to. Called once, before anything else."""

    def blueprint(self, delivery: DeliveryService) -> Any:
        """The Flask blueprint with this channel's routes, None if it has none."""
        return None

    def close(self) -> None:
        """Give back connections."""


def fall_back_to_text(message: Message, capabilities: Capabilities) -> Message:
    """``message`` as it is where the channel shows its kind, else as text."""
    if type(message) in capabilities.native:
        return message
    return Text(message.to_text(), metadata=message.metadata, tags=message.tags)


def to_storable_key(key: str) -> str:
    """Return ``key`` as an index takes it: with a hash in place of what is too long or holds control characters."""
    return key if _is_storable(key) else _hash_key(key)


def _is_storable(key: str) -> bool:
    if key.isascii() and key.isprintable():
        return len(key) <= MAX_KEY_BYTES
    return _UNSTORABLE_PATTERN.search(key) is None and utf8_size(key) <= MAX_KEY_BYTES


def _hash_key(key: str) -> str:
    kind = key.partition(":")[0]
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{kind}:{digest}" if _KEY_KIND_PATTERN.fullmatch(kind) else digest
