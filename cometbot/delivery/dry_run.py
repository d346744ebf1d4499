"""A stored message rehearsed: what today's code would say and store, without saying or storing it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cometbot.bot import Bot
from cometbot.channels.base import Channel, IncomingEvent
from cometbot.context import RESERVED_PREFIX, ReplySink, StateChange
from cometbot.delivery.delivery import Delivery
from cometbot.delivery.replay import StoredMessage, find_message
from cometbot.dispatch import Outcome, dispatch
from cometbot.errors import BotError
from cometbot.events import Event, MessageEvent
from cometbot.messages import Capabilities, Message, Operation, Text
from cometbot.models import Conversation


@dataclass(frozen=True, slots=True)
class PlannedOperation:
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
class StateKeyChange:
    """One key of a state. ``before`` and ``after`` are JSON texts, None where there is no such key."""

    scope: str
    owner: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class DryRun:
    """What today's code makes of a stored message.

    ``handler`` and ``stopped_by`` are those of :class:`cometbot.dispatch.Outcome`, ``error`` is what was raised, also
    by the body's parser or by an answer that its channel would never take. With ``retry_in`` the handler asks to be
    tried again after so many seconds. ``blocked_calls`` names what ``ctx.client`` was asked to change. ``event`` is
    None for a body that does not parse.
    """

    message: StoredMessage
    event: Event | None = None
    handler: str = ""
    stopped_by: str = ""
    planned: tuple[PlannedOperation, ...] = ()
    changes: tuple[StateKeyChange, ...] = ()
    blocked_calls: tuple[str, ...] = ()
    error: BaseException | None = None
    retry_in: float | None = None


def dry_run(delivery: Delivery, message_id: str) -> DryRun:
    """What the bots of ``delivery`` make of the message with the id ``name``, as of now and for the first time.

    Nothing of it is stored or sent: replies, ``bot.send()`` of all bots and state end here, and ``ctx.client`` only
    reads. State and history are today's, not those of the day when the message came. What else a handler does (its
    own database, its own requests) does happen. No deadline is watched. Raises :class:`DeliveryError` for an id that
    is none, :class:`BotError` for a message of a bot or channel that delivery does not have.
    """
    message = find_message(delivery.store, message_id)
    bot, channel = _get_bot(delivery, message), _get_channel(delivery, message)
    sink = DryRunSink(delivery, channel, bot)
    incoming = IncomingEvent(
        message.conversation, message.event, message.body, message.sender, received_at=message.received_at
    )
    try:
        event = channel.parse(incoming)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return DryRun(message, error=error)
    channel.refresh()
    with _capture_sends(delivery, sink):
        outcome = dispatch(bot, event, sink, sender_is_bot=channel.is_bot(event.sender.uid))
    outcome = _plan_replies(sink, outcome, bot, event)
    return DryRun(
        message,
        event,
        handler=outcome.handler or sink.handler,
        stopped_by=outcome.stopped_by,
        planned=tuple(sink.planned),
        changes=tuple(sink.key_changes(outcome)),
        blocked_calls=tuple(sink.blocked_calls),
        error=outcome.error,
        retry_in=outcome.retry_in,
    )


class DryRunSink(ReplySink):
    """What a rehearsed handler says and what its bots send, caught before it goes anywhere (see
    ``context.ReplySink``)."""

    def __init__(self, delivery: Delivery, channel: Channel, bot: Bot) -> None:
        self.planned: list[PlannedOperation] = []
        self.blocked_calls: list[str] = []
        self.handler = ""
        self._delivery = delivery
        self._store = delivery.store
        self._channel = channel
        self._client = channel.readonly_client(bot.name, self.blocked_calls.append)
        self._guard = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:
        return self._channel.capabilities

    @property
    def client(self) -> Any:
        return self._client

    def start_handler(self, handler: str, timeout: float | None) -> None:
        self.handler = handler

    def mark_failed(self) -> None:
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

    def preview(self, ordinal: int, text: str) -> None:
        """Nothing: only the whole text counts."""

    def stream_delta(self, stream_id: str, sequence: int, text: str | None) -> None:
        """Nothing, as with :meth:`preview`."""

    def plan(self, operation: Operation, channel: Channel | None = None) -> PlannedOperation:
        """``operation`` with the requests that would carry it out. Raises what its channel raises where none would."""
        return PlannedOperation(operation, tuple((channel or self._channel).render(operation)))

    def post(self, operation: Operation) -> int:
        planned = self.plan(operation)
        with self._guard:
            self.planned.append(planned)
            return len(self.planned) - 1

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
        channels = self._delivery.channels
        name = conversation.channel if conversation else channel or next(iter(channels))
        if name not in channels:
            raise BotError(f"there is no channel {name!r} here; there is: {', '.join(channels)}")
        target = conversation or channels[name].conversation(bot, user=user or "", group=group or "")
        planned = self.plan(Operation(conversation=target, message=message), channels[name])
        with self._guard:
            self.planned.append(planned)
        return None

    def key_changes(self, outcome: Outcome) -> Iterator[StateKeyChange]:
        """What would be written, key by key; cometbot's own notes left out."""
        for change in outcome.changes:
            stored = self.load_state(change.scope, change.owner)
            for name, after in _written_values(change, stored):
                if not name.startswith(RESERVED_PREFIX):
                    yield StateKeyChange(change.scope, change.owner, name, stored.get(name), after)


def _plan_replies(sink: DryRunSink, outcome: Outcome, bot: Bot, event: Event) -> Outcome:
    """The outcome, with its answers said; one that its platform would never take makes the message fail instead."""
    try:
        planned = [sink.plan(operation) for operation in outcome.operations]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        outcome = Outcome(handler=outcome.handler, error=error)
        error_message = Text(bot.error_text) if bot.error_text is not None else None
        error_operation = Operation(conversation=event.conversation, message=error_message)
        planned = [sink.plan(error_operation)] if error_message else []
    sink.planned.extend(planned)
    return outcome


def _written_values(change: StateChange, stored: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    yield from change.values.items()
    for name, by in change.increments.items():
        value = json.loads(stored.get(name, "0"))
        yield name, json.dumps((value if isinstance(value, int | float) else 0) + by)
    for name in sorted(change.removed):
        yield name, None


@contextmanager
def _capture_sends(delivery: Delivery, sink: DryRunSink) -> Iterator[None]:
    """While it lasts, what any bot of ``delivery`` sends of its own accord ends in ``sink``."""
    for bot in delivery.bots.values():
        bot.connect(sink)
    try:
        yield
    finally:
        for bot in delivery.bots.values():
            bot.connect(delivery)


def _get_bot(delivery: Delivery, message: StoredMessage) -> Bot:
    name = message.conversation.bot
    if name not in delivery.bots:
        bot_names = ", ".join(delivery.bots) or "none"
        raise BotError(
            f"{message.id} was written to the bot {name!r}, and the bots here are: {bot_names}; name that bot"
        )
    return delivery.bots[name]


def _get_channel(delivery: Delivery, message: StoredMessage) -> Channel:
    name = message.conversation.channel
    if name not in delivery.channels:
        raise BotError(f"{message.id} came through the channel {name}; add it to COMETBOT_CHANNELS")
    return delivery.channels[name]
