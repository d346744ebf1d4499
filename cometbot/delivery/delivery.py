"""Delivery in one process: receive, handle, send and maintain."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cometbot.bot import Bot
from cometbot.broadcasts import Broadcast, BroadcastRequest
from cometbot.channels.base import Channel, Channels, IncomingEvent, to_storable_key
from cometbot.delivery.broadcasting import store_broadcast
from cometbot.delivery.engine import Check, Engine, ThreadEngine
from cometbot.delivery.job_channel import add_job_channel
from cometbot.delivery.outgoing_files import store_file
from cometbot.delivery.roles import owned_channels
from cometbot.delivery.sending import SendPolicy
from cometbot.delivery.worker import Worker
from cometbot.errors import ConfigurationError, StoreBusy
from cometbot.forking import PerProcess
from cometbot.inspection.broadcast_list import BroadcastList
from cometbot.inspection.dead_letters import DeadLetters
from cometbot.inspection.dialog_list import DialogList
from cometbot.inspection.job_list import JobList
from cometbot.inspection.stored_messages import StoredMessage, replay
from cometbot.jobs import JobChange
from cometbot.messages import Message, Operation
from cometbot.models import Conversation, ConversationKey
from cometbot.observer import Observer
from cometbot.outgoing import filter_operation
from cometbot.press_limits import apply_limits, find_presses
from cometbot.quick_replies import serialize_quick_replies
from cometbot.stopping import may_stop
from cometbot.store.database import ACK_TIMEOUT, Database, Transaction
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.factory import create_pubsub, database_from_url
from cometbot.store.jobs import JobCounts
from cometbot.store.leases import to_conversation
from cometbot.store.local_notifier import LocalNotifier
from cometbot.store.outbox import Draft, OldReplyPurge
from cometbot.store.pubsub import PubSub
from cometbot.store.purge import Purge
from cometbot.store.quick_replies import save_quick_replies
from cometbot.store.sent_files import Said, SentFiles
from cometbot.store.shared_call import SharedCall
from cometbot.store.tables import CONVERSATION_COLUMNS

if TYPE_CHECKING:
    from cometbot.delivery.procrastinate_engine import JobPublisher


STUCK_TIMEOUT = 60.0
"""Seconds after which a conversation with pending work and no worker counts as stuck."""

DATABASE_CHECK_TIMEOUT = 5.0
"""Seconds after which a check of the database counts as failed."""

DEAD_PROCESS_RETENTION = 3600.0
"""Seconds after the end of its lease for which a dead process stays registered."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backlog:
    """The backlog of one bot: its waiting messages, the age of the oldest in seconds, and its dead letters.

    ``stuck`` counts the conversations that have had pending work for a minute without a worker, ``open_dialogs`` the
    handlers that wait for an answer or a time.
    """

    waiting: int
    oldest_seconds: float
    dead: int
    stuck: int = 0
    open_dialogs: int = 0
    jobs: JobCounts = field(default_factory=JobCounts)


