"""The transactions of a conversation runner and of a running handler.

Each public method of :class:`Transactions` that writes is one commit; all but ``claim`` check that the lease still
holds. ``durable`` says if the commit is on disk when the method returns (see ``store.database``). The first message is
started with the claim if nothing precedes it, each next one with the commit before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa

from cometbot.approvals import Decision
from cometbot.backoff import Backoff
from cometbot.channels.base import Channel, Channels
from cometbot.delivery.gathered_messages import list_joined
from cometbot.delivery.work import (
    HandleMessage,
    Limits,
    MessageEnd,
    Released,
    ReplyBatch,
    SendReplies,
    StartNext,
    Work,
)
from cometbot.errors import StoreBusy
from cometbot.jobs import JobChange, PlannedJob
from cometbot.messages import Media
from cometbot.models import Conversation
from cometbot.sinks import Transcript
from cometbot.state import StateChange
from cometbot.steps import FAILED, REFUSED, DialogId, Step
from cometbot.stopping import STOP
from cometbot.store.database import Transaction
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.dialogs import DialogRow, RunEnd
from cometbot.store.leases import Lease, ProcessRegistration
from cometbot.store.mailbox import MAX_CRASH_COUNT, MailboxMessage
from cometbot.store.outbox import Draft, OutboxMessage, SendAttempt, SendResult
from cometbot.store.sent_files import Said
from cometbot.store.tables import DEAD, READY, SENDING, UNKNOWN, WAITING

P = ParamSpec("P")
T = TypeVar("T")

MAX_LISTED_JOBS = 1000
"""The jobs of one conversation that handlers can list."""

_DATABASE_RETRY_INTERVAL = 0.2
_ISOLATION_RETRY_INTERVAL = 0.3
_THROTTLE_JITTER = Backoff(initial=0.02)


class Transactions:
    """The transactions of all runners and handlers of a process, as statements that every database understands.

    ``start_next``, ``finish_message``, ``store_replies``, ``store_file`` and the reads of a handler are repeated while
    the database does not accept them: a handler that has run must not run again because the database was unavailable. A
    process that is stopping repeats them only as long as its leases hold, and then raises :class:`StoreBusy`. All other
    methods raise it at once. Methods that write under a lease raise :class:`LeaseLost`.

    ``notify(conversation_key, to_send=…)`` is called for other conversations that received something. ``isolate``: see
    ``HandlerRegistry``. A request takes up to ``send_timeout`` seconds.
    """

    def __init__(
        self,
        store: DeliveryStore,
        process: ProcessRegistration,
        channels: Channels,
        *,
        notify: Callable[..., None],
        is_stopping: Callable[[], bool],
        isolate: Callable[[Lease], bool],
        send_timeout: float,
    ) -> None:
        self.process = process
        self.clock = store.database.clock
        self.files = store.files
        self.broadcasts = store.broadcasts
        self._store = store
        self.channels = channels
        self._notify = notify
        self._is_stopping = is_stopping
        self._isolate = isolate
        self._send_timeout = send_timeout

    def claim(self, conversation_key: str, token: str, limits: Limits, *, durable: bool) -> tuple[Lease, Work] | None:
        """Claim the lease, and start the first message if that is the simple case (``Mailbox.start_oldest``).

        Return None if the lease is not free, the next step belongs to another process, or this process is stopping.
        """
        work = partial(self._claim, conversation_key=conversation_key, token=token, limits=limits)
        return self._store.database.group_commit(work, durable=durable)

    def start_next(self, lease: Lease, results: Sequence[SendResult], limits: Limits, *, durable: bool) -> Work:
        """Save the results of sends, and start the next work or release the lease."""
        refused = set[str]()
        work = partial(self._save_and_start, lease=lease, results=results, limits=limits, refused=refused)
        started = self._retry_while_busy(self._store.database.group_commit, work, durable=durable)
        if refused:
            self._notify_askers(refused)
        return started

    def finish_message(self, lease: Lease, end: MessageEnd, limits: Limits, *, durable: bool) -> Work:
        """Store the end of a message with its replies and state changes; then work as :meth:`start_next` does."""
        askers = set[str]()
        work = partial(self._finish, lease=lease, end=end, limits=limits, askers=askers)
        next_work = self._retry_while_busy(self._store.database.group_commit, work, durable=durable)
        self._notify_recipients(lease, end.replies.drafts)
        if askers:
            self._notify_askers(askers)
        return next_work

    def store_replies(self, lease: Lease, batch: ReplyBatch, *, durable: bool) -> Sequence[SendAttempt]:
        """Store the replies of a handler that goes on running, and return those to send now, in order."""
        askers = set[str]()
        work = partial(self._store_batch, lease=lease, batch=batch, askers=askers)
        attempts = self._retry_while_busy(self._store.database.group_commit, work, durable=durable)
        self._notify_recipients(lease, batch.drafts)
        self._notify_askers(askers)
        return attempts

    def save_results(self, lease: Lease, results: Sequence[SendResult], *, durable: bool) -> None:
        """Save the results of sends, between two replies."""
        askers = set[str]()
        with self._store.database.write(durable=durable) as connection:
            self._lock(connection, lease, results=results)
            self._save_results(connection, lease, results, askers)
        self._notify_askers(askers)

    def abandon_message(self, lease: Lease, end: MessageEnd, *, durable: bool) -> bool:
        """End a message whose handler still runs, and release the lease. Return False if the message ended by itself.

        Raises :class:`StoreBusy` at once.
        """
        askers = set[str]()
        with self._store.database.write(durable=durable) as connection:
            self._lock(connection, lease, results=end.replies.results)
            if not self._end_message(connection, end):
                return False
            self._save_results(connection, lease, end.replies.results, askers)
            if end.replies.marks is not None:
                self._store.outbox.change_marks(connection, end.replies.marks)
            self._store.outbox.add(connection, end.replies.drafts)
            if end.changes:
                self._apply_changes(connection, lease.conversation, end.changes)
            self._change_dialog(connection, lease, end)
            self._store.leases.release(connection, lease, has_more=True)
        self._notify_askers(askers)
        return True

    def release(self, lease: Lease, *, delay: float, durable: bool) -> None:
        """Release the lease, so that the work continues after ``delay`` seconds."""
        due_at = self._store.database.clock() + delay
        with self._store.database.write(durable=durable) as connection:
            self._store.leases.release(connection, lease, due_at=due_at, has_more=True)

    def holds(self, lease: Lease) -> bool:
        """Return True if the lease holds at this moment."""
        with self._store.database.read() as connection:
            return self._store.leases.holds(connection, lease)

    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        """Return the stored state of one owner: JSON texts by key."""
        return self.read(lambda connection: self._store.state.load(connection, scope, owner))

    def find_target(self, wanted: Conversation) -> Conversation:
        """Return a conversation under the name that its platform has used, else the conversation ``wanted`` itself."""
        return self.read(lambda connection: self._store.leases.find_target(connection, wanted))

    def list_replies(self, message: MailboxMessage) -> list[OutboxMessage]:
        """Return the replies that earlier runs of the message have stored."""
        return self.read(
            lambda connection: self._store.outbox.list_for_event(connection, message.event_id, message.generation)
        )

    def get_target_id(self, reply: OutboxMessage) -> str | None:
        """Return the platform's id of the message that ``reply`` changes, or None if it was never sent."""
        with self._store.database.read() as connection:
            return self._store.outbox.get_target_id(connection, reply)

    def has_target(self, reply: OutboxMessage) -> bool:
        """Return True if the message that ``reply`` changes is stored, sent or not."""
        with self._store.database.read() as connection:
            return self._store.outbox.has_target(connection, reply)

    def find_said(self, conversation_key: str, platform_id: str) -> tuple[DialogId, int] | None:
        """Return for which message, and under which ordinal, the bot's message with this id was said here, or None."""
        return self.read(lambda connection: self._store.outbox.find_said(connection, conversation_key, platform_id))

    def add_event(self, conversation_key: str, dialog: DialogId, step: int, result: Mapping[str, Any]) -> None:
        """Report ``result`` to an open dialog durably, unless something else was reported for its step before."""

        def add(connection: Transaction) -> None:
            self._store.dialogs.add_event(connection, conversation_key, dialog, step, result)

        self._retry_while_busy(self._store.database.group_commit, add, durable=True)
        self._notify(conversation_key)

    def get_platform_id(self, event: str, generation: int, ordinal: int) -> str | None:
        """Return the platform's id of the message that was sent for an event under this ordinal, or None."""
        return self.read(lambda connection: self._store.outbox.get_platform_id(connection, event, generation, ordinal))

    def list_behind(self, lease: Lease, message: MailboxMessage, limit: int) -> list[MailboxMessage]:
        """Return the oldest ``limit`` messages that wait behind ``message``."""
        return self.read(
            lambda connection: self._store.mailbox.list_behind(connection, lease.conversation_key, message.seq, limit)
        )

    def list_joined(self, conversation_key: str, message: str) -> list[MailboxMessage]:
        """Return the messages that ended because they are of the burst of ``message`` (``m15``), oldest first."""
        return self.read(lambda connection: list_joined(self._store, connection, conversation_key, message))

    def load_transcript(self, channel: Channel, conversation: Conversation, limit: int) -> Transcript:
        """Return the newest messages of a conversation, and which messages the bot's own ones answer."""
        messages = channel.transcript(conversation, limit)
        answered = self.read(lambda connection: self._store.outbox.find_answered(connection, conversation, messages))
        return Transcript(messages, answered)

    def load_steps(self, dialog: DialogId) -> list[Step]:
        """Return the stored steps of a dialog."""
        return self.read(lambda connection: self._store.dialogs.load_steps(connection, dialog))

    def load_dialog(self, dialog: DialogId) -> tuple[DialogRow, list[Step], sa.RowMapping] | None:
        """Return an open dialog with its steps and the row of the message that started it, or None if it is over."""

        def load(connection: Transaction) -> tuple[DialogRow, list[Step], sa.RowMapping] | None:
            found = self._store.dialogs.load(connection, dialog)
            if found is None or found.status == FAILED:
                return None
            opening = self._store.mailbox.get(connection, int(dialog.event[1:]))
            if opening is None or not opening["body"]:
                return None
            return found, self._store.dialogs.load_steps(connection, dialog), opening

        return self.read(load)

    def save_steps(
        self, lease: Lease, dialog: DialogId, steps: Sequence[Step], changes: Sequence[StateChange], *, durable: bool
    ) -> None:
        """Store steps of a handler that goes on running, with the changes of the state that were made in them."""

        def save(connection: Transaction) -> None:
            self._store.leases.check(connection, lease)
            is_new = self._store.dialogs.save_steps(connection, dialog, steps)
            channel = self.channels.of(lease.conversation)
            if changes and is_new:  # else an earlier commit, whose outcome was unknown, has stored them
                self._store.state.apply(connection, channel.filter_state_changes(connection, changes))

        self._retry_while_busy(self._store.database.group_commit, save, durable=durable)

    def change_job(self, lease: Lease, change: JobChange, *, durable: bool) -> None:
        """Change a job for a handler that goes on running. This may be repeated."""

        def change_it(connection: Transaction) -> None:
            self._store.leases.check(connection, lease)
            self._store.jobs.apply(connection, change)

        self._retry_while_busy(self._store.database.group_commit, change_it, durable=durable)

    def store_elsewhere(self, lease: Lease, drafts: Sequence[Draft], store: Callable[[Transaction], T]) -> T:
        """Return the result of ``store``, which stores ``drafts`` of other conversations; this may be repeated."""

        def work(connection: Transaction) -> T:
            self._lock(connection, lease, drafts)
            return store(connection)

        result = self._retry_while_busy(self._store.database.group_commit, work, durable=True)
        self._notify_recipients(lease, drafts)
        return result

    def list_jobs(self, bot: str, scope: str) -> list[PlannedJob]:
        """Return what was scheduled in the conversation ``scope`` and is still to come."""
        rows = self.read(lambda connection: self._store.jobs.list(connection, bot, MAX_LISTED_JOBS, scope))
        return [row.planned for row in rows]

    def store_file(self, media: Media, said: Said) -> Media:
        """Store the file of a handler's message; see :meth:`SentFiles.store`."""
        return self._retry_while_busy(self.files.store, media, said)

    def count_rate_limits(self, lease: Lease) -> int:
        """Return the number of times in a row that the account was refused for too many requests."""
        try:
            with self._store.database.read() as connection:
                return self._store.throttles.count_rate_limits(connection, lease.conversation.key)
        except StoreBusy:
            return 0

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Return the result of ``work``, which reads; it is repeated while the database does not accept reads."""

        def read() -> T:
            with self._store.database.read() as connection:
                return work(connection)

        return self._retry_while_busy(read)

    def _retry_while_busy(self, operation: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Return the result of ``operation``, which must be idempotent."""
        while True:
            try:
                return operation(*args, **options)
            except StoreBusy:
                if self._is_stopping() and self.process.lease_time_left() < _DATABASE_RETRY_INTERVAL:
                    raise
                time.sleep(_DATABASE_RETRY_INTERVAL)

    def _notify_recipients(self, lease: Lease, drafts: Sequence[Draft]) -> None:
        notified = {lease.conversation_key}
        for draft in drafts:
            conversation_key = draft.conversation.key_text
            if conversation_key not in notified:
                notified.add(conversation_key)
                self._notify(conversation_key, to_send=True)

    def _notify_askers(self, conversation_keys: Iterable[str]) -> None:
        """Notify the conversations that wait for an approval which has just ended."""
        for conversation_key in conversation_keys:
            self._notify(conversation_key)

    def _claim(
        self, connection: Transaction, conversation_key: str, token: str, limits: Limits
    ) -> tuple[Lease, Work] | None:
        if self._is_stopping():
            return None
        if not (limits.can_handle and limits.can_send):
            has_replies = self._store.outbox.get_next(connection, conversation_key) is not None
            if not (limits.can_send if has_replies else limits.can_handle):
                return None
        lease = self._store.leases.claim(connection, conversation_key, self.process.token, token)
        if lease is None:
            return None
        message = self._store.mailbox.start_oldest(connection, conversation_key) if limits.can_handle else None
        return lease, StartNext() if message is None else HandleMessage(message)

    def _save_and_start(
        self, connection: Transaction, lease: Lease, results: Sequence[SendResult], limits: Limits, refused: set[str]
    ) -> Work:
        # The check locks the conversation's row: what was marked before is visible now, and later work waits until this
        # transaction has ended.
        self._lock(connection, lease, results=results)
        self._save_results(connection, lease, results, refused)
        return self._choose_next(connection, lease, limits)

    def _finish(self, connection: Transaction, lease: Lease, end: MessageEnd, limits: Limits, askers: set[str]) -> Work:
        attempts = self._store_batch(connection, lease, end.replies, askers, end.decision)
        if self._end_message(connection, end):
            if end.decision is not None and not self._decide(connection, lease, end, end.decision, askers):
                self._store.outbox.add(connection, end.report)
            if end.changes:
                channel = self.channels.of(lease.conversation)
                self._store.state.apply(connection, channel.filter_state_changes(connection, end.changes))
            if end.dialog is not None or end.state == DEAD:
                self._change_dialog(connection, lease, end)
        if attempts or end.message.crash_count:
            # A message that crashed a process must have ended before the next such one may run.
            return SendReplies(attempts) if attempts else StartNext()
        if end.is_held and not self._store.leases.has_mail(connection, lease):
            return self._release(connection, lease, self._store.database.clock() + end.retry_in)
        return self._choose_next(connection, lease, limits)

    def _save_results(
        self, connection: Transaction, lease: Lease, results: Sequence[SendResult], askers: set[str]
    ) -> None:
        """Save the results of sends, and set or clear the throttle of their account accordingly."""
        for result in results:
            self._store.outbox.save_result(connection, result)
            if result.state == DEAD:
                self._refuse(connection, lease, result, askers)
            if result.throttle_seconds > 0:
                self._store.throttles.set(
                    connection,
                    lease.conversation.key,
                    result.throttle_seconds,
                    result.error or "",
                    is_rate_limited=result.is_rate_limited,
                )
            elif result.ends_throttle:
                self._store.throttles.clear(connection, lease.conversation.key)

    def _refuse(self, connection: Transaction, lease: Lease, result: SendResult, askers: set[str]) -> None:
        """Let the dialog go on whose question, or whose card in this conversation, the platform has refused."""
        reply, error, dialogs = result.reply, result.error or "", self._store.dialogs
        asked_by = DialogId(reply.event, reply.generation)
        dialogs.refuse_question(connection, lease.conversation_key, asked_by, reply.ordinal, error)
        approval = self._store.approvals.find_refused(connection, reply)
        if approval is not None:
            change = self._store.approvals.refused(connection, lease.conversation_key, approval)
            self._apply_changes(connection, lease.conversation, [change])
            end = {"ended": REFUSED, "error": error}
            dialogs.add_event(connection, approval.asked_in, approval.dialog, approval.step, end)
            askers.add(approval.asked_in)

    def _decide(
        self, connection: Transaction, lease: Lease, end: MessageEnd, decision: Decision, askers: set[str]
    ) -> bool:
        """Report a decision to the dialog that waits for it. Return False if another one was made before."""
        approval = decision.approval
        text, here = decision.text, lease.conversation_key
        change = self._store.approvals.decided(connection, here, approval.number, text)
        if change is None:
            return False
        self._apply_changes(connection, lease.conversation, [change])
        request = end.message.key if end.report else ""
        self._store.dialogs.add_event(
            connection, approval.asked_in, approval.dialog, approval.step, decision.result, request=request
        )
        askers.add(approval.asked_in)
        return True

    def _apply_changes(
        self, connection: Transaction, conversation: Conversation, changes: Sequence[StateChange]
    ) -> None:
        """Store changes of the state of a conversation of any channel."""
        channel = self.channels.find(conversation)
        kept = channel.filter_state_changes(connection, changes) if channel is not None else changes
        self._store.state.apply(connection, kept)

    def _change_dialog(self, connection: Transaction, lease: Lease, end: MessageEnd) -> None:
        trigger = DialogId(end.message.event_id, end.message.generation)
        if end.dialog is None:
            self._store.dialogs.fail(connection, lease.conversation_key, trigger)
            return
        run_end = RunEnd(lease.conversation_key, trigger, end.message.received_at, end.question_ordinal)
        self._store.dialogs.apply(connection, end.dialog, run_end)

    def _end_message(self, connection: Transaction, end: MessageEnd) -> bool:
        """Return False if an earlier commit, whose outcome was unknown, or another thread has ended the message."""
        mailbox = self._store.mailbox
        for message in end.joined:
            mailbox.end_waiting(connection, message, end.handler)
        if end.is_held:
            return mailbox.hold(connection, end.message, self._store.database.clock() + end.retry_in)
        if end.state == WAITING:
            due_at = self._store.database.clock() + end.retry_in
            return mailbox.postpone(connection, end.message, end.handler, end.error_text, due_at)
        return mailbox.end(connection, end.message, end.state, end.handler, end.error_text)

    def _store_batch(
        self,
        connection: Transaction,
        lease: Lease,
        batch: ReplyBatch,
        askers: set[str],
        decision: Decision | None = None,
    ) -> Sequence[SendAttempt]:
        own, others = list[Draft](), list[Draft]()
        for draft in batch.drafts:
            if draft.job is not None:
                continue
            (own if draft.conversation.key_text == lease.conversation_key else others).append(draft)
        self._lock(connection, lease, others, batch.results, decision)
        if batch.results:
            self._save_results(connection, lease, batch.results, askers)
        if batch.steps is not None:
            is_new = self._store.dialogs.save_steps(connection, *batch.steps)
            if batch.changes and is_new:
                self._apply_changes(connection, lease.conversation, batch.changes)
        if batch.marks is not None:
            self._store.outbox.change_marks(connection, batch.marks)
        for message in batch.stops:
            self._store.mailbox.end_waiting(connection, message, STOP)
        if batch.stopped is not None:
            self._apply_changes(connection, lease.conversation, [batch.stopped])
        for draft in batch.drafts:
            if draft.job is not None and self._store.outbox.add_done(connection, draft):
                self._store.jobs.apply(connection, draft.job)
            if draft.approval is None:
                continue
            if (change := self._store.approvals.stored(connection, draft)) is not None:
                self._apply_changes(connection, draft.conversation, [change])
        if others:
            self._store.outbox.add(connection, others)
        if not own:
            return ()
        if batch.is_blocked or not self.channels.of(lease.conversation).can_send:
            self._store.outbox.add(connection, own)
            return ()
        return self._start_sending(connection, lease, own)

    def _lock(
        self,
        connection: Transaction,
        lease: Lease,
        drafts: Sequence[Draft] = (),
        results: Sequence[SendResult] = (),
        decision: Decision | None = None,
    ) -> None:
        """Check the lease, and mark the other conversations as pending that receive ``drafts``, or what is decided.

        The rows are locked in one order everywhere, so that no two runners deadlock.
        """
        others: dict[str, Conversation | None] = {}
        for draft in drafts:
            others[draft.conversation.key_text] = draft.conversation
        for result in results:
            if result.state == DEAD and (found := self._store.approvals.find_refused(connection, result.reply)):
                others.setdefault(found.asked_in, None)
        if decision is not None:
            others.setdefault(decision.approval.asked_in, None)
        for conversation_key in sorted({lease.conversation_key, *others}):
            conversation = others.get(conversation_key)
            if conversation_key == lease.conversation_key:
                self._store.leases.check(connection, lease)
            elif conversation is None:
                self._store.leases.mark_pending_by_key(connection, conversation_key)
            else:
                self._store.leases.mark_pending(connection, conversation)

    def _start_sending(self, connection: Transaction, lease: Lease, drafts: Sequence[Draft]) -> Sequence[SendAttempt]:
        """Store replies as being sent, unless an earlier one or a throttle precedes them: then they wait."""
        must_wait, is_trial = self._store.outbox.get_next(connection, lease.conversation_key) is not None, False
        if not must_wait:
            throttle = self._store.throttles.acquire(connection, lease.conversation.key, self._send_timeout)
            must_wait, is_trial = throttle.seconds > 0, throttle.is_trial
        stored = self._store.outbox.add(connection, drafts, READY if must_wait else SENDING)
        return () if must_wait else [SendAttempt(reply, is_trial=is_trial) for reply in stored]

    def _choose_next(self, connection: Transaction, lease: Lease, limits: Limits) -> Work:
        """Start the next work, or release a lease that was checked in the same transaction."""
        store, key = self._store, lease.conversation_key
        if store.leases.release_idle(connection, lease):
            return Released()
        must_yield = limits.must_yield or self._is_stopping()  # it may have begun to stop while this commit waited
        if limits.can_handle and not must_yield:
            started = store.mailbox.start_oldest(connection, key)
            if started is not None:
                return HandleMessage(started)
        store.leases.clear_mail(connection, lease)
        reply = store.outbox.get_next(connection, key)
        if must_yield or not (limits.can_handle if reply is None else limits.can_send):
            return self._release(connection, lease, 0.0, to_send=reply is not None)
        if reply is not None:
            return self._start_reply(connection, lease, reply)
        message = store.mailbox.get_oldest(connection, key)
        return self._start_message(connection, lease, message) if message else self._release(connection, lease)

    def _start_reply(self, connection: Transaction, lease: Lease, reply: OutboxMessage) -> SendReplies | Released:
        now, due_at = self._store.database.clock(), reply.due_at or 0.0
        if reply.state == SENDING:
            due_at = (reply.began_at or now) + self._send_timeout
            error = "sending was interrupted, so its outcome is unknown"
            result = SendResult(reply, UNKNOWN, error=error, due_at=due_at, counted_attempts=1)
            self._save_results(connection, lease, [result], set())  # an unknown outcome ends no approval
        if due_at > now:
            return self._release(connection, lease, due_at, to_send=True)
        throttle = self._store.throttles.acquire(connection, lease.conversation.key, self._send_timeout)
        if throttle.seconds > 0:
            resumes_at = now + throttle.seconds + _THROTTLE_JITTER.delay(0)
            return self._release(connection, lease, resumes_at, to_send=True)
        self._store.outbox.mark_sending(connection, reply)
        may_have_arrived = reply.state in (SENDING, UNKNOWN)
        return SendReplies([SendAttempt(reply, verify_first=may_have_arrived, is_trial=throttle.is_trial)])

    def _start_message(
        self, connection: Transaction, lease: Lease, message: MailboxMessage
    ) -> HandleMessage | Released:
        now = self._store.database.clock()
        if message.due_at is not None and message.due_at > now and not message.is_held:
            return self._release(connection, lease, message.due_at)
        if message.crash_count >= MAX_CRASH_COUNT:
            return HandleMessage(message)
        if message.crash_count and not self._isolate(lease):
            return self._release(connection, lease, now + _ISOLATION_RETRY_INTERVAL)
        self._store.mailbox.mark_running(connection, message)
        return HandleMessage(message)

    def _release(
        self, connection: Transaction, lease: Lease, due_at: float | None = None, *, to_send: bool = False
    ) -> Released:
        self._store.leases.release(connection, lease, due_at=due_at or None, has_more=due_at == 0.0)
        return Released(due_at, to_send)
