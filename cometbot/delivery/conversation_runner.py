"""Process one conversation under its lease: its outbox first, then its mailbox, message by message."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from cometbot.apologies import Apologies
from cometbot.backoff import Backoff
from cometbot.bot import Bot
from cometbot.channels.base import Channel, Channels, EndKind, IncomingEvent
from cometbot.delivery.broadcasting import Broadcaster
from cometbot.delivery.event_ends import report_end
from cometbot.delivery.outbox_sink import OutboxReplySink
from cometbot.delivery.roles import ProcessRoles
from cometbot.delivery.running_handlers import HandlerRegistry, HandlerRun
from cometbot.delivery.sending import ReplySender
from cometbot.delivery.transactions import Transactions
from cometbot.delivery.work import HandleMessage, Limits, MessageEnd, Released, ReplyBatch, SendReplies, Work
from cometbot.dispatch import ErrorClasses, dispatch
from cometbot.error_text import describe_error
from cometbot.errors import ChannelError, LeaseLost, StoreBusy
from cometbot.events import Event
from cometbot.hand_offs import parse_event as parse_hand_off
from cometbot.jobs import JOBS_CHANNEL
from cometbot.models import Conversation, User
from cometbot.observer import Observer
from cometbot.outcomes import Outcome
from cometbot.steps import FAILED, DialogChange, DialogEvent, DialogId
from cometbot.store.broadcasts import BROADCAST_PREFIX
from cometbot.store.dialogs import HAND_OFF_PREFIX, INTERNAL_PREFIX
from cometbot.store.jobs import JOB_PREFIX
from cometbot.store.leases import Lease
from cometbot.store.mailbox import MAX_CRASH_COUNT, MailboxMessage
from cometbot.store.outbox import END_ORDINAL, Draft, MarkChanges
from cometbot.store.tables import DEAD, WAITING
from cometbot.token_usage import ModelUsage, ReportedUsage, merge_changes

log = logging.getLogger(__name__)

MAX_STEPS_PER_RUN = 20
"""The number of messages and waiting replies after which a runner yields to other conversations."""

RUN_TIME_LIMIT = 2.0
"""The seconds after which a runner yields to other conversations."""

_FETCH_BACKOFF = Backoff(initial=1.0, maximum=60.0)
_MAX_FETCH_ATTEMPTS = 12
_WITHOUT_DIALOG = (JOB_PREFIX, HAND_OFF_PREFIX, BROADCAST_PREFIX)
_RETRY_DELAY = 5.0
"""Seconds after which a conversation continues whose processing failed."""


@dataclass(slots=True)
class Run:
    """The processing of one conversation under one lease.

    ``step_count`` counts the messages handled and the waiting replies sent.
    """

    lease: Lease
    bot: Bot
    channel: Channel
    limits: Limits
    step_count: int = 0
    started_at: float = field(default_factory=time.monotonic)

    def log_extra(self, message: MailboxMessage) -> dict[str, str]:
        """Return the ids for a log line about ``message``."""
        return {"event": message.key, "conversation": self.lease.conversation_key}


@dataclass(frozen=True, slots=True)
class HandledMessage:
    """A message whose handler has ended: what is to be stored, and what is to be measured.

    ``outcome``: see ``Observer.handled``, which is not called for an empty one. ``usage`` are the calls of models that
    its end stores.
    """

    end: MessageEnd
    started_at: float
    outcome: str = ""
    error: BaseException | None = None
    usage: Sequence[ReportedUsage] = ()


class ConversationRunner:
    """Processes conversations, each under its lease. One object serves all threads of a process.

    Every commit checks that the lease still holds. No transaction is open while author code or HTTP runs.

    ``notify(conversation_key, due_at, to_send=…)``: see ``Worker.notify``; ``reraise``: see ``Engine``.
    """

    def __init__(
        self,
        bots: Mapping[str, Bot],
        channels: Channels,
        roles: ProcessRoles,
        transactions: Transactions,
        sender: ReplySender,
        handlers: HandlerRegistry,
        observer: Observer,
        *,
        notify: Callable[..., None],
        is_stopping: Callable[[], bool],
        reraise: ErrorClasses = (),
    ) -> None:
        self._bots = bots
        self._channels = channels
        self._roles = roles
        self._transactions = transactions
        self._sender = sender
        self._handlers = handlers
        self._observer = observer
        self._notify = notify
        self._is_stopping = is_stopping
        self._reraise = reraise
        self._apologies = Apologies(reraise)
        self._broadcaster = Broadcaster(transactions, channels, observer, reraise)

    def process_conversation(self, conversation_key: str) -> None:
        """Process one conversation until nothing is due, another process holds it, or others get their turn.

        A conversation of a bot or channel that this process does not serve is left alone. So is one whose next step, a
        send or a handler, belongs to another process. An unexpected error is logged, and the conversation continues a
        little later; only the exceptions in ``reraise`` are raised.
        """
        limits = Limits(*self._roles.abilities(conversation_key))
        if not (limits.can_handle or limits.can_send):
            return
        with self._transactions.process.lease_token() as token:
            claimed = self._claim(conversation_key, token, limits)
            if claimed is None:
                return
            try:
                self._process_claimed(*claimed, limits)
            except self._reraise:
                raise
            except BaseException as error:
                self._release_after_error(claimed[0], error)
            finally:
                self._handlers.release_isolation(claimed[0])

    def _process_claimed(self, lease: Lease, work: Work, limits: Limits) -> None:
        """Handle messages and send replies until a transaction has released the lease."""
        bot, channel = self._bots[lease.conversation.bot], self._channels.of(lease.conversation)
        run = Run(lease, bot, channel, limits)
        while not isinstance(work, Released):
            if isinstance(work, HandleMessage):
                handled = self._handle(run, work.message)
                work = self._transactions.finish_message(lease, handled.end, self._limits(run), durable=True)
                self._report(run, handled)
            else:
                attempts = work.attempts if isinstance(work, SendReplies) else ()
                results = self._sender.send_all(lease, attempts)
                self._handlers.release_isolation(lease)
                work = self._transactions.start_next(lease, results, self._limits(run), durable=False)
                run.step_count += isinstance(work, SendReplies)
        self._continue_later(run, work)

    def _claim(self, conversation_key: str, token: str, limits: Limits) -> tuple[Lease, Work] | None:
        """Claim the lease. Return None if this process has nothing to do there, or the database is unavailable."""
        extra = {"conversation": conversation_key}
        try:
            claimed = self._transactions.claim(conversation_key, token, limits, durable=False)
        except StoreBusy as error:
            self._transactions.process.mark_uncertain()  # the claim may have been committed
            log.warning("cannot process a conversation now: %s", error, extra=extra)
            return None
        if claimed is not None and claimed[0].is_recovered:
            log.warning("took over the conversation of a dead worker", extra=extra)
            self._observer.recovered(claimed[0].conversation.bot)
        return claimed

    def _release_after_error(self, lease: Lease, error: BaseException) -> None:
        extra = {"conversation": lease.conversation_key}
        if isinstance(error, LeaseLost):
            if self._handlers.is_abandoned(lease):
                log.info("a handler ended after its message had been given up", extra=extra)
            else:
                log.warning("lost the lease of a conversation to another worker", extra=extra)
            return
        if isinstance(error, StoreBusy):
            log.warning("released a conversation until the database works again: %s", error, extra=extra)
        else:
            log.error("cannot process a conversation: unexpected error; it is tried again", exc_info=error, extra=extra)
        self._release_with_delay(lease)

    def _release_with_delay(self, lease: Lease) -> None:
        extra = {"conversation": lease.conversation_key}
        try:
            self._transactions.release(lease, delay=_RETRY_DELAY, durable=False)
        except LeaseLost:
            log.info("a conversation was released already", extra=extra)
        except StoreBusy as error:
            self._transactions.process.mark_uncertain()  # the maintenance thread releases it
            log.warning("cannot release a conversation now: %s", error, extra=extra)

    def _limits(self, run: Run) -> Limits:
        is_over_limit = run.step_count >= MAX_STEPS_PER_RUN or time.monotonic() - run.started_at > RUN_TIME_LIMIT
        return replace(run.limits, must_yield=True) if is_over_limit or self._is_stopping() else run.limits

    def _continue_later(self, run: Run, released: Released) -> None:
        """Notify whoever continues a released conversation, unless this process would and is stopping."""
        if released.due_at is None:
            return
        is_own_work = run.limits.can_send if released.to_send else run.limits.can_handle
        if not (is_own_work and self._is_stopping()):
            self._notify(run.lease.conversation_key, due_at=released.due_at or None, to_send=released.to_send)

    def _report(self, run: Run, handled: HandledMessage) -> None:
        bot, app = run.lease.conversation.bot, run.channel.app
        if handled.outcome:
            self._observer.handled(bot, time.monotonic() - handled.started_at, handled.outcome, app=app)
        for _ in (*handled.end.replies.stops, *handled.end.joined):
            self._observer.handled(bot, 0.0, "stopped", app=app)
        if handled.outcome == "failed" and handled.error is not None:
            self._observer.failed(bot, handled.end.message.key, handled.error)
        if handled.end.dialog is not None:
            self._report_dialog(bot, handled.end.dialog)
        self._report_usage(handled.usage, bot=bot)

    def _report_usage(self, reported: Sequence[ReportedUsage], *, bot: str) -> None:
        for item in reported:
            usage = item.usage
            self._observer.model_called(bot, usage.model, input=usage.input, output=usage.output, cached=usage.cached)

    def _report_dialog(self, bot: str, change: DialogChange) -> None:
        if change.answer_seconds is not None:
            self._observer.question_answered(bot, change.answer_seconds)
        if change.ended:
            self._observer.dialog_ended(bot, change.ended)
        if change.approval:
            self._observer.approval_ended(bot, change.approval)

    def _handle(self, run: Run, message: MailboxMessage) -> HandledMessage:
        """Run the handler of a message, and return its end. Replies of ``ctx.reply`` are stored while it runs."""
        run.step_count += 1
        started_at, outcome = time.monotonic(), Outcome()
        if message.crash_count >= MAX_CRASH_COUNT:
            return self._give_up(run, message, f"its process died {message.crash_count} times while it was handled")
        if message.key.startswith(BROADCAST_PREFIX):
            return HandledMessage(self._broadcaster.handle(run.lease, run.bot, message), started_at)
        sink = OutboxReplySink(
            self._transactions,
            self._handlers,
            run.bot,
            run.channel,
            run.lease,
            message,
            send_all=self._sender.send_all,
            count_usage=partial(self._report_usage, bot=run.bot.name),
        )
        if message.body:  # else it was erased since its last run: the conversation no longer exists
            try:
                event = _parse_event(run, message)
            except (ChannelError, StoreBusy) as error:
                return self._end_unfetched(run, message, error)
            except self._reraise:
                raise
            except BaseException as error:
                log.error("cannot parse a message", exc_info=error, extra=run.log_extra(message))
                outcome = Outcome(error=error)
            else:
                sink.event = event
                outcome = self._dispatch(run, message, event, sink)
        if outcome.held_for is not None:
            end = MessageEnd(message, "", WAITING, retry_in=outcome.held_for, replies=sink.finish(()), is_held=True)
            return HandledMessage(end, started_at)
        return self._make_handled(run, message, sink, outcome, started_at)

    def _make_handled(
        self, run: Run, message: MailboxMessage, sink: OutboxReplySink, outcome: Outcome, started_at: float
    ) -> HandledMessage:
        """Return the end of a message whose handler has ended, with its last replies."""
        drafts, outcome = self._render_replies(run, sink, outcome)
        if outcome.retry_in is None:  # else the next run may complete what this one has streamed
            drafts = [*sink.finish_streams(), *drafts]
        usage = sink.pending_usage
        if usage:
            outcome = replace(outcome, changes=(*outcome.changes, *merge_changes(usage)))
        reports = self._report_end(run, message, outcome, sink.usage)
        joined = sink.get_behind(outcome.joined)
        for ended in joined:
            reports += report_end(run.channel, run.lease.conversation, ended, "done")
        end = _finish(run, message, outcome, sink, drafts, reports)
        if joined:
            end = replace(end, joined=joined)
        return HandledMessage(end, started_at, _outcome_name(outcome), outcome.error, usage)

    def _give_up(self, run: Run, message: MailboxMessage, error_text: str) -> HandledMessage:
        log.error("gave up a message: %s", error_text, extra=run.log_extra(message))
        # A process that died may have shown a part of a stream.
        marks = MarkChanges(message.event_id, message.generation, releases=True)
        drafts = report_end(run.channel, run.lease.conversation, message, "failed")
        end = MessageEnd(
            message,
            "",
            DEAD,
            error_text,
            replies=ReplyBatch(drafts, marks=marks),
            dialog=_find_failed_dialog(run, message),
        )
        return HandledMessage(end, time.monotonic(), "dead")

    def _end_unfetched(self, run: Run, message: MailboxMessage, error: Exception) -> HandledMessage:
        """Postpone a message whose event could not be fetched; after the last attempt it becomes a dead letter."""
        error_text = describe_error(error)
        if message.failures + 1 >= _MAX_FETCH_ATTEMPTS:
            return self._give_up(run, message, error_text)
        retry_in = _FETCH_BACKOFF.delay(message.failures)
        return HandledMessage(MessageEnd(message, "", WAITING, error_text, retry_in), time.monotonic())

    def _dispatch(self, run: Run, message: MailboxMessage, event: Event, sink: OutboxReplySink) -> Outcome:
        is_bot = run.channel.is_bot(event.sender.uid)
        shows_typing = type(run.channel).set_typing is not Channel.set_typing
        if shows_typing:
            self._set_typing(run, True)
        try:
            outcome = dispatch(
                run.bot, event, sink, failures=message.failures, sender_is_bot=is_bot, reraise=self._reraise
            )
        finally:
            self._handlers.unregister(run.lease)
            if shows_typing:
                self._set_typing(run, False)
        if outcome.error is not None:
            level = logging.ERROR if outcome.retry_in is None else logging.WARNING
            text = "%s raised an error" if outcome.retry_in is None else "%s raised an error and is run again"
            name = f"the handler {outcome.handler}" if outcome.handler else "a matcher or middleware"
            log.log(level, text, name, exc_info=outcome.error, extra=run.log_extra(message))
        return outcome

    def _set_typing(self, run: Run, is_working: bool) -> None:
        try:
            run.channel.set_typing(run.lease.conversation, is_working)
        except self._reraise:
            raise
        except BaseException:
            extra = {"conversation": run.lease.conversation_key}
            log.debug("cannot show the typing indicator", exc_info=True, extra=extra)

    def _render_replies(self, run: Run, sink: OutboxReplySink, outcome: Outcome) -> tuple[Sequence[Draft], Outcome]:
        """Return the rendered replies. A reply that its platform would never accept makes the message fail instead."""
        drafts: list[Draft] = []
        try:
            for operation in outcome.operations:
                draft = sink.draft(operation)
                if draft is not None:
                    drafts.append(draft)
            return drafts, outcome
        except self._reraise:
            raise
        except BaseException as error:
            extra = {"conversation": run.lease.conversation_key}
            log.error("cannot render a reply: %s", describe_error(error), exc_info=error, extra=extra)
            failed = Outcome(handler=outcome.handler, error=error, dialog=sink.failed_dialog)
            return self._error_reply(run.lease, sink), failed

    def _error_reply(self, lease: Lease, sink: OutboxReplySink) -> list[Draft]:
        """Return the bot's error text, rendered; nothing if it has none, or it is held back or cannot be rendered."""
        sink.mark_failed()
        if lease.conversation.channel == JOBS_CHANNEL:
            return []
        operation = self._apologies.make(self._bots[lease.conversation.bot], lease.conversation, sink.event)
        if operation is None:
            return []
        try:
            draft = sink.draft(operation)
        except self._reraise:
            raise
        except BaseException:
            log.exception("cannot render the error text", extra={"conversation": lease.conversation_key})
            return []
        return [draft] if draft else []

    @staticmethod
    def _report_end(run: Run, message: MailboxMessage, outcome: Outcome, usage: Sequence[ModelUsage]) -> list[Draft]:
        """Return the report of the end of a message, if it has ended."""
        if outcome.retry_in is not None:
            return []
        kind = _find_end_kind(message, outcome)
        return report_end(run.channel, run.lease.conversation, message, kind, outcome.dialog, usage)

    def abandon_handler(self, run: HandlerRun) -> bool:
        """Give up a handler past its deadline, and return True if that succeeded.

        Its message is then a dead letter, the bot's error text is stored as a reply, and the conversation is released.
        """
        lease = run.lease
        self._handlers.mark_abandoned(lease)
        run.sink.close()
        drafts = [*run.sink.finish_streams(), *self._error_reply(lease, run.sink)]
        channel = self._channels.of(lease.conversation)
        drafts += report_end(channel, lease.conversation, run.message, "timeout")
        replies = replace(run.sink.last_batch, drafts=drafts)
        usage = run.sink.pending_usage
        end = MessageEnd(
            run.message,
            run.handler,
            DEAD,
            run.timeout_text,
            changes=merge_changes(usage),
            replies=replies,
            dialog=run.sink.failed_dialog,
        )
        try:
            if not self._transactions.abandon_message(lease, end, durable=True):
                return False  # the handler has just ended after all, and its runner continues
        except LeaseLost:
            return False
        extra = {"event": run.message.key, "conversation": lease.conversation_key}
        log.error("gave up a message: %s", run.timeout_text, extra=extra)
        self._observer.handled(lease.conversation.bot, run.timeout, "dead", app=channel.app)
        if end.dialog is not None:
            self._report_dialog(lease.conversation.bot, end.dialog)
        self._report_usage(usage, bot=lease.conversation.bot)
        self._notify(lease.conversation_key, to_send=bool(drafts))
        return True


