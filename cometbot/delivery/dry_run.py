"""Dry run of a stored message: what today's code would send and store, without sending or storing it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cometbot.bot import Bot
from cometbot.broadcasts import Broadcast, BroadcastRequest, split_users
from cometbot.channels.base import Channel, IncomingEvent
from cometbot.delivery.delivery import Delivery
from cometbot.delivery.gathered_messages import list_joined, read_joined
from cometbot.delivery.incoming_files import read_file
from cometbot.delivery.outgoing_files import describe_file
from cometbot.dispatch import dispatch
from cometbot.errors import BotError
from cometbot.events import Event, MessageEvent
from cometbot.inspection.stored_messages import StoredMessage, find_message
from cometbot.jobs import JobChange, PlannedJob
from cometbot.messages import Capabilities, Message, Operation, Text
from cometbot.models import Attachment, Conversation, User
from cometbot.outcomes import Outcome
from cometbot.outgoing import filter_operation
from cometbot.presses import PRESS_SCOPE
from cometbot.sinks import ReplySink, Transcript, Trigger
from cometbot.state import RESERVED_PREFIX, StateChange
from cometbot.steps import ONCE, TOOL, DialogId, Step, StoredDialog
from cometbot.token_usage import ReportedUsage


@dataclass(frozen=True, slots=True)
class PlannedOperation:
    """An operation that would be carried out, and the requests that its channel would send for it, in order."""

    operation: Operation
    requests: tuple[Mapping[str, Any], ...]

    @property
    def text(self) -> str:
        """The text that users would see; the uid of a member who is removed or banned."""
        operation = self.operation
        if operation.kind in ("react", "kick", "ban", "unban"):
            return operation.reaction or operation.user
        return operation.message.to_text() if operation.message is not None else ""


@dataclass(frozen=True, slots=True)
class StateKeyChange:
    """A change of one key of a state. ``before`` and ``after`` are JSON texts, None if the key does not exist."""

    scope: str
    owner: str
    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class DryRun:
    """The result of running today's code on a stored message.

    ``handler`` and ``stopped_by`` are those of :class:`cometbot.dispatch.Outcome`. ``error`` is the exception that was
    raised, also by the body's parser or by rendering a reply that the channel would never accept. ``retry_in`` is set
    if the handler asks for a retry after that many seconds. ``blocked_calls`` names the changes that were requested of
    ``ctx.client``. ``event`` is None for a body that does not parse.
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
    """Run the handlers of ``delivery`` on the message ``message_id``, as if it were new, without storing or sending.

    Replies, ``bot.send()`` of all bots and state changes are only recorded, and ``ctx.client`` only reads. State and
    history are today's, not those of the day when the message arrived. Other effects of a handler (its own database,
    its own requests) do happen. No deadline is enforced. Raises :class:`DeliveryError` if the id is invalid or unknown,
    :class:`BotError` if delivery does not have the message's bot or channel.
    """
    message = find_message(delivery.store, message_id)
    bot, channel = get_bot(delivery, message), _get_channel(delivery, message)
    sink = DryRunSink(delivery, channel, bot)
    sink.conversation_of_run, sink.message_of_run = message.conversation, message.id
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
    waiting = outcome.dialog.waiting if outcome.dialog is not None else None
    if waiting is not None and waiting.kind in (ONCE, TOOL):
        name = waiting.question_text
        sink.blocked_calls.append(f"ctx.once({name})" if waiting.kind == ONCE else f"the tool {name}")
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
    """Records what a dry-run handler replies and what its bots send (see :class:`~cometbot.sinks.ReplySink`)."""

    is_rerun = True  # no limit holds for the message now, and it waits for no others

    def __init__(self, delivery: Delivery, channel: Channel, bot: Bot) -> None:
        self.planned: list[PlannedOperation] = []
        self.blocked_calls: list[str] = []
        self.handler = ""
        self._delivery = delivery
        self._store = delivery.store
        self._channel = channel
        self._client = channel.readonly_client(bot.name, self.blocked_calls.append)
        self._guard = threading.Lock()
        self._posted_count = 0
        self.conversation_of_run: Conversation | None = None
        self.message_of_run = "m0"
        self._bot = bot

    @property
    def capabilities(self) -> Capabilities:
        capabilities = self._channel.capabilities
        return capabilities.without_streams() if self._bot.outgoing_middlewares else capabilities

    @property
    def client(self) -> Any:
        return self._client

    def start_handler(self, handler: str, timeout: float | None, *, stops_on_new: bool = False) -> None:
        self.handler = handler

    def mark_failed(self) -> None:
        """Do nothing: a dry run stores no ordinals."""

    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        with self._store.database.read() as connection:
            return self._store.state.load(connection, scope, owner)

    def read_file(self, file: Attachment, limit: int) -> bytes:
        return read_file(self._store.files, self._channel, self.client, file, limit)

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        return self._channel.history(conversation, limit)

    def transcript(self, conversation: Conversation, limit: int) -> Transcript:
        messages = self._channel.transcript(conversation, limit)
        with self._store.database.read() as connection:
            return Transcript(messages, self._store.outbox.find_answered(connection, conversation, messages))

    def conversation(self, bot: Bot, user: str, group: str, channel: str = "", app: str = "") -> Conversation:
        return self._find_channel(channel, app).conversation(bot, user=user, group=group)

    def get_app(self, conversation: Conversation) -> str:
        return self._delivery.channels.get_app(conversation)

    def capabilities_of(self, conversation: Conversation) -> Capabilities:
        return self._delivery.handled_channels.of(conversation).capabilities

    def has_member(self, conversation: Conversation, user: User) -> bool:
        return self._delivery.handled_channels.of(conversation).has_member(conversation, user)

    def members(self, conversation: Conversation) -> list[User]:
        return self._delivery.handled_channels.of(conversation).members(conversation)

    def get_scope(self, conversation: Conversation, user: User) -> str:
        return self._delivery.handled_channels.of(conversation).get_scope(conversation, user)

    def render(self, operation: Operation) -> Sequence[Mapping[str, Any]]:
        return self._delivery.handled_channels.of(operation.conversation).render(describe_file(operation))

    def hears_only_mentions(self, bot: Bot, channel: str = "") -> bool:
        return self._find_channel(channel).hears_only_mentions(bot)

    def _find_channel(self, name: str, app: str = "") -> Channel:
        """Return the channel with this name and app, by default that of the event."""
        is_home = not app and name in ("", self._channel.name)
        return self._channel.home if is_home else self._delivery.channels.choose(name, app)

    def joined_messages(self, message: str) -> Sequence[MessageEvent]:
        if self.conversation_of_run is None:
            return ()
        with self._store.database.read() as connection:
            rows = list_joined(self._store, connection, self.conversation_of_run.key_text, message)
        return read_joined(self._channel, self.conversation_of_run, rows)

    def platform_id(self, ordinal: int) -> str | None:
        return None

    def preview(self, ordinal: int, text: str) -> None:
        """Do nothing: a dry run records only complete messages."""

    def stream_delta(self, stream_id: str, sequence: int, text: str | None) -> None:
        """Do nothing, like :meth:`preview`."""

    def status(self, text: str) -> None:
        """Do nothing, like :meth:`preview`."""

    @property
    def calls_once(self) -> bool:
        return False

    @property
    def trigger(self) -> Trigger:
        return Trigger(self.message_of_run, 0, 0, time.time(), time.time())

    def skip_ordinals(self, count: int) -> None:
        """Do nothing: a dry run stores no ordinals."""

    def platform_id_of(self, said_for: DialogId, ordinal: int) -> str | None:
        return None

    def load_steps(self) -> Sequence[Step]:
        return ()

    def load_dialog(self, dialog: DialogId) -> StoredDialog | None:
        return None

    def attach_steps(self, dialog: DialogId, steps: Sequence[Step]) -> None:
        """Do nothing, like :meth:`save_steps`."""

    def save_steps(self, dialog: DialogId, steps: Sequence[Step], changes: Sequence[StateChange]) -> None:
        """Do nothing: a dry run stores no steps."""

    def record_usage(self, reported: ReportedUsage) -> None:
        """Do nothing: a dry run counts no tokens."""

    def change_job(self, change: JobChange) -> int:
        planned = change.planned
        if change.operation is not None and not change.operation.is_dropped:
            self.plan(change.operation)
        what = f"ctx.later({planned.handler})" if planned is not None and planned.handler else "ctx.send(…, at=…)"
        with self._guard:
            self._posted_count += 1
            self.blocked_calls.append(what)
            return self._posted_count - 1

    def cancel_job(self, change: JobChange) -> None:
        self.blocked_calls.append(f"job.cancel() of {change.name}")

    def list_jobs(self, scope: str) -> Sequence[PlannedJob]:
        with self._store.database.read() as connection:
            return [row.planned for row in self._store.jobs.list(connection, self._bot.name, scope=scope)]

    def schedule(self, bot: Bot, change: JobChange) -> None:
        """Record a job of ``bot.at()``."""
        self.change_job(change)

    def broadcast(self, bot: Bot, request: BroadcastRequest, users: object) -> Broadcast:
        """Record a call of ``bot.broadcast()``, and count its users, each once."""
        uids = {uid for chunk in split_users(users) for uid in chunk}
        with self._guard:
            self.blocked_calls.append(f"bot.broadcast() to {len(uids)} users")
        return Broadcast(request.name, len(uids))

    def plan(self, operation: Operation) -> PlannedOperation:
        """Return ``operation`` with its rendered requests. Raises what its channel raises if it cannot render it."""
        return PlannedOperation(operation, tuple(self.render(operation)))

    def post(self, operation: Operation) -> int:
        planned = None if operation.is_dropped else self.plan(operation)
        with self._guard:
            self._posted_count += 1
            if planned is not None:
                self.planned.append(planned)
            return self._posted_count - 1

    def send(
        self,
        bot: Bot,
        message: Message,
        *,
        user: str | None = None,
        group: str | None = None,
        conversation: Conversation | None = None,
        channel: str | None = None,
        app: str | None = None,
    ) -> str | None:
        """Record a message of ``bot.send()``; there is no id."""
        channels = self._delivery.channels
        named = channels.of(conversation) if conversation else channels.choose(channel or "", app or "")
        target = conversation or named.conversation(bot, user=user or "", group=group or "")
        operation = filter_operation(Operation(conversation=target, message=message), bot, None)
        if operation.is_dropped:
            return None
        planned = self.plan(operation)
        with self._guard:
            self.planned.append(planned)
        return None

    def key_changes(self, outcome: Outcome) -> Iterator[StateKeyChange]:
        """Yield each key that would be written, without cometbot's own."""
        for change in outcome.changes:
            if change.scope == PRESS_SCOPE:
                continue
            stored = self.load_state(change.scope, change.owner)
            for name, after in _written_values(change, stored):
                if not name.startswith(RESERVED_PREFIX):
                    yield StateKeyChange(change.scope, change.owner, name, stored.get(name), after)