class Delivery:
    """The path from a channel to a handler and back.

    ``enqueue`` and ``send`` work in any process, also in one that handles nothing. ``start`` begins handling in this
    process; call it after a fork. ``stop`` ends it: running handlers get their time to finish, and waiting messages
    stay stored for the next process that starts. With ``handles=False`` this process only sends, to the channels whose
    connection it owns.
    """

    def __init__(
        self,
        bots: Iterable[Bot],
        channels: Iterable[Channel],
        database_url: str | Database,
        *,
        engine: Engine | None = None,
        threads: int = 8,
        max_threads: int = 0,
        handler_timeout: float = 300.0,
        keep_days: float = 7.0,
        observer: Observer | None = None,
        policy: SendPolicy | None = None,
        stop_timeout: float = 20.0,
        handles: bool = True,
        files: SentFiles | None = None,
    ) -> None:
        self.bots: Mapping[str, Bot] = {bot.name: bot for bot in bots}
        for bot in self.bots.values():
            bot.check()
        self.channels = Channels(channels)
        self.database = database_from_url(database_url) if isinstance(database_url, str) else database_url
        self.store = DeliveryStore(self.database, files)
        self.dead_letters = DeadLetters(self.store)
        self.dialogs = DialogList(self.store)
        self.jobs = JobList(self.store)
        self.broadcasts = BroadcastList(self.store)
        self.observer = observer or Observer()
        self._given_engine = engine
        self._threads = threads, max_threads
        self._handler_timeout = handler_timeout
        self._retention = keep_days * 86400.0
        self._purge = Purge(self.database, "delivery")
        self._policy = policy or SendPolicy()
        self._stop_timeout = stop_timeout
        self._handles = handles
        self._workers = PerProcess(self._make_worker)
        self._stop_signals = PerProcess(self._make_stop_signals)
        self._uncommitted_stops: set[str] = set()
        """The conversations with a message that may stop a handler, stored in a transaction of the caller."""
        self._start_lock = threading.Lock()
        self._notifier = self._make_notifier()
        self.database.failures.on_failure = self.observer.store_failed
        self._database_check = SharedCall(self._check_database, DATABASE_CHECK_TIMEOUT)
        for channel in self.channels.all:
            channel.attach(self)
            channel.attach_files(self.store.files)

    @property
    def active_bots(self) -> Mapping[str, Bot]:
        """The bots whose conversations this process works on: the configured bots and the channels' internal ones."""
        own = {bot.name: bot for channel in self.channels.all for bot in channel.internal_bots()}
        return {**own, **self.bots}

    @property
    def handled_channels(self) -> Channels:
        """The channels whose conversations this process works on: the configured ones, and that of jobs."""
        return add_job_channel(self.channels)

    @property
    def is_running(self) -> bool:
        """True between :meth:`start` and :meth:`stop` in this process."""
        return self._workers.existing is not None

    def enqueue(self, incoming: IncomingEvent) -> bool:
        """Store the event durably, and return True if it is new.

        Raises :class:`StoreBusy` after a second of waiting.
        """
        is_new = needs_notify = False

        def insert(connection: Transaction) -> None:
            nonlocal is_new, needs_notify
            if self.store.mailbox.add(connection, incoming):
                is_new = True
                needs_notify = not self.store.leases.mark_pending(connection, incoming.conversation)

        # A retry that finds the event stored finds what the unconfirmed first attempt committed.
        self.database.group_commit(insert, timeout=ACK_TIMEOUT, is_idempotent=True)
        if needs_notify:
            self.notify(incoming.conversation.key_text)
        elif is_new and self._may_stop(incoming):
            self._check_stops(incoming.conversation.key_text)
        return is_new

    def enqueue_in(self, transaction: Transaction, incoming: IncomingEvent) -> bool:
        """Store the event in the caller's transaction.

        Return True if the caller must :meth:`notify` the conversation after the commit. False means that the event is
        already known, or that a live process works on the conversation whose handler it does not stop.
        """
        if not self.store.mailbox.add(transaction, incoming):
            return False
        if not self.store.leases.mark_pending(transaction, incoming.conversation):
            return True
        if not self._may_stop(incoming):
            return False
        self._uncommitted_stops.add(incoming.conversation.key_text)
        return True

    def _may_stop(self, incoming: IncomingEvent) -> bool:
        """Return True if an event for a conversation that a process works on may stop its handler."""
        bot = self.bots.get(incoming.conversation.bot)
        return bot is not None and may_stop(bot, incoming.body)

    def _check_stops(self, conversation_key: str) -> None:
        """Make the process whose handler runs in a conversation check at once if its user has stopped it."""
        worker = self._workers.existing
        if worker is None or not worker.check_stops(conversation_key):
            self._stop_signals.get().publish(conversation_key)

    def enqueue_outgoing_in(
        self,
        transaction: Transaction,
        conversation: Conversation,
        payloads: Sequence[Mapping[str, Any]],
        event: str = "",
    ) -> bool:
        """Store requests to a platform in the caller's transaction.

        Return True if the caller must :meth:`notify` the conversation after the commit. Nothing is stored again under
        an ``event`` that was stored before. Raises :class:`BotError` if the channel is not configured here.
        """
        self.channels.of(conversation)
        draft = Draft(f"w{event}" if event else f"s{secrets.token_hex(8)}", 0, 0, conversation, payloads)
        is_leased = self.store.leases.mark_pending(transaction, conversation)
        return bool(self.store.outbox.add(transaction, [draft])) and not is_leased

    def notify(self, conversation_key: str, *, to_send: bool = False) -> None:
        """Request that a conversation is processed soon, here or in another process.

        With ``to_send`` the work is replies, which only one process can send in some channels.
        """
        if conversation_key in self._uncommitted_stops:
            self._uncommitted_stops.discard(conversation_key)
            self._check_stops(conversation_key)
        if (worker := self._workers.existing) is not None:
            worker.notify(conversation_key, to_send=to_send)
        else:
            self._notify_others(conversation_key, to_send=to_send)

    def _notify_others(self, conversation_key: str, *, to_send: bool = False) -> None:
        self._notifier.notify(
            conversation_key, to_send=to_send and conversation_key.partition("/")[0] in owned_channels(self.channels)
        )

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
        """Store a message to be sent after the conversation's earlier replies.

        Return its id, the value of the reply's column ``event``; None if outgoing middleware dropped it. Without
        ``conversation``, ``channel`` and ``app``, the first configured channel is used.

        Raises :class:`MessageError` if the platform would never accept the message, :class:`BotError` if the channel or
        the app is unknown.
        """
        target_channel = (
            self.channels.of(conversation) if conversation else self.channels.choose(channel or "", app or "")
        )
        target = conversation or self._find_conversation(
            target_channel, target_channel.conversation(bot, user=user or "", group=group or "")
        )
        event, conversation_key = f"s{secrets.token_hex(8)}", str(target.key)
        operation = filter_operation(Operation(conversation=target, message=message), bot, None)
        if operation.message is None:
            return None
        outgoing = apply_limits(operation.message, f"{event}.0", self.database.clock())
        operation = replace(operation, message=outgoing)
        stored = store_file(self.store.files, target_channel, operation, Said(event, 0, 0, conversation_key))
        payloads = target_channel.render(stored)

        def insert(connection: Transaction) -> bool:
            is_leased = self.store.leases.mark_pending(connection, target)
            self.store.outbox.add(connection, [Draft(event, 0, 0, target, payloads)])
            save_quick_replies(
                connection,
                self.store.state,
                conversation_key,
                serialize_quick_replies([outgoing]),
                has_limits=bool(find_presses(outgoing)),
                now=self.database.clock(),
            )
            return is_leased

        if not self.database.group_commit(insert, is_idempotent=True):
            self.notify(conversation_key, to_send=True)
        return event

    def schedule(self, bot: Bot, change: JobChange) -> None:
        """Store a change of the jobs of ``bot`` durably."""
        self.database.group_commit(lambda connection: self.store.jobs.apply(connection, change), is_idempotent=True)

    def broadcast(self, bot: Bot, request: BroadcastRequest, users: object) -> Broadcast:
        """Store a broadcast durably; see :func:`cometbot.delivery.broadcasting.store_broadcast`."""
        channel = self.channels.choose(request.channel, request.app)
        stored, to_notify = store_broadcast(self.store, channel, bot, request, users)
        if to_notify is not None:
            self.notify(to_notify.key_text)
        return stored

    def _find_conversation(self, channel: Channel, wanted: Conversation) -> Conversation:
        """Return the conversation under the name its platform has used for it, else under the name derived by rule."""
        if channel.has_stored_conversations:
            return wanted
        with self.database.read() as connection:
            return self.store.leases.find_target(connection, wanted)

    def has_conversation(self, key: ConversationKey) -> bool:
        """Return True if the bot received or sent something in this conversation, or was added to it.

        See :meth:`add_conversations`.
        """
        with self.database.read() as connection:
            return self.store.leases.find(connection, str(key)) is not None

    def add_conversations(self, conversations: Iterable[Conversation]) -> None:
        """Store that the bot takes part in these conversations, in which no message was exchanged yet."""
        with self.database.write(durable=False) as connection:
            for conversation in conversations:
                self.store.leases.add(connection, conversation)

    def find_sent_conversation(self, channel: str, account: str, platform_id: str) -> Conversation | None:
        """Return the conversation in which this bot message was sent, or None if the id is unknown."""
        with self.database.read() as connection:
            row = self.store.outbox.find_sent(connection, channel, account, platform_id)
        if row is None:
            return None
        return to_conversation([row[name] for name in CONVERSATION_COLUMNS])

    def find_received_conversation(self, channel: str, account: str, bot: str, key: str) -> Conversation | None:
        """Return the conversation of the event that is stored under ``key``, or None if it is not known (any more)."""
        with self.database.read() as connection:
            row = self.store.mailbox.find_conversation(connection, channel, account, bot, to_storable_key(key))
        return to_conversation(row) if row is not None else None

    def retry(self, letter_id: str) -> bool:
        """Retry the dead letter ``letter_id`` now, and return True if there was such a dead letter."""
        conversation_key = self.dead_letters.retry(letter_id)
        if conversation_key is not None:
            self.notify(conversation_key)
        return conversation_key is not None

    def cancel_dialog(self, dialog_id: str) -> None:
        """End an open dialog; see :meth:`cometbot.inspection.dialog_list.DialogList.cancel`."""
        self.notify(self.dialogs.cancel(dialog_id))

    def expire_dialog(self, dialog_id: str) -> None:
        """Fire the timer of a dialog now; see :meth:`cometbot.inspection.dialog_list.DialogList.expire`."""
        self.notify(self.dialogs.expire(dialog_id))

    def run_job(self, job_id: str) -> None:
        """Begin a job now; see :meth:`cometbot.inspection.job_list.JobList.run`."""
        begun = self.jobs.run(job_id)
        self.notify(begun.conversation_key, to_send=begun.to_send)

    def resume_broadcast(self, id: str) -> None:
        """Resume a paused broadcast; see :meth:`cometbot.inspection.broadcast_list.BroadcastList.resume`."""
        self.notify(self.broadcasts.resume(id))

    def replay(self, message_id: str) -> StoredMessage:
        """Handle the message ``message_id`` again; see :func:`cometbot.inspection.stored_messages.replay`."""
        message = replay(self.store, message_id)
        self.notify(str(message.conversation.key))
        return message

    def start(self) -> None:
        """Start the worker of this process; do nothing if it runs."""
        with self._start_lock:
            if self.is_running:
                return
            self.database.open()
            if self._handles:
                self.store.sync_jobs(self.bots.values())
            self._workers.get().start()

    def _make_notifier(self) -> JobPublisher | LocalNotifier:
        """Return the notifier with which this process reports stored work to the processes that handle it."""
        if not self.database.server_url:
            return LocalNotifier(self.database)
        from cometbot.delivery.procrastinate_engine import JobPublisher

        return JobPublisher(self.database.server_url, owned_channels(self.channels))

    def _make_stop_signals(self) -> PubSub:
        return create_pubsub(self.database, "stops")

    def _make_engine(self) -> Engine:
        if isinstance(self._notifier, LocalNotifier):
            return ThreadEngine(*self._threads)
        from cometbot.delivery.procrastinate_engine import ProcrastinateEngine

        return ProcrastinateEngine(self.database.server_url, self._notifier, *self._threads)

    def _make_worker(self) -> Worker:
        return Worker(
            self.store,
            self.active_bots,
            self.handled_channels,
            self._given_engine or self._make_engine(),
            policy=self._policy,
            observer=self.observer,
            handler_timeout=self._handler_timeout,
            purge=self.purge,
            log_statistics=self.log_backlog,
            notify_others=self._notify_others,
            stop_signals=self._stop_signals.get(),
            handles=self._handles,
        )

    def stop(self, timeout: float | None = None) -> None:
        """End handling in this process: start no new work, and give running handlers ``timeout`` seconds."""
        with self._start_lock:
            if (worker := self._workers.clear()) is not None:
                worker.stop(self._stop_timeout if timeout is None else timeout)
            if (signals := self._stop_signals.clear()) is not None:
                signals.close()

    def close(self) -> None:
        """Stop, and close the channels and the connections."""
        self.stop()
        for channel in self.channels.all:
            channel.close()
        self._notifier.close()
        self.database.close()

    def checks(self) -> list[Check]:
        """Return what bots need in order to answer, each with its state. The database gets 5 seconds to respond."""
        try:
            problem, alive_workers = self._database_check.result()
        except (sa.exc.DatabaseError, StoreBusy, ConfigurationError, OSError) as error:
            cause = (str(getattr(error, "orig", error)).splitlines() or [""])[0]
            return [
                Check("database", False, f"cannot be read: {cause}"),
                Check("schema", None),
                *self._engine_checks(None),
            ]
        write_problem = self.database.failures.problem
        return [
            Check("database", not write_problem, write_problem or "reachable"),
            Check("schema", not problem, problem or "current"),
            *self._engine_checks(alive_workers),
        ]

    def _check_database(self) -> tuple[str, int | None]:
        """Return the problem of the schema ("" for none) and, where it matters, the number of live workers."""
        self.database.problem()  # raises if the files are gone, and records a full disk
        problem = self.database.schema_problem()
        if problem or self.is_running or not self.database.server_url:
            return problem, None
        return "", self.count_handling_processes()

    def count_handling_processes(self) -> int:
        """Return the number of live processes that handle messages, on all machines that share the database."""
        with self.database.read() as connection:
            return self.store.leases.count_alive(connection)

    def _engine_checks(self, alive_workers: int | None) -> list[Check]:
        """Return the checks of the worker processes; ``alive_workers`` is None if their number is unknown."""
        if (worker := self._workers.existing) is not None:
            return worker.checks()
        if not self.database.server_url:
            detail = "this process does not handle messages yet; it starts with its first request"
            return [Check("threads", False, detail)]
        if alive_workers is None:
            return [Check("workers", None)]
        detail = (
            f"{alive_workers} workers alive"
            if alive_workers
            else "no worker is running; start one with cometbot worker"
        )
        return [Check("workers", alive_workers > 0, detail)]

    def backlog(self) -> dict[str, Backlog]:
        """Return the backlog of each bot."""
        with self.database.read() as connection:
            waiting = self.store.mailbox.count_waiting(connection)
            dead_messages = self.store.mailbox.count_dead_letters(connection)
            dead_replies = self.store.outbox.count_dead_letters(connection)
            stuck = self.store.leases.count_stuck(connection, STUCK_TIMEOUT)
            dialogs = self.store.dialogs.count_open(connection)
            jobs = self.store.jobs.count(connection)
        return {
            bot: Backlog(
                *waiting.get(bot, (0, 0.0)),
                dead_messages.get(bot, 0) + dead_replies.get(bot, 0),
                stuck.get(bot, 0),
                dialogs.get(bot, 0),
                jobs.get(bot, JobCounts()),
            )
            for bot in {*self.bots, *waiting, *dead_messages, *dead_replies, *stuck, *dialogs, *jobs}
        }

    def log_backlog(self) -> None:
        """Log a warning for each bot that has stuck conversations or a message that waits longer than a minute."""
        for bot, backlog in sorted(self.backlog().items()):
            if backlog.stuck or backlog.oldest_seconds > STUCK_TIMEOUT:
                oldest = round(backlog.oldest_seconds)
                extra = {"bot": bot, "waiting": backlog.waiting, "oldest_seconds": oldest}
                text = "backlog: %d messages wait, the oldest for %d s; no process works on %d conversations"
                log.warning(text, backlog.waiting, oldest, backlog.stuck, extra=extra)

    @property
    def is_idle(self) -> bool:
        """True if no conversation has anything to handle or send, now or later, in any process."""
        with self.database.read() as connection:
            return self.store.leases.is_idle(connection)

    def purge(self) -> int:
        """Delete the rows that ended before the retention period began, and the state whose time is over.

        Return the number of deleted rows, or 0 if another process is purging.
        """
        before = self.database.clock() - self._retention
        self.store.files.clean_up()
        removed = self._purge.run(
            lambda connection, limit: self.store.broadcasts.settle_ended(connection, before, limit),
            lambda connection, limit: self.store.broadcasts.purge(connection, before, limit),
            lambda connection, limit: self.store.mailbox.purge(connection, before, limit),
            OldReplyPurge(before).delete_batch,
            self.store.state.purge,
        )
        with self.database.write(durable=False) as connection:
            self.store.leases.delete_expired(connection, self.database.clock() - DEAD_PROCESS_RETENTION)
        self.database.shrink_wal()
        return removed