def _find_end_kind(message: MailboxMessage, outcome: Outcome) -> EndKind:
    """Return how a message has ended. It is over if it answers a dialog that no longer waits for it."""
    if outcome.error is not None:
        return "failed"
    is_ignored = outcome.stopped_by == "dialog" and outcome.dialog is None
    return "over" if is_ignored and not message.key.startswith(INTERNAL_PREFIX) else "done"


def _finish(
    run: Run,
    message: MailboxMessage,
    outcome: Outcome,
    sink: OutboxReplySink,
    drafts: Sequence[Draft],
    reports: Sequence[Draft],
) -> MessageEnd:
    """Return the end of a message with its replies, and with its reports behind them.

    The report of a decision about an approval stays apart: only the transaction knows if the decision counts.
    """
    decision = outcome.decision
    if decision is not None and decision.approval.asked_in == run.lease.conversation_key:
        return replace(_make_end(message, outcome, sink.finish(drafts)), report=reports)
    return _make_end(message, outcome, sink.finish([*drafts, *reports]))


def _make_end(message: MailboxMessage, outcome: Outcome, replies: ReplyBatch) -> MessageEnd:
    if outcome.error is None:
        handler, dialog = outcome.handler or outcome.stopped_by, outcome.dialog
        own = [
            draft.ordinal for draft in replies.drafts if draft.event == message.event_id and draft.ordinal < END_ORDINAL
        ]
        question = own[-1] if dialog is not None and own else None
        return MessageEnd(
            message,
            handler,
            changes=outcome.changes,
            replies=replies,
            dialog=dialog,
            question_ordinal=question,
            decision=outcome.decision,
        )
    state, retry_in = (DEAD, 0.0) if outcome.retry_in is None else (WAITING, outcome.retry_in)
    error_text = describe_error(outcome.error)
    return MessageEnd(message, outcome.handler, state, error_text, retry_in, outcome.changes, replies, outcome.dialog)


