"""The reply sink of handlers in delivery: it stores what a handler replies and does, and sends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from cometbot.channels.base import Channel
from cometbot.delivery.event_ends import report_end
from cometbot.delivery.gathered_messages import read_joined, read_waiting
from cometbot.delivery.incoming_files import read_file
from cometbot.delivery.outgoing_files import has_file, store_file
from cometbot.delivery.stored_dialogs import make_stored_dialog
from cometbot.delivery.stream_marks import StreamMarks
from cometbot.delivery.transactions import Transactions
from cometbot.delivery.work import ReplyBatch
from cometbot.errors import LeaseLost
from cometbot.event_loop import in_thread
from cometbot.events import Event, MessageEvent
from cometbot.jobs import JobChange, PlannedJob
from cometbot.messages import Capabilities, Operation
from cometbot.models import Attachment, Conversation, User
from cometbot.sinks import ReplySink, Transcript, Trigger, WaitingMessage
from cometbot.state import StateChange, to_json
from cometbot.steps import FAILED, DialogChange, DialogId, Step, StoredDialog
from cometbot.stopping import STOPPED_KEY, STOPPED_LIFETIME
from cometbot.store.leases import Lease
from cometbot.store.mailbox import MailboxMessage
from cometbot.store.outbox import FIRST_MARK_ORDINAL, Draft, SendAttempt, SendResult
from cometbot.store.sent_files import Said
from cometbot.token_usage import ModelUsage, ReportedUsage, merge_changes

if TYPE_CHECKING:
    from cometbot.bot import Bot

FIRST_FAILURE_ORDINAL = 1_000_000
"""The first ordinal of replies that are sent because a handler failed."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A ``/stop`` that has stopped a handler, and its rendered answer, None for none."""

    message: MailboxMessage
    answer: Draft | None


class Handlers(Protocol):
    """The handlers that run in this process, as their sinks need them (see :class:`HandlerRegistry`)."""

    def register(
        self,
        lease: Lease,
        message: MailboxMessage,
        sink: OutboxReplySink,
        handler: str,
        timeout: float | None,
        *,
        stops_on_new: bool = False,
    ) -> None:
        """Register a handler that begins, or the search for one."""

    def take_stop(self, sequence: int) -> bool:
        """Return True if this message is a ``/stop`` that has stopped a handler, and forget it."""


