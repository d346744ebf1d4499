"""The whole of delivery in one process: takes in, works through, sends out, keeps house."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cometbot.bot import Bot
from cometbot.channels.base import Channel, Incoming, storable_key
from cometbot.context import StateChange, to_json
from cometbot.delivery.crew import Crew
from cometbot.delivery.deadletters import DeadLetters
from cometbot.delivery.engine import Check, Engine
from cometbot.delivery.hints import Siblings
from cometbot.delivery.leases import to_conversation
from cometbot.delivery.mailbox import Mailbox
from cometbot.delivery.observer import Observer
from cometbot.delivery.outbox import Draft, OldReplies
from cometbot.delivery.pacing import SendPolicy
from cometbot.delivery.patience import Patient
from cometbot.delivery.roles import owned_channels
from cometbot.delivery.store import Store
from cometbot.delivery.threads import ThreadEngine
from cometbot.errors import BotError, ConfigurationError, StoreBusy
from cometbot.messages import Message, Operation
from cometbot.models import Conversation, LaneKey
from cometbot.offers import OFFERS, to_state
from cometbot.store.database import ACK_TIMEOUT, Database, Transaction, database
from cometbot.store.purge import Purge

if TYPE_CHECKING:
    from cometbot.delivery.cluster import Wakes


STUCK = 60.0
"""Seconds after which a conversation that has something to do and nobody on it is worth an alarm."""

PATIENCE = 5.0
"""Seconds that a look at the database may take before it counts as away."""

BURIED_AFTER = 3600.0
"""Seconds after its last sign of life for which a process that died is remembered."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backlog:
    """How far one bot is behind: messages that wait, the age of the oldest in seconds, and its dead letters.

    ``stuck`` are conversations that have had something to do for a minute without anybody at work on it.
    """

    waiting: int
    oldest_seconds: float
    dead: int
    stuck: int = 0