def _parse_event(run: Run, message: MailboxMessage) -> Event:
    if message.key.startswith(HAND_OFF_PREFIX):
        return parse_hand_off(message.key, run.lease.conversation, message.body)
    if _is_of_dialog(message):
        return _to_dialog_event(run.lease.conversation, message)
    return run.channel.parse(
        IncomingEvent(run.lease.conversation, message.key, message.body, message.sender, message.received_at)
    )


def _find_failed_dialog(run: Run, message: MailboxMessage) -> DialogChange | None:
    """Return the failure of the dialog that a message of cometbot's own names; None for any other message."""
    if not _is_of_dialog(message) or not message.body:
        return None
    event = _to_dialog_event(run.lease.conversation, message)
    return DialogChange(event.dialog, FAILED, ended="failed")


def _is_of_dialog(message: MailboxMessage) -> bool:
    return message.key.startswith(INTERNAL_PREFIX) and not message.key.startswith(_WITHOUT_DIALOG)


def _to_dialog_event(conversation: Conversation, message: MailboxMessage) -> DialogEvent:
    body = json.loads(message.body)
    dialog = DialogId.parse(body["dialog"])
    assert dialog is not None
    return DialogEvent(
        key=message.key,
        conversation=conversation,
        sender=User(""),
        dialog=dialog,
        step=body["step"],
        result=body["result"],
    )


def _outcome_name(outcome: Outcome) -> str:
    if outcome.error is not None:
        return "failed" if outcome.retry_in is None else "retried"
    return "done" if outcome.handler else "stopped" if outcome.stopped_by else "unhandled"