def _plan_replies(sink: DryRunSink, outcome: Outcome, bot: Bot, event: Event) -> Outcome:
    """Record the outcome's replies. One that its platform would never accept makes the message fail instead."""
    try:
        planned = [sink.plan(operation) for operation in outcome.operations if not operation.is_dropped]
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        outcome = Outcome(handler=outcome.handler, error=error)
        planned = _plan_error_reply(sink, bot, event)
    sink.planned.extend(planned)
    return outcome


def _plan_error_reply(sink: DryRunSink, bot: Bot, event: Event) -> list[PlannedOperation]:
    """Return the bot's error text as a reply; nothing if it has none or its channel cannot render it."""
    if not bot.error_text:
        return []
    try:
        operation = Operation(conversation=event.conversation, message=Text(bot.error_text))
        operation = filter_operation(operation, bot, event)
        return [] if operation.is_dropped else [sink.plan(operation)]
    except KeyboardInterrupt:
        raise
    except BaseException:
        return []


def _written_values(change: StateChange, stored: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
    yield from change.values.items()
    for name, by in change.increments.items():
        value = json.loads(stored.get(name, "0"))
        yield name, json.dumps((value if isinstance(value, int | float) else 0) + by)
    for name in sorted(change.removed):
        yield name, None


@contextmanager
def _capture_sends(delivery: Delivery, sink: DryRunSink) -> Iterator[None]:
    """Record in ``sink`` what any bot of ``delivery`` sends with ``bot.send()`` until the block ends."""
    for bot in delivery.bots.values():
        bot.connect(sink)
    try:
        yield
    finally:
        for bot in delivery.bots.values():
            bot.connect(delivery)


def get_bot(delivery: Delivery, message: StoredMessage) -> Bot:
    """Return the bot that a message was written to. Raises :class:`BotError` if it is not one of ``delivery``."""
    name = message.conversation.bot
    if name not in delivery.bots:
        bot_names = ", ".join(delivery.bots) or "none"
        raise BotError(
            f"{message.id} was written to the bot {name!r}, and the bots here are: {bot_names}; name that bot"
        )
    return delivery.bots[name]


def _get_channel(delivery: Delivery, message: StoredMessage) -> Channel:
    channels, conversation = delivery.handled_channels, message.conversation
    found = channels.find(conversation)
    if found is not None:
        return found
    if conversation.channel in channels:
        raise BotError(f"{message.id} came through the app {conversation.account}; add it to COMETCHAT_APPS")
    raise BotError(f"{message.id} came through the channel {conversation.channel}; add it to COMETBOT_CHANNELS")