class Delivery:
    """The road from a channel to a handler and back.

    ``put`` and ``send`` work in any process, also one that handles nothing. ``start`` begins handling in this
    process: call it after a fork. ``stop`` ends it: what runs gets its time, what waits stays stored for whoever
    starts next. Without ``handles`` this process only sends, to the channels whose connection it holds.
    """

    def __init__(
        self,
        bots: Iterable[Bot],
        channels: Iterable[Channel],
        database_url: str | Database,
        *,
        engine: Engine | None = None,
        threads: int = 8,
        handler_timeout: float = 300.0,
        keep_days: float = 7.0,
        observer: Observer | None = None,
        policy: SendPolicy | None = None,
        stop_timeout: float = 20.0,
        handles: bool = True,
    ) -> None:
        self.bots: Mapping[str, Bot] = {bot.name: bot for bot in bots}
        self.channels: Mapping[str, Channel] = {channel.name: channel for channel in channels}
        self.database = database(database_url) if isinstance(database_url, str) else database_url
        self.store = Store(self.database)
        self.dead_letters = DeadLetters(self.store)
        self.observer = observer or Observer()
        self._given_engine = engine
        self._threads = threads
        self._handler_timeout = handler_timeout
        self._keep = keep_days * 86400.0
        self._purge = Purge(self.database, "delivery")
        self._policy = policy or SendPolicy()
        self._stop_timeout = stop_timeout
        self._handles = handles
        self._crew: Crew | None = None
        self._pid = 0
        self._starting = threading.Lock()
        self._others = self._make_others()
        self.database.failures.observe = self.observer.store_failed
        self._looks = Patient(self._look, PATIENCE)
        for channel in self.channels.values():
            channel.attach(self)

    @property
    def bots_at_work(self) -> Mapping[str, Bot]:
        """The bots in whose conversations something is done here: those that are served, and the channels' own."""
        own = {bot.name: bot for channel in self.channels.values() for bot in channel.own_bots()}
        return {**own, **self.bots}

    @property
    def is_running(self) -> bool:
        """Whether this process handles messages."""
        return self._crew is not None and self._pid == os.getpid()

    def put(self, incoming: Incoming) -> bool:
        """Whether the event is new; on return it is on the disk. Raises :class:`StoreBusy` after a second of
        waiting."""

        was_new = needs_wake = False

        def store(connection: Transaction) -> None:
            nonlocal was_new, needs_wake
            if self.store.mailbox.put(connection, incoming):
                was_new = True
                needs_wake = not self.store.leases.announce(connection, incoming.conversation)

        # A second attempt that finds the event stored finds what the first one committed without an answer.
        self.database.together(store, timeout=ACK_TIMEOUT, is_idempotent=True)
        if needs_wake:
            self.wake(str(incoming.conversation.key))
        return was_new

    def put_within(self, transaction: Transaction, incoming: Incoming) -> bool:
        """Store the event in a transaction of the caller's; whether to :meth:`wake` its conversation after the commit.

        False for one that is known already, and where somebody is at work on the conversation.
        """
        is_new = self.store.mailbox.put(transaction, incoming)
        return is_new and not self.store.leases.announce(transaction, incoming.conversation)

    def say_within(
        self,
        transaction: Transaction,
        conversation: Conversation,
        payloads: Sequence[Mapping[str, Any]],
        event: str = "",
    ) -> bool:
        """Store requests to a platform in a transaction of the caller's; whether to :meth:`wake` the conversation
        after the commit.

        Nothing is stored again under an ``event`` that was stored before. Raises :class:`BotError` for a channel that
        is not here.
        """
        self._channel(conversation.channel)
        draft = Draft(f"w{event}" if event else f"s{secrets.token_hex(8)}", 0, 0, str(conversation.key), payloads)
        is_leased = self.store.leases.announce(transaction, conversation)
        return bool(self.store.outbox.add(transaction, [draft])) and not is_leased

    def wake(self, lane: str, *, to_send: bool = False) -> None:
        """Let somebody know that a conversation has something undone: this process, or another one of this machine.

        ``to_send``: replies, which in some channels one process alone can send.
        """
        crew = self._crew
        if crew is not None and self._pid == os.getpid():
            crew.wake(lane, to_send=to_send)
        else:
            self._wake_others(lane, to_send=to_send)

    def _wake_others(self, lane: str, *, to_send: bool = False) -> None:
        self._others.wake(lane, to_send=to_send and lane.partition("/")[0] in owned_channels(self.channels))

    def send(
        self,
        bot: Bot,
        message: Message,
        *,
        user: str | None = None,
        group: str | None = None,
        conversation: Conversation | None = None,
        channel: str | None = None,
    ) -> str:
        """The id under which the message is stored; it is sent after what this conversation has to say already.

        Raises :class:`MessageError` for a message that the platform would never take, :class:`BotError` for an
        unknown channel.
        """
        door = self._channel(conversation.channel if conversation else channel or "")
        where = conversation or self._find(door, door.conversation(bot, user=user or "", group=group or ""))
        event, lane = f"s{secrets.token_hex(8)}", str(where.key)
        parts = door.render(Operation(conversation=where, message=message))
        offered = to_state([message])

        def store(connection: Transaction) -> bool:
            is_leased = self.store.leases.announce(connection, where)
            self.store.outbox.add(connection, [Draft(event, 0, 0, lane, parts)])
            if offered:
                change = StateChange("conversation", lane, {OFFERS: to_json(OFFERS, offered)})
                self.store.state.apply(connection, [change])
            return is_leased

        if not self.database.together(store, is_idempotent=True):
            self.wake(lane, to_send=True)
        return event

    def _find(self, door: Channel, wanted: Conversation) -> Conversation:
        """The conversation as its platform named it when something came from it, else as it is named by rule."""
        if door.knows_conversations:
            return wanted
        with self.database.read() as connection:
            return self.store.leases.find_target(connection, wanted)

    def _channel(self, name: str) -> Channel:
        if not name and self.channels:
            return next(iter(self.channels.values()))
        if name not in self.channels:
            raise BotError(f"there is no channel {name!r} here; there is: {', '.join(self.channels) or 'none'}")
        return self.channels[name]

    def knows(self, key: LaneKey) -> bool:
        """Return whether the bot got or said something in this conversation, or takes part in it (:meth:`remember`)."""
        with self.database.read() as connection:
            return self.store.leases.find(connection, str(key)) is not None

    def remember(self, conversations: Iterable[Conversation]) -> None:
        """Store that the bot takes part in these conversations, in which nothing was said or heard yet."""
        with self.database.write(durable=False) as connection:
            for conversation in conversations:
                self.store.leases.remember(connection, conversation)

    def find_sent(self, channel: str, account: str, platform_id: str) -> Conversation | None:
        """Where our own message with this id was said, None if it is not known."""
        with self.database.read() as connection:
            row = self.store.outbox.find_sent(connection, channel, account, platform_id)
        if row is None:
            return None
        names = ("channel", "account", "bot", "conversation", "target", "is_group")
        return to_conversation([row[name] for name in names])

    def find_received(self, channel: str, account: str, bot: str, key: str) -> Conversation | None:
        """Return the conversation of an event that was stored under ``key``, None if it is not known (any more)."""
        with self.database.read() as connection:
            row = self.store.mailbox.find_conversation(connection, channel, account, bot, storable_key(key))
        return to_conversation(row) if row is not None else None

    def retry(self, name: str) -> bool:
        """Whether ``name`` was a dead letter, which is being done again now."""
        lane = self.dead_letters.retry(name)
        if lane is not None:
            self.wake(lane)
        return lane is not None

    def start(self) -> None:
        """Begin handling in this process, if it does not yet."""
        with self._starting:
            if self.is_running:
                return
            self.database.open()
            self._pid = os.getpid()
            self._crew = self._make_crew()
            self._crew.start()

    def _make_others(self) -> Wakes | Siblings:
        """How the processes that handle hear of what this one stored."""
        if not self.database.shared_url:
            return Siblings(self.database)
        from cometbot.delivery.cluster import Wakes

        return Wakes(self.database.shared_url, owned_channels(self.channels))

    def _make_engine(self) -> Engine:
        if isinstance(self._others, Siblings):
            return ThreadEngine(self._threads)
        from cometbot.delivery.cluster import ProcrastinateEngine

        return ProcrastinateEngine(self.database.shared_url, self._others, self._threads)

    def _make_crew(self) -> Crew:
        return Crew(
            self.store,
            self.bots_at_work,
            self.channels,
            self._given_engine or self._make_engine(),
            policy=self._policy,
            observer=self.observer,
            handler_timeout=self._handler_timeout,
            purge=self.purge,
            statistics=self.log_backlog,
            wake_others=self._wake_others,
            handles=self._handles,
        )

    def stop(self, timeout: float | None = None) -> None:
        """End handling in this process: nothing new begins, and what runs gets ``timeout`` seconds."""
        with self._starting:
            crew, self._crew = self._crew, None
            if crew is not None and self._pid == os.getpid():
                crew.stop(self._stop_timeout if timeout is None else timeout)

    def close(self) -> None:
        """Stop, and give back connections."""
        self.stop()
        for channel in self.channels.values():
            channel.close()
        self._others.close()
        self.database.close()

    def checks(self) -> list[Check]:
        """What has to be right for bots to answer, each with its state. A database that is away is given 5 seconds."""
        try:
            problem, alive = self._looks.answer()
        except (sa.exc.DatabaseError, StoreBusy, ConfigurationError, OSError) as error:
            cause = (str(getattr(error, "orig", error)).splitlines() or [""])[0]
            return [
                Check("database", False, f"cannot be read: {cause}"),
                Check("schema", None),
                *self._engine_checks(None),
            ]
        refusal = self.database.failures.problem
        return [
            Check("database", not refusal, refusal or "reachable"),
            Check("schema", not problem, problem or "current"),
            *self._engine_checks(alive),
        ]

    def _look(self) -> tuple[str, int | None]:
        """What the database says: what is wrong with its schema, and how many workers are alive where that counts."""
        self.database.problem()  # raises where the files are gone, and records a full disk
        problem = self.database.schema_problem()
        if problem or self.is_running or not self.database.shared_url:
            return problem, None
        with self.database.read() as connection:
            return "", self.store.leases.count_alive(connection)

    def _engine_checks(self, alive: int | None) -> list[Check]:
        """Whether there is somebody to work; ``alive`` workers, None where that could not be asked."""
        if self._crew is not None and self._pid == os.getpid():
            return self._crew.checks()
        if not self.database.shared_url:
            detail = "this process does not handle messages yet; it begins with its first request"
            return [Check("lanes", False, detail)]
        if alive is None:
            return [Check("workers", None)]
        detail = f"{alive} workers alive" if alive else "no worker is alive; start one with cometbot worker"
        return [Check("workers", alive > 0, detail)]

    def backlog(self) -> dict[str, Backlog]:
        """For each bot: how far it is behind."""
        with self.database.read() as connection:
            waiting = self.store.mailbox.backlog(connection)
            dead_mail = self.store.mailbox.dead_count(connection)
            dead_replies = self.store.outbox.dead_count(connection)
            stuck = self.store.leases.stuck(connection, STUCK)
        return {
            bot: Backlog(
                *waiting.get(bot, (0, 0.0)), dead_mail.get(bot, 0) + dead_replies.get(bot, 0), stuck.get(bot, 0)
            )
            for bot in {*self.bots, *waiting, *dead_mail, *dead_replies, *stuck}
        }

    def log_backlog(self) -> None:
        """Tell the log what is behind: a line for each bot with conversations that nobody works on, or late mail."""
        for bot, backlog in sorted(self.backlog().items()):
            if backlog.stuck or backlog.oldest_seconds > STUCK:
                extra = {"bot": bot, "waiting": backlog.waiting, "oldest_seconds": round(backlog.oldest_seconds)}
                log.warning(
                    "messages wait long: %d conversations have nobody at work on them", backlog.stuck, extra=extra
                )

    @property
    def is_idle(self) -> bool:
        """Whether no conversation has anything to be handled or sent, now or later, in any process."""
        with self.database.read() as connection:
            return self.store.leases.is_idle(connection)

    def purge(self) -> int:
        """Delete what ended longer ago than it is kept; return the number of rows, 0 where another process is at it."""
        before = self.database.clock() - self._keep
        removed = self._purge.run(partial(_purge_mail, self.store.mailbox, before), OldReplies(before).delete)
        with self.database.write(durable=False) as connection:
            self.store.leases.bury(connection, self.database.clock() - BURIED_AFTER)
        self.database.shrink_log()
        return removed


def _purge_mail(mailbox: Mailbox, before: float, connection: Transaction, limit: int) -> int:
    return mailbox.purge(connection, before, limit)
