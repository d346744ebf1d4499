"""Received events that are not purged yet, each stored once, in the order of arrival."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import Connection

from cometbot.bursts import BURST_MARK
from cometbot.channels.base import IncomingEvent
from cometbot.error_text import storable_text
from cometbot.models import Conversation
from cometbot.store.database import Database
from cometbot.store.state import StateTable
from cometbot.store.tables import (
    DEAD,
    DISCARDED,
    DONE,
    ENDED_MESSAGE,
    IS_DEAD,
    KEPT_MESSAGE,
    PENDING_MESSAGE,
    RUNNING,
    WAITING,
    conversation_columns,
    conversations,
    has_pending,
    in_state,
    mailbox,
    of_account,
    outbox,
    steps,
)

MAX_CRASH_COUNT = 5
"""The number of times that a message may crash its process before it becomes a dead letter."""

PURGE_BATCH = 500

_columns = (
    mailbox.c.seq,
    mailbox.c.event_key,
    mailbox.c.sender,
    mailbox.c.body,
    mailbox.c.received_at,
    mailbox.c.attempts,
    mailbox.c.failures,
    mailbox.c.generation,
    mailbox.c.due_at,
    sa.func.coalesce(mailbox.c.error, "") != "",  # SQLite 3.40 returns 1 for IS NOT NULL in a RETURNING clause
)
_get_oldest = (
    sa.select(*_columns)
    .where(mailbox.c.conversation_key == bound("key"), in_state(mailbox, PENDING_MESSAGE))
    .order_by(mailbox.c.seq)
    .limit(1)
)
_start = (
    sa.update(mailbox)
    .where(mailbox.c.seq == bound("row"))
    .values(state=RUNNING, attempts=mailbox.c.attempts + 1, due_at=None)
)
_start_oldest = (
    sa.update(mailbox)
    .where(
        mailbox.c.seq == _get_oldest.with_only_columns(mailbox.c.seq).scalar_subquery(),
        mailbox.c.attempts == mailbox.c.failures,
        sa.or_(mailbox.c.due_at.is_(None), mailbox.c.due_at <= bound("now")),
        sa.not_(has_pending(outbox, bound("key"))),
    )
    .values(state=RUNNING, attempts=mailbox.c.attempts + 1, due_at=None)
    .returning(*(column - 1 if column is mailbox.c.attempts else column for column in _columns))
)
_is_running = (mailbox.c.seq == bound("row"), mailbox.c.state == RUNNING)
_finish = (
    sa.update(mailbox)
    .where(*_is_running)
    .values(
        state=bound("to"), ended_at=bound("now"), handler=bound("by"), error=bound("why", type_=sa.Text), due_at=None
    )
)
_postpone = (
    sa.update(mailbox)
    .where(*_is_running)
    .values(
        state=WAITING, due_at=bound("due"), failures=mailbox.c.failures + 1, handler=bound("by"), error=bound("why")
    )
)
_end_waiting = (
    sa.update(mailbox)
    .where(mailbox.c.seq == bound("row"), mailbox.c.state == WAITING)
    .values(state=DONE, ended_at=bound("now"), handler=bound("by"), error=None, due_at=None)
)
_list_waiting = (
    sa.select(mailbox.c.conversation_key, mailbox.c.seq)
    .where(
        mailbox.c.conversation_key.in_(bound("keys", expanding=True)),
        in_state(mailbox, PENDING_MESSAGE),
        mailbox.c.state == WAITING,
    )
    .order_by(mailbox.c.seq.desc())
    .limit(bound("most", type_=sa.Integer))
)
_get_waiting = (
    sa.select(*_columns)
    .where(mailbox.c.seq.in_(bound("rows", expanding=True)), mailbox.c.state == WAITING)
    .order_by(mailbox.c.seq)
)
_hold = (
    sa.update(mailbox)
    .where(*_is_running)
    .values(state=WAITING, due_at=bound("due"), attempts=mailbox.c.attempts - 1, error=None)
)
_list_behind = (
    sa.select(*_columns)
    .where(mailbox.c.conversation_key == bound("key"), in_state(mailbox, PENDING_MESSAGE), mailbox.c.seq > bound("row"))
    .order_by(mailbox.c.seq)
    .limit(bound("most", type_=sa.Integer))
)
_just_before = (
    sa.select(mailbox.c.seq)
    .where(mailbox.c.conversation_key == bound("key"), in_state(mailbox, KEPT_MESSAGE), mailbox.c.seq < bound("row"))
    .order_by(mailbox.c.seq.desc())
    .limit(bound("most", type_=sa.Integer))
)
_list_ended_by = (
    sa.select(*_columns)
    .where(mailbox.c.seq.in_(_just_before), mailbox.c.state == DONE, mailbox.c.handler == bound("by"))
    .order_by(mailbox.c.seq)
)
_newest = mailbox.alias("newest")
_of_burst = sa.case(
    (
        mailbox.c.handler.like(f"{BURST_MARK}m%"),
        sa.cast(sa.func.substr(mailbox.c.handler, len(BURST_MARK) + 2), sa.BigInteger),
    )
)
"""The number of the newest message of the burst that a message ended with, else null."""
_is_needed = sa.exists().where(
    _newest.c.seq == _of_burst, sa.or_(_newest.c.ended_at.is_(None), _newest.c.state.not_in([DONE, DISCARDED]))
)
"""The condition that the handler which got a message with others may run again."""
_find_conversation = (
    sa.select(*conversation_columns)
    .join(mailbox, mailbox.c.conversation_key == conversations.c.conversation_key)
    .where(
        mailbox.c.channel == bound("channel"),
        mailbox.c.account == bound("account"),
        mailbox.c.bot == bound("bot"),
        mailbox.c.event_key == bound("key"),
    )
)
_get = sa.select(mailbox).where(mailbox.c.seq == bound("row"))


@dataclass(frozen=True, slots=True)
class MailboxMessage:
    """One row of the mailbox, as a conversation runner sees it.

    ``attempts`` counts the starts before this one, ``failures`` those of them that ended with a retry. The difference
    is the number of starts that ended their process. ``has_failed`` is true if its last run raised, also for a dead
    letter that is handled again, whose starts are counted anew.

    ``conversation_state`` is the state of its conversation, if that was read when the message was started.
    """

    seq: int
    key: str
    sender: str
    body: bytes
    received_at: float
    attempts: int
    failures: int
    generation: int
    due_at: float | None
    has_failed: bool = False
    conversation_state: Mapping[str, str] | None = field(default=None, repr=False, compare=False)

    @property
    def event_id(self) -> str:
        """The value of the column ``event`` of this message's replies in the outbox."""
        return f"m{self.seq}"

    @property
    def crash_count(self) -> int:
        """The number of times that its process died while it was handled."""
        return self.attempts - self.failures

    @property
    def is_held(self) -> bool:
        """True if the message has not run yet, but waits for others (:meth:`Mailbox.hold`)."""
        return self.due_at is not None and self.attempts == 0

    @property
    def is_rerun(self) -> bool:
        """True if a handler may have run for this message before."""
        return self.attempts > 0 or self.generation > 0 or self.has_failed


