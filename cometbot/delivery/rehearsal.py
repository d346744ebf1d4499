"""A stored message rehearsed: what today's code would say and store, without saying or storing it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.base import Channel, Incoming
from cometbot.context import RESERVED, Outlet, StateChange
from cometbot.delivery.delivery import Delivery
from cometbot.delivery.replay import StoredMessage, find_message
from cometbot.dispatch import Outcome, dispatch
from cometbot.errors import BotError
from cometbot.events import Event, MessageEvent
from cometbot.messages import Capabilities, Message, Operation, Text
from cometbot.models import Conversation


@dataclass(frozen=True, slots=True)
class Spoken:
    """Something that would be said or done; ``requests`` are what its channel would send for it, in order."""

    operation: Operation
    requests: tuple[Mapping[str, Any], ...]

    @property
    def text(self) -> str:
        """What people would see of it."""
        operation = self.operation
        if operation.kind == "react":
            return operation.reaction
        return operation.message.to_text() if operation.message is not None else ""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One key of a state. ``before`` and ``after`` are JSON texts, None where there is no such key."""

    scope: str
    owner: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What today's code makes of a stored message.

    ``handler`` and ``stopped_by`` are those of :class:`cometbot.dispatch.Outcome`, ``error`` is what was raised, also
    by the body's parser or by an answer that its channel would never take. With ``retry_in`` the handler asks to be
    tried again after so many seconds. ``withheld`` names what ``ctx.client`` was asked to change. ``event`` is None
    for a body that does not parse.
    """

    message: StoredMessage
    event: Event | None = None
    handler: str = ""
    stopped_by: str = ""
    said: tuple[Spoken, ...] = ()
    changes: tuple[KeyChange, ...] = ()
    withheld: tuple[str, ...] = ()
    error: BaseException | None = None
    retry_in: float | None = None


def rehearse(delivery: Delivery, name: str) -> Rehearsal:
    """What the bots of ``delivery`` make of the message with the id ``name``, as of now and for the first time.

    Nothing of it is stored or sent: replies, ``bot.send()`` of all bots and state end here, and ``ctx.client`` only
    reads. State and history are today's, not those of the day when the message came. What else a handler does (its
    own database, its own requests) does happen. No deadline is watched. Raises :class:`DeliveryError` for an id that
    is none, :class:`BotError` for a message of a bot or channel that delivery does not have.
    """
    message = find_message(delivery.store, name)
    bot, channel = _bot_of(delivery, message), _channel_of(delivery, message)
    outlet = MuteOutlet(delivery, channel, bot)
    incoming = Incoming(
        message.conversation, message.event, message.body, message.sender, received_at=message.received_at
    )
    try:
        event = channel.parse(incoming)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Rehearsal(message, error=error)
    channel.refresh()
    with _muted(delivery, outlet):
        outcome = dispatch(bot, event, outlet, sender_is_bot=channel.is_bot(event.sender.uid))
    outcome = _speak(outlet, outcome, bot, event)
    return Rehearsal(
        message,
        event,
        handler=outcome.handler or outlet.handler,
        stopped_by=outcome.stopped_by,
        said=tuple(outlet.said),
        changes=tuple(outlet.key_changes(outcome)),
        withheld=tuple(outlet.withheld),
        error=outcome.error,
        retry_in=outcome.retry_in,
    )


class MuteOutlet(Outlet):
    """What a rehearsed handler says and what its bots send, caught before it goes anywhere (see ``context.Outlet``)."""

    def __init__(self, delivery: Delivery, channel: Channel, bot: Bot) -> None:
        self.said: list[Spoken] = []
        self.withheld: list[str] = []
        self.handler = ""
        self._delivery = delivery
        self._store = delivery.store
        self._channel = channel
        self._client = channel.muted_client(bot.name, self.withheld.append)
        self._guard = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:
        return self._channel.capabilities

    @property
    def client(self) -> Any:
        return self._client

    def begin(self, handler: str, timeout: float | None) -> None:
        self.handler = handler

    def fail(self) -> None:
        """Nothing: a rehearsal stores no ordinals."""

    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        with self._store.database.read() as connection:
            return self._store.state.load(connection, scope, owner)

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        return self._channel.history(conversation, limit)

    def conversation(self, bot: Bot, user: str, group: str) -> Conversation:
        return self._channel.conversation(bot, user=user, group=group)

    def platform_id(self, ordinal: int) -> str | None:
        return None

    def sketch(self, ordinal: int, text: str) -> None:
        """Nothing: only the whole text counts."""

    def piece(self, stream_id: str, sequence: int, text: str | None) -> None:
        """Nothing, as with :meth:`sketch`."""

    def spoken(self, operation: Operation, channel: Channel | None = None) -> Spoken:
        """``operation`` with the requests that would carry it out. Raises what its channel raises where none would."""
        return Spoken(operation, tuple((channel or self._channel).render(operation)))

    def post(self, operation: Operation) -> int:
        spoken = self.spoken(operation)
        with self._guard:
            self.said.append(spoken)
            return len(self.said) - 1

    def send(
        self,
        bot: Bot,
        message: Message,
        *,
        user: str | None = None,
        group: str | None = None,
        conversation: Conversation | None = None,
        channel: str | None = None,
    ) -> str | None:
        """Catch what ``bot.send()`` says; there is no id."""
        doors = self._delivery.channels
        name = conversation.channel if conversation else channel or next(iter(doors))
        if name not in doors:
            raise BotError(f"there is no channel {name!r} here; there is: {', '.join(doors)}")
        where = conversation or doors[name].conversation(bot, user=user or "", group=group or "")
        spoken = self.spoken(Operation(conversation=where, message=message), doors[name])
        with self._guard:
            self.said.append(spoken)
        return None

    def key_changes(self, outcome: Outcome) -> Iterator[KeyChange]:
        """What would be written, key by key; cometbot's own notes left out."""
        for change in outcome.changes:
            stored = self.load_state(change.scope, change.owner)
            for name, after in _written(change, stored):
                if not name.startswith(RESERVED):
                    yield KeyChange(change.scope, change.owner, name, stored.get(name), after)


