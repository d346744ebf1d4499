"""Process one conversation under its lease: its outbox first, then its mailbox, message by message."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from sqlalchemy.engine import Connection

from cometbot.backoff import Backoff
from cometbot.bot import Bot
from cometbot.channels.base import Channel, IncomingEvent
from cometbot.context import StateChange
from cometbot.delivery.handler_registry import HandlerRegistry, HandlerRun
from cometbot.delivery.reply_sink import OutboxReplySink
from cometbot.delivery.roles import ProcessRoles
from cometbot.delivery.sending import ReplySender, SendAttempt
from cometbot.delivery.store import Store
from cometbot.dispatch import ErrorClasses, Outcome, dispatch
from cometbot.error_text import describe_error
from cometbot.errors import ChannelError, LeaseLost, StoreBusy
from cometbot.events import Event
from cometbot.messages import Operation, Text
from cometbot.observer import Observer
from cometbot.store.fast_path import FastPath
from cometbot.store.leases import Lease, ProcessRegistration
from cometbot.store.mailbox import MAX_CRASH_COUNT, MailboxMessage
from cometbot.store.outbox import SENDING, UNKNOWN, Draft, OutboxMessage, SendResult

log = logging.getLogger(__name__)

MAX_MESSAGES_PER_RUN = 20
RUN_TIME_LIMIT = 2.0
"""The number of messages, and the seconds, after which a runner yields to other conversations."""

Continuation: TypeAlias = "Callable[[], Continuation | None]"
"""The work of a runner between two commits, and the second of these commits.