class Mailbox:
    """The table ``mailbox``. All methods work inside the caller's transaction."""

    def __init__(self, database: Database, state: StateTable) -> None:
        self._database = database
        self._state = state
        names = ("channel", "account", "bot", "event_key", "conversation_key", "sender", "body", "received_at")
        insert = database.insert(mailbox).values({name: bound(name) for name in names})
        self._insert = database.prepare(
            insert.on_conflict_do_nothing(index_elements=["channel", "account", "bot", "event_key"])
        )
        self._get_oldest = database.prepare(_get_oldest)
        self._start_oldest = database.prepare(_start_oldest)
        self._start = database.prepare(_start)
        self._finish = database.prepare(_finish)

    def find_conversation(
        self, connection: Connection, channel: str, account: str, bot: str, key: str
    ) -> Sequence[Any] | None:
        """Return the conversation of the event with this key, or None if it was never stored or is purged."""
        values = {"channel": channel, "account": account, "bot": bot, "key": key}
        return connection.execute(_find_conversation, values).one_or_none()

    def add(self, connection: Connection, incoming: IncomingEvent) -> bool:
        """Store the event, and return True if it is new."""
        row = self._make_row(incoming.conversation, incoming.key, incoming.body, incoming.sender)
        return bool(self._insert(connection, row).rowcount > 0)

    def add_internal(self, connection: Connection, events: Iterable[tuple[Conversation, str, bytes]]) -> None:
        """Store events of cometbot's own, each given by its conversation, key and body; those that are stored stay."""
        self._insert.run_many(connection, [self._make_row(*event) for event in events])

    def _make_row(self, conversation: Conversation, key: str, body: bytes, sender: str = "") -> dict[str, Any]:
        return {
            "channel": conversation.channel,
            "account": conversation.account,
            "bot": conversation.bot,
            "event_key": key,
            "conversation_key": conversation.key_text,
            "sender": sender,
            "body": body,
            "received_at": self._database.clock(),
        }

    def get_oldest(self, connection: Connection, conversation_key: str) -> MailboxMessage | None:
        """Return the oldest pending event of a conversation, due or not."""
        row = self._get_oldest(connection, {"key": conversation_key}).fetchone()
        return MailboxMessage(*row) if row else None

    def start_oldest(self, connection: Connection, conversation_key: str) -> MailboxMessage | None:
        """Start and return the oldest pending event of a conversation, if it is in the simple case.

        The event must be due, no process may have died on it, and no reply may wait before it. None does not mean that
        the conversation has no pending event.
        """
        row = self._start_oldest(connection, {"key": conversation_key, "now": self._database.clock()}).fetchone()
        if row is None:
            return None
        values = (*row, self._state.load(connection, "conversation", conversation_key))
        return MailboxMessage(*values)

    def list_waiting(self, connection: Connection, conversation_keys: Sequence[str], limit: int) -> dict[str, set[int]]:
        """Return the numbers of the newest ``limit`` messages that wait in these conversations, by conversation key."""
        found: dict[str, set[int]] = {}
        for key, seq in connection.execute(_list_waiting, {"keys": conversation_keys, "most": limit}):
            found.setdefault(key, set()).add(seq)
        return found

    def get_waiting(self, connection: Connection, sequences: Sequence[int]) -> list[MailboxMessage]:
        """Return the messages with these numbers that wait, oldest first."""
        return [MailboxMessage(*row) for row in connection.execute(_get_waiting, {"rows": sequences})]

    def end_waiting(self, connection: Connection, message: MailboxMessage, handler: str) -> None:
        """Mark a message as done out of its turn, if it still waits."""
        connection.execute(_end_waiting, {"row": message.seq, "now": self._database.clock(), "by": handler})

    def mark_running(self, connection: Connection, message: MailboxMessage) -> None:
        """Record, before it happens, that a handler is about to run."""
        self._start(connection, {"row": message.seq})

    def end(
        self, connection: Connection, message: MailboxMessage, state: str, handler: str, error: str | None = None
    ) -> bool:
        """Mark the running message as done, or as a dead letter with its cause (``state``).

        Return False if it had ended already.
        """
        values = {
            "row": message.seq,
            "to": state,
            "now": self._database.clock(),
            "by": handler,
            "why": storable_text(error) if error else None,
        }
        return bool(self._finish(connection, values).rowcount > 0)

    def postpone(
        self, connection: Connection, message: MailboxMessage, handler: str, error: str, due_at: float
    ) -> bool:
        """Schedule the running message to run again at ``due_at``. Return False if it had ended already."""
        values = {"row": message.seq, "due": due_at, "by": handler, "why": storable_text(error)}
        return connection.execute(_postpone, values).rowcount > 0

    def hold(self, connection: Connection, message: MailboxMessage, due_at: float) -> bool:
        """Postpone the running message, which has done nothing, until ``due_at``, or until something arrives.

        Return False if it had ended already.
        """
        return connection.execute(_hold, {"row": message.seq, "due": due_at}).rowcount > 0

    def list_behind(self, connection: Connection, conversation_key: str, seq: int, limit: int) -> list[MailboxMessage]:
        """Return the oldest ``limit`` pending events of a conversation behind the number ``seq``."""
        values = {"key": conversation_key, "row": seq, "most": limit}
        return [MailboxMessage(*row) for row in connection.execute(_list_behind, values)]

    def list_ended_by(
        self, connection: Connection, conversation_key: str, seq: int, handler: str, limit: int
    ) -> list[MailboxMessage]:
        """Return the events that ``handler`` ended among the newest ``limit`` ended ones before the number ``seq``."""
        values = {"key": conversation_key, "row": seq, "by": handler, "most": limit}
        return [MailboxMessage(*row) for row in connection.execute(_list_ended_by, values)]

    def get(self, connection: Connection, seq: int) -> sa.RowMapping | None:
        """Return the whole row, or None."""
        return connection.execute(_get, {"row": seq}).mappings().one_or_none()

    def list_dead_letters(
        self, connection: Connection, bot: str = "", limit: int = 100, account: str = ""
    ) -> list[sa.RowMapping]:
        """Return the newest dead letters."""
        query = sa.select(mailbox).where(in_state(mailbox, IS_DEAD)).order_by(mailbox.c.seq.desc()).limit(limit)
        if account:
            query = query.where(of_account(mailbox.c.conversation_key, account))
        return list(connection.execute(query.where(mailbox.c.bot == bot) if bot else query).mappings())

    def requeue(self, connection: Connection, seq: int) -> str | None:
        """Make a dead letter wait again, and return its conversation key, or None if it is no dead letter.

        Its stored replies are kept.
        """
        change = sa.update(mailbox).where(mailbox.c.seq == seq, mailbox.c.state == DEAD)
        fresh = change.values(state=WAITING, attempts=0, failures=0, due_at=None, ended_at=None)
        return connection.execute(fresh.returning(mailbox.c.conversation_key)).scalar()

    def discard(self, connection: Connection, seq: int) -> bool:
        """Discard a dead letter. Return False if it is none."""
        change = sa.update(mailbox).where(mailbox.c.seq == seq, mailbox.c.state == DEAD)
        return connection.execute(change.values(state=DISCARDED, ended_at=self._database.clock())).rowcount > 0

    def purge(self, connection: Connection, before: float, limit: int = PURGE_BATCH) -> int:
        """Delete at most ``limit`` rows that ended before ``before``, with their steps; return their number.

        The messages of a burst stay as long as its newest one, whose handler may run again.
        """
        ended = in_state(mailbox, ENDED_MESSAGE)
        old = sa.select(mailbox.c.seq).where(ended, mailbox.c.ended_at < before, sa.not_(_is_needed))
        # Two statements: for a single one, PostgreSQL would choose to read the whole table.
        rows = list(connection.execute(old.order_by(mailbox.c.ended_at).limit(limit)).scalars())
        if not rows:
            return 0
        # A handler that was stopped, or whose message was erased while it ran, may have left steps.
        connection.execute(sa.delete(steps).where(steps.c.event.in_([f"m{row}" for row in rows])))
        return connection.execute(sa.delete(mailbox).where(mailbox.c.seq.in_(rows))).rowcount

    def count_waiting(self, connection: Connection) -> dict[str, tuple[int, float]]:
        """Return for each bot the number of waiting events, and the seconds for which the oldest has waited."""
        query = (
            sa.select(mailbox.c.bot, sa.func.count(), sa.func.min(mailbox.c.received_at))
            .where(in_state(mailbox, PENDING_MESSAGE))
            .group_by(mailbox.c.bot)
        )
        now = self._database.clock()
        return {bot: (count, max(0.0, now - oldest)) for bot, count, oldest in connection.execute(query)}

    def count_dead_letters(self, connection: Connection) -> dict[str, int]:
        """Return the number of dead letters of each bot."""
        query = sa.select(mailbox.c.bot, sa.func.count()).where(in_state(mailbox, IS_DEAD)).group_by(mailbox.c.bot)
        return dict(connection.execute(query).all())