class OutboxReplySink(ReplySink):
    """Stores what the handler of one event replies and does (see :class:`~cometbot.sinks.ReplySink`).

    Operations are stored in the outbox, then sent to the platform. Ordinals are assigned in the order of the calls. If
    an earlier run of the same event stored a reply under an ordinal, that reply is kept and the new one dropped, so
    that the replies of two runs never mix. ``count_usage`` is called with what models cost once that is stored.
    """

    def __init__(
        self,
        transactions: Transactions,
        handlers: Handlers,
        bot: Bot,
        channel: Channel,
        lease: Lease,
        message: MailboxMessage,
        *,
        send_all: Callable[[Lease, Sequence[SendAttempt]], list[SendResult]],
        count_usage: Callable[[Sequence[ReportedUsage]], None],
    ) -> None:
        self._transactions = transactions
        self._handlers = handlers
        self._bot = bot
        self._channel = channel
        self._lease = lease
        self._message = message
        self._send_all = send_all
        self._count_usage = count_usage
        self._pending_usage: list[ReportedUsage] = []
        self.usage: list[ModelUsage] = []
        """The calls of models of this run, in their order."""
        self._guard = threading.Lock()
        self._sending = threading.Lock()
        self._next_ordinal = 0
        self._pending_results: list[SendResult] = []
        self._platform_ids: dict[int, str | None] = {}
        self._stored_ordinals: set[int] = set()
        self._edited_ordinals: set[int | None] = set()
        self._is_blocked = False
        self._is_closed = False
        self._is_given_up = False
        self._resumed: DialogId | None = None
        self._attached: tuple[DialogId, Sequence[Step]] | None = None
        self._marks = StreamMarks(message.event_id, message.generation)
        self.event: Event | None = None
        """The event of the message, or that of the opening if it continues a dialog; None until it is parsed."""
        self.ended = threading.Event()
        """Set once the handler has ended."""
        self._stops: list[Stop] = []
        self._behind: dict[int, MailboxMessage] = {}
        self.is_cancelled = False
        self.has_stopped = handlers.take_stop(message.seq)
        self.is_rerun = message.is_rerun
        if self.is_rerun:
            self._load_stored_replies()
            self.is_cancelled = self.load_state("conversation", lease.conversation_key).get(STOPPED_KEY) == self._mark

    def _load_stored_replies(self) -> None:
        for reply in self._transactions.list_replies(self._message):
            if reply.ordinal >= FIRST_MARK_ORDINAL:
                self._marks.load(reply)
                if self._marks.get_sent(reply.ordinal - FIRST_MARK_ORDINAL) is None:
                    continue
            self._stored_ordinals.add(reply.ordinal)
            if reply.target_event is None:
                self._edited_ordinals.add(reply.target)
            if reply.part == 0:
                self._platform_ids[reply.ordinal] = reply.platform_id

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the channel.

        A stream is sent as one message if another process sends, since no message exists here that could be edited, and
        if the bot has outgoing middleware, which gets only complete messages.
        """
        capabilities = self._channel.capabilities
        if self._bot.outgoing_middlewares:
            return capabilities.without_streams()
        return capabilities if self._channel.can_send else replace(capabilities, stream_interval=None)

    @property
    def client(self) -> Any:
        return self._channel.client(self._lease.conversation.bot)

    def start_handler(self, handler: str, timeout: float | None, *, stops_on_new: bool = False) -> None:
        if self._is_closed:
            raise LeaseLost
        self._handlers.register(self._lease, self._message, self, handler, timeout, stops_on_new=stops_on_new)

    @property
    def _mark(self) -> str:
        """The value under ``STOPPED_KEY`` if this run is stopped, as JSON."""
        return to_json(STOPPED_KEY, str(DialogId(self._message.event_id, self._message.generation)))

    def cancel(self, stop: Stop | None = None) -> None:
        """Record that the user has stopped the handler, with ``stop`` by a message that is to be answered."""
        if stop is not None:
            with self._guard:
                self._stops.append(stop)
        self.is_cancelled = True

    def mark_failed(self) -> None:
        with self._guard:
            self._next_ordinal = max(self._next_ordinal, FIRST_FAILURE_ORDINAL)

    @in_thread
    def conversation(self, bot: Bot, user: str, group: str, channel: str = "", app: str = "") -> Conversation:
        where = self._get_channel(channel, app)
        wanted = where.conversation(bot, user=user, group=group)
        return wanted if where.has_stored_conversations else self._transactions.find_target(wanted)

    def get_app(self, conversation: Conversation) -> str:
        return self._transactions.channels.get_app(conversation)

    def capabilities_of(self, conversation: Conversation) -> Capabilities:
        return self._channel_of(conversation).capabilities

    @in_thread
    def has_member(self, conversation: Conversation, user: User) -> bool:
        return self._channel_of(conversation).has_member(conversation, user)

    @in_thread
    def members(self, conversation: Conversation) -> list[User]:
        return self._channel_of(conversation).members(conversation)

    @in_thread
    def get_scope(self, conversation: Conversation, user: User) -> str:
        return self._channel_of(conversation).get_scope(conversation, user)

    def render(self, operation: Operation) -> Sequence[Mapping[str, Any]]:
        return self._channel_of(operation.conversation).render(operation)

    @in_thread
    def change_job(self, change: JobChange) -> int:
        with self._guard:
            ordinal, self._next_ordinal = self._next_ordinal, self._next_ordinal + 1
        if ordinal not in self._stored_ordinals:
            if change.planned is not None and change.operation is not None:
                change = change.with_payloads(self._render(change.operation, ordinal).payloads)
            message, here = self._message, self._lease.conversation
            draft = Draft(message.event_id, message.generation, ordinal, here, [{}], job=change)
            self._store([*self._take_broken(), draft], durable=True)
        return ordinal

    @in_thread
    def cancel_job(self, change: JobChange) -> None:
        self._transactions.change_job(self._lease, change, durable=True)

    @in_thread
    def list_jobs(self, scope: str) -> Sequence[PlannedJob]:
        return self._transactions.list_jobs(self._bot.name, scope)

    def hears_only_mentions(self, bot: Bot, channel: str = "") -> bool:
        return self._get_channel(channel).hears_only_mentions(bot)

    def _get_channel(self, name: str, app: str = "") -> Channel:
        """Return the channel with this name and app, by default the one that handlers of the event mean."""
        is_home = not app and name in ("", self._channel.name)
        return self._channel.home if is_home else self._transactions.channels.choose(name, app)

    def _channel_of(self, conversation: Conversation) -> Channel:
        here = self._lease.conversation
        is_here = conversation.channel == here.channel and conversation.account == here.account
        return self._channel if is_here else self._transactions.channels.of(conversation)

    @in_thread
    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        loaded = self._message.conversation_state
        if loaded is not None and (scope, owner) == ("conversation", self._lease.conversation_key):
            return dict(loaded)
        return self._transactions.load_state(scope, owner)

    @in_thread
    def read_file(self, file: Attachment, limit: int) -> bytes:
        return read_file(self._transactions.files, self._channel, self.client, file, limit)

    @in_thread
    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        return self._channel.history(conversation, limit)

    @in_thread
    def transcript(self, conversation: Conversation, limit: int) -> Transcript:
        return self._transactions.load_transcript(self._channel, conversation, limit)

    @in_thread
    def waiting_messages(self, limit: int) -> Sequence[WaitingMessage]:
        rows = self._transactions.list_behind(self._lease, self._message, limit)
        self._behind = {row.seq: row for row in rows}
        return [read_waiting(self._channel, self._lease.conversation, row) for row in rows]

    @in_thread
    def joined_messages(self, message: str) -> Sequence[MessageEvent]:
        rows = self._transactions.list_joined(self._lease.conversation_key, message)
        return read_joined(self._channel, self._lease.conversation, rows)

    def get_behind(self, sequences: Iterable[int]) -> list[MailboxMessage]:
        """Return messages of :meth:`waiting_messages` by their numbers."""
        return [self._behind[sequence] for sequence in sequences]

    def platform_id(self, ordinal: int) -> str | None:
        return self._platform_ids.get(ordinal)

    @in_thread
    def preview(self, ordinal: int, text: str) -> None:
        message_id = self._platform_ids.get(ordinal)
        if ordinal in self._edited_ordinals or self._bot.outgoing_middlewares:
            return  # an earlier run has stored the final text, or middleware must see it first
        if message_id and not self._is_closed and self._transactions.process.lease_time_left() > 0:
            with suppress(Exception):
                self._channel.preview(self._lease.conversation, message_id, text)

    @in_thread
    def stream_delta(self, stream_id: str, sequence: int, text: str | None) -> None:
        if self.has_said_next or self._bot.outgoing_middlewares:
            return  # an earlier run has stored the whole text, or middleware must see it first
        if not self._is_closed and self._transactions.process.lease_time_left() > 0:
            with suppress(Exception):
                self._channel.stream_delta(self._lease.conversation, stream_id, sequence, text)

    @in_thread
    def show_tool_call(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> None:
        if self._can_show_tools:
            with suppress(Exception):
                self._channel.show_tool_call(self._lease.conversation, call_id, name, arguments)

    @in_thread
    def show_tool_result(self, call_id: str, content: str) -> None:
        if self._can_show_tools:
            with suppress(Exception):
                self._channel.show_tool_result(self._lease.conversation, call_id, content)

    @property
    def _can_show_tools(self) -> bool:
        is_open = self.capabilities.tool_calls and not self._is_closed
        return is_open and self._transactions.process.lease_time_left() > 0

    @property
    def has_said_next(self) -> bool:
        return self._next_ordinal in self._stored_ordinals

    @in_thread
    def status(self, text: str) -> None:
        is_shown = self.capabilities.status and not self._is_closed
        if is_shown and self._transactions.process.lease_time_left() > 0:
            with suppress(Exception):
                self._channel.set_status(self._lease.conversation, text)

    @in_thread
    def post(self, operation: Operation) -> int:
        """Store an operation in a durable commit, send it if its turn has come, and return its ordinal.

        The marks of streams that have been broken off are stored with it, and sent before it.
        """
        ordinal, draft = self._make_draft(operation)
        if draft is None:
            return ordinal
        self._store([*self._take_broken(), draft], durable=True)
        return ordinal

    def _take_broken(self) -> list[Draft]:
        marks = self._marks.take_broken()
        self._edited_ordinals.update(mark.target for mark in marks)
        return marks

    def _store(self, drafts: Sequence[Draft], *, durable: bool) -> None:
        """Store replies with everything else that a commit must store, and send them if their turn has come."""
        with self._sending:
            batch, usage = self.batch(drafts), tuple[ReportedUsage, ...]()
            if batch.steps is not None:
                usage = tuple(self.pending_usage)
                batch = replace(batch, changes=merge_changes(usage))
            attempts = self._transactions.store_replies(self._lease, batch, durable=durable)
            self._discard_saved(batch)
            self._settle_usage(usage)
            if attempts:
                self._add_results(self._send_all(self._lease, attempts))

    def check_open(self) -> None:
        if self._is_given_up:
            raise LeaseLost

    def stream_key(self) -> int | None:
        with self._guard:
            return self._next_ordinal

    @in_thread
    def prepare_mark(self, key: int, mark: Operation) -> None:
        self._marks.name(key, mark.stream_id)
        if (draft := self._make_mark(key, mark)) is not None:
            self._marks.prepare(key, draft)
            self._store((), durable=False)

    @in_thread
    def break_off(self, key: int, mark: Operation) -> None:
        if (draft := self._make_mark(key, mark)) is not None:
            self._marks.break_off(key, draft)

    @in_thread
    def store_marks(self) -> None:
        if marks := self._take_broken():
            self._store(marks, durable=True)

    def sent_mark(self, key: int) -> int | None:
        return self._marks.get_sent(key)

    def finish_streams(self) -> list[Draft]:
        """Return the marks of the streams that are not complete, to be stored with the end of the message."""
        return self._marks.finish()

    def _make_mark(self, key: int, mark: Operation) -> Draft | None:
        """Return the rendered mark of a stream, or None if an earlier run has stored the whole text."""
        if key < 0 or key in (self._edited_ordinals if mark.kind == "edit" else self._stored_ordinals):
            return None
        return self._render(mark, FIRST_MARK_ORDINAL + key)

    def finish(self, drafts: Sequence[Draft]) -> ReplyBatch:
        """Return :meth:`batch` of a handler that has ended, with the answers to what has stopped it behind its own."""
        with self._sending:
            self.ended.set()
            batch = self.batch(drafts)
            return self._add_stops(batch, self._take_stops()) if self._stops else batch

    def answer_stop(self, stop: Stop) -> bool:
        """Answer what has stopped the handler while that runs on. Return False, with nothing done, if it has ended.

        Raises :class:`LeaseLost`.
        """
        with self._sending:
            if self.ended.is_set():
                return False
            # Steps and the marks of streams are stored with what the handler says next.
            batch = replace(self.batch(()), steps=None, marks=None)
            batch = self._add_stops(batch, [stop])
            attempts = self._transactions.store_replies(self._lease, batch, durable=True)
            self._discard_saved(batch)
            self._take_stops(stop)
            if attempts:
                self._add_results(self._send_all(self._lease, attempts))
        return True

    def _add_stops(self, batch: ReplyBatch, stops: Sequence[Stop]) -> ReplyBatch:
        """Return ``batch`` with the answers to ``stops``, whose messages end in the same commit."""
        mark = StateChange(
            "conversation",
            self._lease.conversation_key,
            {STOPPED_KEY: self._mark},
            lifetimes={STOPPED_KEY: STOPPED_LIFETIME},
        )
        answers = [stop.answer for stop in stops if stop.answer is not None]
        for stop in stops:
            answers += report_end(self._channel, self._lease.conversation, stop.message, "done")
        return replace(
            batch, drafts=[*batch.drafts, *answers], stops=tuple(stop.message for stop in stops), stopped=mark
        )

    def _take_stops(self, one: Stop | None = None) -> list[Stop]:
        """Return and forget what has stopped the handler, all or ``one``, whose answer is stored now."""
        with self._guard:
            taken = [stop for stop in self._stops if one in (None, stop)]
            self._stops = [stop for stop in self._stops if stop not in taken]
        for stop in taken:
            self._handlers.take_stop(stop.message.seq)
        return taken

    def draft(self, operation: Operation) -> Draft | None:
        """Return the rendered operation under the next ordinal, or None if that ordinal is stored already."""
        return self._make_draft(operation)[1]

    def batch(self, drafts: Sequence[Draft]) -> ReplyBatch:
        """Return ``drafts`` with everything else that the next commit must store. Raises :class:`LeaseLost`."""
        if self._is_closed:
            raise LeaseLost
        with self._guard:
            results = tuple(self._pending_results)
            return ReplyBatch(drafts, results, self._is_blocked, self._attached, marks=self._marks.get_changes())

    @property
    def last_batch(self) -> ReplyBatch:
        """The batch of the commit that gives up the message, without its replies."""
        with self._guard:
            return ReplyBatch(results=tuple(self._pending_results), marks=self._marks.get_changes())

    def close(self) -> None:
        """Refuse further operations: the conversation continues without this handler."""
        self._is_closed = True

    def give_up(self) -> None:
        """End the streams of a plain handler whose message is a dead letter and whose thread is replaced."""
        self._is_given_up = True

    @property
    def trigger(self) -> Trigger:
        message = self._message
        now = self._transactions.clock()
        return Trigger(message.event_id, message.generation, message.seq, message.received_at, now)

    def skip_ordinals(self, count: int) -> None:
        with self._guard:
            self._next_ordinal += count

    @in_thread
    def platform_id_of(self, said_for: DialogId, ordinal: int) -> str | None:
        return self._transactions.get_platform_id(said_for.event, said_for.generation, ordinal)

    @in_thread
    def find_said(self, platform_id: str) -> tuple[DialogId, int] | None:
        return self._transactions.find_said(self._lease.conversation_key, platform_id)

    @in_thread
    def end_hand_off(self, conversation: Conversation, dialog: DialogId, step: int, result: Mapping[str, Any]) -> None:
        if self._is_closed:
            raise LeaseLost
        self._transactions.add_event(conversation.key_text, dialog, step, result)

    @in_thread
    def load_steps(self) -> Sequence[Step]:
        return self._transactions.load_steps(DialogId(self._message.event_id, self._message.generation))

    @in_thread
    def load_dialog(self, dialog: DialogId) -> StoredDialog | None:
        found = self._transactions.load_dialog(dialog)
        if found is None:
            return None
        self._resumed = dialog
        stored = make_stored_dialog(self._channel, self._lease.conversation, *found)
        self.event = stored.event
        return stored

    @property
    def failed_dialog(self) -> DialogChange | None:
        """The change for a message that is given up while it continues a dialog; None if it continues none."""
        return DialogChange(self._resumed, FAILED, ended="failed") if self._resumed is not None else None

    def attach_steps(self, dialog: DialogId, steps: Sequence[Step]) -> None:
        with self._guard:
            self._attached = dialog, tuple(steps)

    @in_thread
    def save_steps(self, dialog: DialogId, steps: Sequence[Step], changes: Sequence[StateChange]) -> None:
        if self._is_closed:
            raise LeaseLost
        self.store_marks()
        usage = self.pending_usage
        changes = (*changes, *merge_changes(usage))
        self._transactions.save_steps(self._lease, dialog, steps, changes, durable=True)
        self._settle_usage(usage)

    def record_usage(self, reported: ReportedUsage) -> None:
        with self._guard:
            self._pending_usage.append(reported)
            self.usage.append(reported.usage)

    @property
    def pending_usage(self) -> Sequence[ReportedUsage]:
        with self._guard:
            return tuple(self._pending_usage)

    def _settle_usage(self, stored: Sequence[ReportedUsage]) -> None:
        """Count calls of models whose tokens a commit has stored."""
        with self._guard:
            self._pending_usage = [reported for reported in self._pending_usage if reported not in stored]
        self._count_usage(stored)

    def _make_draft(self, operation: Operation) -> tuple[int, Draft | None]:
        with self._guard:
            ordinal, self._next_ordinal = self._next_ordinal, self._next_ordinal + 1
        if ordinal in self._stored_ordinals or (operation.message is None and operation.is_dropped):
            return ordinal, None
        if operation.kind == "delete" and operation.target is not None:
            self._revoke_file(operation, operation.target)
        draft = self._render(operation, ordinal)
        self._marks.complete(operation, ordinal)
        if operation.mark is not None:
            mark = replace(
                operation, kind="edit", message=operation.mark, target=ordinal, quote_id="", is_growing=False, mark=None
            )
            self._marks.prepare(ordinal, self._render(mark, FIRST_MARK_ORDINAL + ordinal))
        return ordinal, draft

    def _revoke_file(self, operation: Operation, target: int) -> None:
        """Delete the file of a message that the handler deletes."""
        own = DialogId(self._message.event_id, self._message.generation)
        said_for = DialogId.parse(operation.target_event) or own if operation.target_event else own
        self._transactions.files.revoke_said(said_for.event, said_for.generation, target)

    def _render(self, operation: Operation, ordinal: int) -> Draft:
        message = self._message
        if has_file(operation):
            said = Said(message.event_id, message.generation, ordinal, operation.conversation.key_text)
            channel = self._channel_of(operation.conversation)
            transactions = self._transactions
            operation = store_file(transactions.files, channel, operation, said, store=transactions.store_file)
        payloads = self.render(operation)
        return Draft(
            message.event_id,
            message.generation,
            ordinal,
            operation.conversation,
            payloads,
            operation.target,
            operation.target_event,
            operation.approval,
        )

    def _add_results(self, results: Iterable[SendResult]) -> None:
        """Hold the results of sends until the next commit saves them."""
        with self._guard:
            for result in results:
                self._pending_results.append(result)
                self._is_blocked = self._is_blocked or not result.is_final
                if result.reply.part == 0 and result.reply.event == self._message.event_id:
                    self._platform_ids[result.reply.ordinal] = result.platform_id

    def _discard_saved(self, saved: ReplyBatch) -> None:
        """Forget what a commit has saved; a handler's threads may commit at the same time."""
        with self._guard:
            self._pending_results = [result for result in self._pending_results if result not in saved.results]
            if self._attached is saved.steps:
                self._attached = None
        if saved.marks is not None:
            self._marks.discard_saved(saved.marks)