It returns the next step, or None once the lease is released.
"""

T = TypeVar("T")

_DATABASE_RETRY_INTERVAL = 0.2
_ISOLATION_RETRY_INTERVAL = 0.3
_FETCH_BACKOFF = Backoff(initial=1.0, maximum=60.0)
_MAX_FETCH_ATTEMPTS = 12


@dataclass(frozen=True, slots=True)
class NextRun:
    """The time at which a conversation continues (0: at the tail of the queue), and if it continues with a reply."""

    due_at: float
    to_send: bool


@dataclass(frozen=True)
class Runtime:
    """The dependencies of all conversation runners of a process.

    ``notify(conversation_key, due_at, to_send=…)``: see ``worker.Worker.notify``; ``reraise``: see ``engine.Engine``.
    """

    store: Store
    process: ProcessRegistration
    bots: Mapping[str, Bot]
    channels: Mapping[str, Channel]
    sender: ReplySender
    handlers: HandlerRegistry
    observer: Observer
    roles: ProcessRoles
    notify: Callable[..., None]
    is_stopping: Callable[[], bool] = field(default=lambda: False)
    reraise: ErrorClasses = ()

    def persist(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Run ``work`` in one transaction and return its result.

        While the database does not accept the transaction, it is retried: a handler that has run must not run again
        because the database was unavailable. ``work`` must be idempotent, and must check that the lease is still held.
        A process that is stopping retries only as long as its leases hold; then :class:`StoreBusy` is raised.
        """
        return self._retry_while_busy(lambda: self.store.database.group_commit(work, durable=durable))

    def persist_single(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Like :meth:`persist`, for work that is one statement."""
        return self._retry_while_busy(lambda: self.store.database.autocommit(work, durable=durable))

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` on a read connection and return its result; retry like :meth:`persist`."""

        def run() -> T:
            with self.store.database.read() as connection:
                return work(connection)

        return self._retry_while_busy(run)

    def _retry_while_busy(self, operation: Callable[[], T]) -> T:
        while True:
            try:
                return operation()
            except StoreBusy:
                if self.is_stopping() and self.process.lease_time_left() < _DATABASE_RETRY_INTERVAL:
                    raise
                time.sleep(_DATABASE_RETRY_INTERVAL)


def process_conversation(runtime: Runtime, conversation_key: str) -> None:
    """Process one conversation until nothing is due, another process holds it, or other conversations get their turn.

    A conversation of a bot or channel that this process does not serve is left alone. So is one whose next step, a send
    or a handler, belongs to another process. An unexpected error is logged, and the conversation continues a little
    later; only the exceptions in ``runtime.reraise`` are raised.
    """
    if not runtime.roles.involves(conversation_key):
        return
    try:
        with runtime.process.lease_token() as token:
            _process_with_token(runtime, conversation_key, token)
    except StoreBusy as error:
        log.warning("could not work on a conversation now: %s", error, extra={"conversation": conversation_key})


def _process_with_token(runtime: Runtime, conversation_key: str, token: str) -> None:
    claimed = _claim(runtime, conversation_key, token)
    if claimed is None:
        return
    lease, message = claimed
    if lease.is_recovered:
        log.warning("took over a conversation whose worker had died", extra={"conversation": conversation_key})
        runtime.observer.recovered(lease.conversation.bot)
    try:
        ConversationRunner(runtime, lease).run(message)
    except LeaseLost:
        if runtime.handlers.is_abandoned(lease):
            log.info("a handler ended whose message had been given up", extra={"conversation": conversation_key})
        else:
            log.warning("lost a conversation to another worker", extra={"conversation": conversation_key})
    except StoreBusy as error:
        log.warning("gave a conversation back for a moment: %s", error, extra={"conversation": conversation_key})
        _release_with_delay(runtime, lease)
    except runtime.reraise:
        raise
    except BaseException:
        log.exception("a lane failed in an unforeseen way and is tried again", extra={"conversation": conversation_key})
        _release_with_delay(runtime, lease)
    finally:
        runtime.handlers.release_isolation(lease)


def _claim(runtime: Runtime, conversation_key: str, token: str) -> tuple[Lease, MailboxMessage | None] | None:
    """Claim the lease if this process can do the next step: send the reply that waits, else handle a message.

    Return None if it cannot, if it is stopping, or if the lease is not free. The message is the first one, if it could
    be started in the same transaction.
    """
    roles, store, process = runtime.roles, runtime.store, runtime.process
    can_do_everything = roles.can_process(conversation_key, to_send=True) and roles.can_process(
        conversation_key, to_send=False
    )
    fast_path = store.fast_path
    if fast_path is not None and can_do_everything:
        claimed = store.database.autocommit(
            # The process may have begun to stop while this thread waited for a connection.
            lambda c: None if runtime.is_stopping() else fast_path.claim(c, conversation_key, process.token, token),
            durable=False,
        )
        if claimed is not None:
            return claimed

    def claim(connection: Connection) -> tuple[Lease, MailboxMessage | None] | None:
        if runtime.is_stopping():
            return None
        if not can_do_everything:
            has_replies = store.outbox.get_next(connection, conversation_key) is not None
            if not roles.can_process(conversation_key, to_send=has_replies):
                return None
        lease = store.leases.claim(connection, conversation_key, process.token, token)
        if lease is None:
            return None
        return lease, store.mailbox.start_oldest(connection, conversation_key) if roles.can_process(
            conversation_key, to_send=False
        ) else None

    return store.database.group_commit(claim, durable=False)


def _release_with_delay(runtime: Runtime, lease: Lease) -> None:
    due_at = runtime.store.database.clock() + 5
    try:
        with runtime.store.database.write(durable=False) as connection:
            runtime.store.leases.release(connection, lease, due_at=due_at, has_more=True)
    except LeaseLost:
        log.info("had given a conversation back already", extra={"conversation": lease.conversation_key})


class ConversationRunner:
    """The work under one lease.

    Every commit checks that the lease still holds. No transaction is open while author code or HTTP runs.
    """

    def __init__(self, runtime: Runtime, lease: Lease) -> None:
        self._runtime = runtime
        self._store = runtime.store
        self._lease = lease
        self._conversation = lease.conversation
        self._bot = runtime.bots[lease.conversation.bot]
        self._channel = runtime.channels[lease.conversation.channel]
        self._next_run: NextRun | None = None
        self._done_count, self._started_at = 0, time.monotonic()

    def run(self, message: MailboxMessage | None) -> None:
        """Work until nothing is due now or other conversations get their turn.

        ``message``, which is already started, is handled first.
        """
        step = self._save_and_continue([]) if message is None else self._handle_step(message)
        while step is not None:
            step = step()

    def _should_yield(self) -> bool:
        is_over_limit = self._done_count >= MAX_MESSAGES_PER_RUN or time.monotonic() - self._started_at > RUN_TIME_LIMIT
        return is_over_limit or self._runtime.is_stopping()

    def _save_and_continue(self, results: list[SendResult]) -> Continuation | None:
        """Save ``results`` and return the next step."""
        self._runtime.handlers.release_isolation(self._lease)
        fast_path = self._store.fast_path
        if fast_path is not None and [result.is_plain_success for result in results] == [True]:
            return self._advance(fast_path, results[0])
        return self._notify_and_continue(
            self._runtime.persist(lambda connection: self._save_and_choose(connection, results), durable=False)
        )

    def _advance(
        self, fast_path: FastPath, result: SendResult | None, message: MailboxMessage | None = None, handler: str = ""
    ) -> Continuation | None:
        """Mark ``message`` as done or save ``result`` in one statement, and return the next step."""
        begin_next = not self._should_yield() and self._can_process(to_send=False)
        advanced = self._runtime.persist_single(
            lambda connection: fast_path.advance(
                connection, self._lease, message=message, handler=handler, result=result, begin_next=begin_next
            ),
            durable=message is not None,
        )
        if advanced.message is not None:
            return self._handle_step(advanced.message)
        return None if advanced.is_released else self._save_and_continue([])

    def _notify_and_continue(self, step: Continuation | None) -> Continuation | None:
        """Return ``step``, after notifying the conversation if the last commit released it for a later run."""
        next_run, self._next_run = self._next_run, None
        if next_run is not None and not (self._runtime.is_stopping() and self._can_process(to_send=next_run.to_send)):
            self._runtime.notify(self._lease.conversation_key, due_at=next_run.due_at or None, to_send=next_run.to_send)
        return step

    def _can_process(self, *, to_send: bool) -> bool:
        return self._runtime.roles.can_process(self._lease.conversation_key, to_send=to_send)

    def _save_and_choose(self, connection: Connection, results: list[SendResult]) -> Continuation | None:
        """Save ``results`` and return the next step.

        The lease check locks the conversation's row: work marked before it is visible afterwards, and later work waits
        until this transaction has ended.
        """
        self._store.leases.check(connection, self._lease)
        self._store.save_results(connection, self._lease, results)
        return self._choose_next(connection)

    def _choose_next(self, connection: Connection) -> Continuation | None:
        """Return the next step, under a lease that was checked in the same transaction."""
        should_yield = self._should_yield()
        if not should_yield and self._can_process(to_send=False):
            started = self._store.mailbox.start_oldest(connection, self._lease.conversation_key)
            if started is not None:
                return self._handle_step(started)
        self._store.leases.clear_mail(connection, self._lease)
        reply = self._store.outbox.get_next(connection, self._lease.conversation_key)
        message = self._store.mailbox.get_oldest(connection, self._lease.conversation_key) if reply is None else None
        if should_yield and (reply or message):
            return self._release(connection, 0.0, to_send=reply is not None)
        if reply is not None:
            return self._start_reply(connection, reply)
        return self._start_message(connection, message) if message else self._release(connection)

    def _release(
        self, connection: Connection, due_at: float | None = None, *, to_send: bool = False
    ) -> Continuation | None:
        """Release the conversation: for good, until ``due_at``, or to the tail of the queue (0).

        With ``to_send`` it continues with a reply, otherwise with a message.
        """
        self._store.leases.release(connection, self._lease, due_at=due_at or None, has_more=due_at == 0.0)
        self._next_run = None if due_at is None else NextRun(due_at, to_send)
        return None

    def _start_reply(self, connection: Connection, reply: OutboxMessage) -> Continuation | None:
        if not self._can_process(to_send=True):
            return self._release(connection, 0.0, to_send=True)
        policy, now = self._runtime.sender.policy, self._store.database.clock()
        verify_first, due_at = reply.state in (SENDING, UNKNOWN), reply.due_at or 0.0
        if reply.state == SENDING:
            due_at = (reply.began_at or now) + policy.timeout
            result = SendResult(
                reply, UNKNOWN, error="its worker died while it was sent", due_at=due_at, counted_attempts=1
            )
            self._store.save_results(connection, self._lease, [result])
        if due_at > now:
            return self._release(connection, due_at, to_send=True)
        throttle = self._store.throttles.acquire(connection, self._conversation.key, policy.timeout)
        if throttle.seconds > 0:
            return self._release(connection, now + throttle.seconds + Backoff(initial=0.02).delay(0), to_send=True)
        self._store.outbox.mark_sending(connection, reply)
        attempt = SendAttempt(reply, verify_first=verify_first, is_trial=throttle.is_trial)
        self._done_count += 1
        return self._send_step([attempt])

    def _send_step(self, attempts: list[SendAttempt]) -> Continuation:
        return lambda: self._save_and_continue(self._runtime.sender.send_all(self._lease, attempts))

    def _start_message(self, connection: Connection, message: MailboxMessage) -> Continuation | None:
        if not self._can_process(to_send=False):
            return self._release(connection, 0.0)
        if message.due_at is not None and message.due_at > self._store.database.clock():
            return self._release(connection, message.due_at)
        if message.crash_count >= MAX_CRASH_COUNT:
            error = f"its process died {message.crash_count} times while it was handled"
            self._store.mailbox.mark_dead(connection, message, "", error)
            log.error("gave up a message: %s", error, extra=self._log_extra(message))
            self._runtime.observer.handled(self._conversation.bot, 0.0, "dead")
            return lambda: self._save_and_continue([])
        if message.crash_count and not self._runtime.handlers.isolate(self._lease):
            return self._release(connection, self._store.database.clock() + _ISOLATION_RETRY_INTERVAL)
        self._store.mailbox.mark_running(connection, message)
        return self._handle_step(message)

    def _handle_step(self, message: MailboxMessage) -> Continuation:
        return lambda: self._handle(message)

    def _handle(self, message: MailboxMessage) -> Continuation | None:
        self._done_count += 1
        started_at = time.monotonic()
        incoming = IncomingEvent(self._conversation, message.key, message.body, message.sender, message.received_at)
        sink = OutboxReplySink(self._runtime, self._lease, message)
        if not message.body:  # erased since its last run: the conversation no longer exists
            return self._finish(message, sink, Outcome(), started_at)
        try:
            event = self._channel.parse(incoming)
        except (ChannelError, StoreBusy) as error:
            return self._retry_fetch(message, error)
        except self._runtime.reraise:
            raise
        except BaseException as error:
            log.error("gave up a message that does not parse", exc_info=error, extra=self._log_extra(message))
            return self._finish(message, sink, Outcome(error=error), started_at)
        return self._finish(message, sink, self._dispatch(event, sink, message), started_at)

    def _dispatch(self, event: Event, sink: OutboxReplySink, message: MailboxMessage) -> Outcome:
        is_bot = self._channel.is_bot(event.sender.uid)
        self._show_typing(True)
        try:
            outcome = dispatch(
                self._bot,
                event,
                sink,
                failures=message.failures,
                sender_is_bot=is_bot,
                reraise=self._runtime.reraise,
            )
        finally:
            self._runtime.handlers.unregister(self._lease)
            self._show_typing(False)
        if outcome.error is not None:
            level = logging.ERROR if outcome.retry_in is None else logging.WARNING
            text = "%s raised" if outcome.retry_in is None else "%s raised and is tried again"
            name = f"the handler {outcome.handler}" if outcome.handler else "a matcher or middleware"
            log.log(level, text, name, exc_info=outcome.error, extra=self._log_extra(message))
        return outcome

    def _show_typing(self, is_working: bool) -> None:
        try:
            self._channel.set_typing(self._conversation, is_working)
        except self._runtime.reraise:
            raise
        except BaseException:
            log.debug(
                "could not show that a bot is at work",
                exc_info=True,
                extra={"conversation": self._lease.conversation_key},
            )

    def _finish(
        self, message: MailboxMessage, sink: OutboxReplySink, outcome: Outcome, started_at: float
    ) -> Continuation | None:
        """Store the replies, the changed state and the end of the message in one durable commit.

        Then the replies are sent. Without replies, the same commit has already chosen the next step.
        """
        drafts, operations, outcome = self._render_replies(sink, outcome)
        result = "done" if outcome.handler else "stopped" if outcome.stopped_by else "unhandled"
        if outcome.error is not None:
            result = "failed" if outcome.retry_in is None else "retried"

        step = self._save_outcome(message, sink, outcome, drafts, operations)
        self._runtime.observer.handled(self._conversation.bot, time.monotonic() - started_at, result)
        if result == "failed" and outcome.error is not None:
            self._runtime.observer.failed(self._conversation.bot, message.key, outcome.error)
        return step

    def _save_outcome(
        self,
        message: MailboxMessage,
        sink: OutboxReplySink,
        outcome: Outcome,
        drafts: list[Draft],
        operations: list[Operation],
    ) -> Continuation | None:
        fast_path, handler = self._store.fast_path, outcome.handler or outcome.stopped_by
        is_simple = outcome.error is None and not outcome.changes and not message.crash_count and sink.is_clean
        if fast_path is not None and is_simple:
            if not operations:
                return self._advance(fast_path, None, message, handler)
            if (
                len(drafts) == len(operations) == len(drafts[0].payloads) == 1
                and drafts[0].conversation_key == self._lease.conversation_key
            ):
                reply = self._runtime.persist_single(
                    lambda connection: fast_path.finish_with_reply(connection, self._lease, message, handler, drafts[0])
                )
                if reply is not None:
                    return self._send_step([SendAttempt(reply)])
        return self._save_outcome_slow_path(message, sink, outcome, drafts, operations)

    def _save_outcome_slow_path(
        self,
        message: MailboxMessage,
        sink: OutboxReplySink,
        outcome: Outcome,
        drafts: list[Draft],
        operations: list[Operation],
    ) -> Continuation | None:
        next_steps: list[Continuation | None] = []
        error_text = describe_error(outcome.error) if outcome.error is not None else ""

        def end(connection: Connection, sends: bool) -> None:
            next_steps.clear()
            if self._end_message(connection, message, outcome, error_text):
                self._store.state.apply(connection, self._filter_state_changes(connection, outcome.changes))
            # A message that killed a process must have ended before the next such one may run.
            if not sends and not message.crash_count:
                next_steps.append(self._choose_next(connection))

        attempts = sink.commit(drafts, operations, end)
        if attempts:
            return self._send_step(attempts)
        return self._notify_and_continue(next_steps[0]) if next_steps else self._save_and_continue([])

    def _filter_state_changes(self, connection: Connection, changes: Sequence[StateChange]) -> Sequence[StateChange]:
        return self._channel.filter_state_changes(connection, changes) if changes else ()

    def _render_replies(self, sink: OutboxReplySink, outcome: Outcome) -> tuple[list[Draft], list[Operation], Outcome]:
        """Return the rendered replies. A reply that its platform would never accept makes the message fail instead."""
        operations = list(outcome.operations)
        try:
            drafts = [draft for operation in operations if (draft := sink.draft(operation)) is not None]
            return drafts, operations, outcome
        except self._runtime.reraise:
            raise
        except BaseException as error:
            extra = {"conversation": self._lease.conversation_key}
            log.error("an answer cannot be said: %s", describe_error(error), exc_info=error, extra=extra)
            failed = Outcome(handler=outcome.handler, error=error)
        sink.mark_failed()
        drafts, operations = _render_error_reply(self._runtime, self._lease, sink)
        return drafts, operations, failed

    def _end_message(self, connection: Connection, message: MailboxMessage, outcome: Outcome, error_text: str) -> bool:
        """Return True if the message ended now, False if an earlier commit of unknown outcome had ended it."""
        mailbox = self._store.mailbox
        if outcome.error is None:
            return mailbox.mark_done(connection, message, outcome.handler or outcome.stopped_by)
        if outcome.retry_in is None:
            return mailbox.mark_dead(connection, message, outcome.handler, error_text)
        due_at = self._store.database.clock() + outcome.retry_in
        return mailbox.postpone(connection, message, outcome.handler, error_text, due_at)

    def _retry_fetch(self, message: MailboxMessage, error: Exception) -> Continuation | None:
        """Postpone a message whose event could not be fetched from its platform.

        After the last attempt it becomes a dead letter.
        """
        error_text = describe_error(error)

        def end(connection: Connection) -> None:
            self._store.leases.check(connection, self._lease)
            if message.failures + 1 >= _MAX_FETCH_ATTEMPTS:
                self._store.mailbox.mark_dead(connection, message, "", error_text)
            else:
                due_at = self._store.database.clock() + _FETCH_BACKOFF.delay(message.failures)
                self._store.mailbox.postpone(connection, message, "", error_text, due_at)

        self._runtime.persist(end)
        return self._save_and_continue([])

    def _log_extra(self, message: MailboxMessage) -> dict[str, str]:
        return {"event": message.key, "conversation": self._lease.conversation_key}


def abandon_handler(runtime: Runtime, run: HandlerRun) -> bool:
    """Give up a handler past its deadline, and return True if that succeeded.

    Its message is then a dead letter, the bot's error text is stored as a reply, and the conversation is released.
    """
    store, lease = runtime.store, run.lease
    runtime.handlers.mark_abandoned(lease)
    run.sink.close()
    run.sink.mark_failed()
    drafts, _ = _render_error_reply(runtime, lease, run.sink)
    try:
        with store.database.write() as connection:
            store.leases.check(connection, lease)
            if not store.mailbox.mark_dead(connection, run.message, run.handler, run.timeout_text):
                # The handler has just ended after all, and its runner continues.
                return False
            store.save_results(connection, lease, run.sink.pending_results)
            store.outbox.add(connection, drafts)
            store.leases.release(connection, lease, has_more=True)
    except LeaseLost:
        return False
    log.error(
        "gave up a message: %s",
        run.timeout_text,
        extra={"event": run.message.key, "conversation": lease.conversation_key},
    )
    runtime.observer.handled(lease.conversation.bot, run.timeout, "dead")
    runtime.notify(lease.conversation_key, to_send=bool(drafts))
    return True


def _render_error_reply(runtime: Runtime, lease: Lease, sink: OutboxReplySink) -> tuple[list[Draft], list[Operation]]:
    """Return the bot's error text, rendered; nothing if it has none or its channel cannot render it."""
    text = runtime.bots[lease.conversation.bot].error_text
    if not text:
        return [], []
    operation = Operation(conversation=lease.conversation, message=Text(text))
    try:
        draft = sink.draft(operation)
    except runtime.reraise:
        raise
    except BaseException:
        log.exception("the text for errors cannot be said", extra={"conversation": lease.conversation_key})
        return [], []
    return ([draft], [operation]) if draft else ([], [])