def _speak(outlet: MuteOutlet, outcome: Outcome, bot: Bot, event: Event) -> Outcome:
    """The outcome, with its answers said; one that its platform would never take makes the message fail instead."""
    try:
        answers = [outlet.spoken(operation) for operation in outcome.operations]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        outcome = Outcome(handler=outcome.handler, error=error)
        apology = Text(bot.error_text) if bot.error_text is not None else None
        said = Operation(conversation=event.conversation, message=apology)
        answers = [outlet.spoken(said)] if apology else []
    outlet.said.extend(answers)
    return outcome


def _written(change: StateChange, stored: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    yield from change.values.items()
    for name, by in change.increments.items():
        value = json.loads(stored.get(name, "0"))
        yield name, json.dumps((value if isinstance(value, int | float) else 0) + by)
    for name in sorted(change.removed):
        yield name, None


@contextmanager
def _muted(delivery: Delivery, outlet: MuteOutlet) -> Iterator[None]:
    """While it lasts, what any bot of ``delivery`` sends of its own accord ends in ``outlet``."""
    for bot in delivery.bots.values():
        bot.connect(outlet)
    try:
        yield
    finally:
        for bot in delivery.bots.values():
            bot.connect(delivery)


def _bot_of(delivery: Delivery, message: StoredMessage) -> Bot:
    name = message.conversation.bot
    if name not in delivery.bots:
        there = ", ".join(delivery.bots) or "none"
        raise BotError(f"{message.id} was written to the bot {name!r}, and the bots here are: {there}; name that bot")
    return delivery.bots[name]


def _channel_of(delivery: Delivery, message: StoredMessage) -> Channel:
    name = message.conversation.channel
    if name not in delivery.channels:
        raise BotError(f"{message.id} came through the channel {name}; add it to COMETBOT_CHANNELS")
    return delivery.channels[name]
