"""Outgoing requests: stored before they are sent, under a key that prevents storing the same reply twice."""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import Connection

from cometbot.error_text import storable_text
from cometbot.events import MessageEvent
from cometbot.jobs import JobChange
from cometbot.models import Conversation, ConversationKey
from cometbot.steps import OPEN, DialogId
from cometbot.store.database import Database
from cometbot.store.tables import (
    DEAD,
    DISCARDED,
    DONE,
    ENDED_REPLY,
    IS_DEAD,
    IS_PREPARED,
    PENDING_REPLY,
    READY,
    SENDING,
    SENT,
    UNKNOWN,
    conversations,
    in_state,
    mailbox,
    of_account,
    outbox,
    steps,
)

END_ORDINAL = 1_999_999
"""The ordinal of the request that reports the end of an event (:meth:`cometbot.channels.base.Channel.render_end`)."""

FIRST_MARK_ORDINAL = 2_000_000
"""The first ordinal of marks: that of the stream whose first ordinal is 0."""

_STORED_COLUMNS = (
    "event",
    "generation",
    "ordinal",
    "part",
    "conversation_key",
    "payload",
    "client_id",
    "target",
    "target_event",
    "state",
    "created_at",
    "began_at",
)


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """One request to a platform, as stored."""

    id: int
    event: str
    generation: int
    ordinal: int
    part: int
    conversation_key: str
    payload: str = field(repr=False)
    client_id: str
    target: int | None
    target_event: str | None
    state: str
    attempts: int
    created_at: float
    began_at: float | None
    due_at: float | None
    platform_id: str | None

    @property
    def body(self) -> Mapping[str, Any]:
        """The rendered request."""
        value: Mapping[str, Any] = json.loads(self.payload)
        return value


_columns = [outbox.c[column.name] for column in fields(OutboxMessage)]
_is_pending = in_state(outbox, PENDING_REPLY)
_get_next = (
    sa.select(*_columns).where(outbox.c.conversation_key == bound("key"), _is_pending).order_by(outbox.c.id).limit(1)
)
_list_for_event = (
    sa.select(*_columns)
    .where(outbox.c.event == bound("ev"), outbox.c.generation == bound("gen"))
    .order_by(outbox.c.ordinal, outbox.c.part)
)
_mark_sending = (
    sa.update(outbox).where(outbox.c.id == bound("row")).values(state=SENDING, began_at=bound("now"), due_at=None)
)
_save_result = (
    sa.update(outbox)
    .where(outbox.c.id == bound("row"))
    .values(
        state=bound("to"),
        attempts=outbox.c.attempts + bound("tried", type_=sa.Integer),
        due_at=bound("due", type_=sa.Double),
        ended_at=bound("now", type_=sa.Double),
        platform_id=sa.func.coalesce(bound("named", type_=sa.Text), outbox.c.platform_id),
        error=bound("why", type_=sa.Text),
    )
)
_end = sa.update(outbox).where(outbox.c.id == bound("row")).values(ended_at=bound("now", type_=sa.Double))
_get_target_id = sa.select(outbox.c.platform_id).where(
    outbox.c.event == bound("ev"),
    outbox.c.generation == bound("gen"),
    outbox.c.ordinal == bound("nth"),
    outbox.c.part == 0,
)
_conversation_keys_of_sent = sa.select(outbox.c.conversation_key).where(outbox.c.platform_id == bound("named"))
_find_said = (
    sa.select(outbox.c.event, outbox.c.generation, outbox.c.ordinal)
    .where(
        outbox.c.platform_id == bound("named"),
        outbox.c.conversation_key == bound("key"),
        outbox.c.part == 0,
        outbox.c.target.is_(None),
    )
    .order_by(outbox.c.id)
    .limit(1)
)
_events_of_sent = (
    sa.select(outbox.c.platform_id, outbox.c.event)
    .where(outbox.c.platform_id.in_(bound("named", expanding=True)), outbox.c.conversation_key == bound("key"))
    .order_by(outbox.c.id)
)
_event_keys = sa.select(mailbox.c.seq, mailbox.c.event_key).where(
    mailbox.c.seq.in_(bound("rows", expanding=True)), mailbox.c.conversation_key == bound("key")
)
_conversation_of_sent = sa.select(conversations).where(
    conversations.c.conversation_key == bound("key"),
    conversations.c.channel == bound("ch"),
    conversations.c.account == bound("acc"),
)
_is_mark = (
    outbox.c.event == bound("ev"),
    outbox.c.generation == bound("gen"),
    outbox.c.ordinal >= FIRST_MARK_ORDINAL,
    in_state(outbox, IS_PREPARED),
)
_delete_mark = sa.delete(outbox).where(*_is_mark, outbox.c.ordinal == bound("nth"))
_release_marks = (
    sa.update(outbox)
    .where(*_is_mark, outbox.c.payload != "{}")  # else its conversation has been erased
    .values(state=READY, created_at=bound("now", type_=sa.Double))
)
_count_dead = (
    sa.select(outbox.c.conversation_key, sa.func.count())
    .where(in_state(outbox, IS_DEAD))
    .group_by(outbox.c.conversation_key)
)

_dead = (
    sa.select(
        outbox,
        *(conversations.c[name] for name in ("bot", "channel", "account", "conversation")),
    )
    .join(conversations, conversations.c.conversation_key == outbox.c.conversation_key)
    .where(in_state(outbox, IS_DEAD))
)

# A scalar subquery by primary key: PostgreSQL would turn an EXISTS into a join with all of the mailbox.
_event_state = (
    # A message that is done and has not ended started a dialog, whose later runs may change what this one sent.
    sa.select(sa.case((sa.and_(mailbox.c.state == DONE, mailbox.c.ended_at.is_(None)), OPEN), else_=mailbox.c.state))
    .where(
        mailbox.c.seq == sa.case((outbox.c.event.like("m%"), sa.cast(sa.func.substr(outbox.c.event, 2), sa.BigInteger)))
    )
    .scalar_subquery()
)
_continued_dialog = sa.select(steps.c.event).where(steps.c.trigger == outbox.c.event).limit(1).scalar_subquery()
_is_event_over = sa.func.coalesce(_event_state, DONE).in_([DONE, DISCARDED]) & _continued_dialog.is_(None)


@dataclass(frozen=True, slots=True)
class Draft:
    """A reply that is not stored yet: ``payloads`` are the rendered requests of one operation.

    ``approval`` is what storing it changes among the approvals of its conversation (:mod:`cometbot.store.approvals`).
    With ``job``, it changes a job instead of sending something; its row only records that this was done.
    """

    event: str
    generation: int
    ordinal: int
    conversation: Conversation
    payloads: Sequence[Mapping[str, Any]]
    target: int | None = None
    target_event: str = ""
    approval: Mapping[str, Any] | None = None
    job: JobChange | None = None


@dataclass(frozen=True, slots=True)
class MarkChanges:
    """What a commit changes among the marks of one message's streams, which say that a stream has been broken off.

    ``prepared`` are stored, each instead of the one before it, and sent only when a later commit ``releases`` them.
    Those with an ordinal in ``dropped`` are deleted.
    """

    event: str
    generation: int
    prepared: Sequence[Draft] = ()
    dropped: Sequence[int] = ()
    releases: bool = False


@dataclass(frozen=True, slots=True)
class SendAttempt:
    """A stored reply that is to be sent now.

    ``verify_first``: it may have arrived already. ``is_trial``: it is the trial request after a throttle.
    """

    reply: OutboxMessage
    verify_first: bool = False
    is_trial: bool = False


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of sending a reply.

    ``counted_attempts`` is 1 if the attempt counts towards the reply's limit of attempts. ``throttle_seconds`` are the
    seconds for which nothing may be sent to the account afterwards. ``ends_throttle`` is True if the result shows that
    the account can be sent to again. ``is_rate_limited`` is True if the platform refused the request for too many
    requests.
    """

    reply: OutboxMessage
    state: str
    platform_id: str | None = None
    error: str | None = None
    due_at: float | None = None
    counted_attempts: int = 0
    throttle_seconds: float = 0.0
    ends_throttle: bool = False
    is_rate_limited: bool = False

    @property
    def is_plain_success(self) -> bool:
        """True if the result contains nothing except that the reply was sent."""
        return self.state == SENT and not (
            self.counted_attempts or self.throttle_seconds or self.ends_throttle or self.error
        )

    @property
    def is_final(self) -> bool:
        """True if the conversation may continue with its next reply."""
        return self.state in (SENT, DEAD, DISCARDED)


class Outbox:
    """The table ``outbox``. All methods work inside the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        insert = database.insert(outbox).values(
            {name: bound(name, type_=outbox.c[name].type) for name in _STORED_COLUMNS}
        )
        insert_once = insert.on_conflict_do_nothing(
            index_elements=["event", "generation", "ordinal", "part"]
        ).returning(*_columns)
        self._insert = database.prepare(insert_once)
        self._get_next = database.prepare(_get_next)
        self._mark_sending = database.prepare(_mark_sending)
        self._save_result = database.prepare(_save_result)

    def add(self, connection: Connection, drafts: Iterable[Draft], state: str = READY) -> list[OutboxMessage]:
        """Store ``drafts`` and return the new rows, in order.

        A reply that is stored already is neither changed nor returned.
        """
        now = self._database.clock()
        stored = []
        for draft in drafts:
            for part, payload in enumerate(draft.payloads):
                values = self.make_row(draft, part, payload, state, now)
                row = self._insert(connection, values).fetchone()
                if row is not None:
                    stored.append(OutboxMessage(*row))
        return stored

    def add_done(self, connection: Connection, draft: Draft) -> bool:
        """Store under the ordinal of ``draft`` that it is done. Return False if it was done before."""
        stored = self.add(connection, [draft], SENT)
        for reply in stored:
            connection.execute(_end, {"row": reply.id, "now": self._database.clock()})
        return bool(stored)

    def change_marks(self, connection: Connection, changes: MarkChanges) -> None:
        """Store, delete or release the marks of streams."""
        values = {"ev": changes.event, "gen": changes.generation}
        for ordinal in {*changes.dropped, *(draft.ordinal for draft in changes.prepared)}:
            connection.execute(_delete_mark, {**values, "nth": ordinal})
        self.add(connection, changes.prepared, DISCARDED)
        if changes.releases:
            connection.execute(_release_marks, {**values, "now": self._database.clock()})

    @staticmethod
    def make_row(draft: Draft, part: int, payload: Mapping[str, Any], state: str, now: float) -> dict[str, Any]:
        """Return the row of one part of ``draft``, with a new client id."""
        return {
            "event": draft.event,
            "generation": draft.generation,
            "ordinal": draft.ordinal,
            "part": part,
            "conversation_key": draft.conversation.key_text,
            "payload": json.dumps(payload),
            "client_id": f"cb-{draft.event}-{draft.generation}-{draft.ordinal}-{part}-{secrets.token_hex(6)}",
            "target": draft.target,
            "target_event": draft.target_event or None,
            "state": state,
            "created_at": now,
            "began_at": now if state == SENDING else None,
        }

    def get_next(self, connection: Connection, conversation_key: str) -> OutboxMessage | None:
        """Return the oldest reply that is neither sent nor given up, due or not."""
        row = self._get_next(connection, {"key": conversation_key}).fetchone()
        return OutboxMessage(*row) if row else None

    def list_for_event(self, connection: Connection, event: str, generation: int) -> list[OutboxMessage]:
        """Return the replies that are stored for an event."""
        rows = connection.execute(_list_for_event, {"ev": event, "gen": generation})
        return [OutboxMessage(*tuple(row)) for row in rows]

    def mark_sending(self, connection: Connection, reply: OutboxMessage) -> None:
        """Record, before it happens, that a reply is about to be sent."""
        self._mark_sending(connection, {"row": reply.id, "now": self._database.clock()})

    def save_result(self, connection: Connection, result: SendResult) -> None:
        """Save the result of a send."""
        values = {
            "row": result.reply.id,
            "to": result.state,
            "tried": result.counted_attempts,
            "due": result.due_at,
            "now": self._database.clock() if result.is_final else None,
            "named": result.platform_id,
            "why": result.error and storable_text(result.error),
        }
        self._save_result(connection, values)

    def get_target_id(self, connection: Connection, reply: OutboxMessage) -> str | None:
        """Return the platform's id of the message that an edit or delete is about.

        Return None if that message was never sent.
        """
        return connection.execute(_get_target_id, self._target_of(reply)).scalar()

    def has_target(self, connection: Connection, reply: OutboxMessage) -> bool:
        """Return True if the message that an edit or delete is about is stored, sent or not."""
        return connection.execute(_get_target_id, self._target_of(reply)).first() is not None

    @staticmethod
    def _target_of(reply: OutboxMessage) -> dict[str, Any]:
        event, generation = reply.event, reply.generation
        if reply.target_event and (other := DialogId.parse(reply.target_event)) is not None:
            event, generation = other.event, other.generation
        return {"ev": event, "gen": generation, "nth": reply.target or 0}

    def get_platform_id(self, connection: Connection, event: str, generation: int, ordinal: int) -> str | None:
        """Return the platform's id of the message that was sent for an event under this ordinal, or None."""
        return connection.execute(_get_target_id, {"ev": event, "gen": generation, "nth": ordinal}).scalar()

    def find_said(self, connection: Connection, conversation_key: str, platform_id: str) -> tuple[DialogId, int] | None:
        """Return for which message, and under which ordinal, the bot's message with this id was said, or None."""
        row = connection.execute(_find_said, {"key": conversation_key, "named": platform_id}).first()
        return (DialogId(row.event, row.generation), row.ordinal) if row is not None else None

    def find_answered(
        self, connection: Connection, conversation: Conversation, messages: Sequence[MessageEvent]
    ) -> dict[str, str]:
        """Return the keys of the events of the same conversation that its bot's messages answer, by message id."""
        key, ids = conversation.key_text, [message.id for message in messages]
        found = connection.execute(_events_of_sent, {"key": key, "named": ids}).all() if ids else []
        # A later row changes a message that an earlier one has sent.
        events = {row.platform_id: row.event for row in reversed(found)}
        rows = [int(event[1:]) for event in set(events.values()) if re.fullmatch("m[0-9]+", event)]
        keys = {f"m{row.seq}": row.event_key for row in connection.execute(_event_keys, {"key": key, "rows": rows})}
        return {id: keys[event] for id, event in events.items() if event in keys}

    def find_sent(self, connection: Connection, channel: str, account: str, platform_id: str) -> sa.RowMapping | None:
        """Return the conversation to which the bot message with this id was sent, or None if the id is unknown."""
        for conversation_key in list(connection.execute(_conversation_keys_of_sent, {"named": platform_id}).scalars()):
            values = {"key": conversation_key, "ch": channel, "acc": account}
            row = connection.execute(_conversation_of_sent, values).mappings().first()
            if row is not None:
                return row
        return None

    def list_dead_letters(
        self, connection: Connection, bot: str = "", limit: int = 100, account: str = ""
    ) -> list[sa.RowMapping]:
        """Return the newest dead replies, with their conversations."""
        query = _dead.order_by(outbox.c.id.desc()).limit(limit)
        if account:
            query = query.where(of_account(outbox.c.conversation_key, account))
        return list(connection.execute(query.where(conversations.c.bot == bot) if bot else query).mappings())

    def get_dead_letter(self, connection: Connection, row: int) -> sa.RowMapping | None:
        """Return the dead reply with this row id, or None."""
        return connection.execute(_dead.where(outbox.c.id == row)).mappings().one_or_none()

    def count_dead_letters(self, connection: Connection) -> dict[str, int]:
        """Return the number of dead replies of each bot."""
        counts: Counter[str] = Counter()
        for conversation_key, count in connection.execute(_count_dead):
            counts[ConversationKey.parse(conversation_key).bot] += count
        return dict(counts)

    def requeue(self, connection: Connection, row: int) -> str | None:
        """Queue a dead reply to be verified and, if it had not arrived, sent again.

        Return its conversation key, or None if it is not dead.
        """
        change = sa.update(outbox).where(outbox.c.id == row, outbox.c.state == DEAD)
        now = self._database.clock()
        fresh = change.values(state=UNKNOWN, attempts=0, due_at=None, ended_at=None, created_at=now)
        return connection.execute(fresh.returning(outbox.c.conversation_key)).scalar()

    def discard(self, connection: Connection, row: int) -> bool:
        """Discard a dead reply for good. Return False if it is none."""
        change = sa.update(outbox).where(outbox.c.id == row, outbox.c.state == DEAD)
        return connection.execute(change.values(state=DISCARDED, ended_at=self._database.clock())).rowcount > 0


class OldReplyPurge:
    """Deletes the replies that ended before ``before``, in the batches of one purge run.

    Each batch begins where the last one ended. So a run reads the replies of dead letters, which are kept, only once.
    """

    def __init__(self, before: float) -> None:
        self._before = before
        self._ended_at, self._id = 0.0, 0

    def delete_batch(self, connection: Connection, limit: int) -> int:
        """Delete at most ``limit`` rows; return their number."""
        ended_at, id = outbox.c.ended_at, outbox.c.id
        query = sa.select(ended_at, id).where(
            in_state(outbox, ENDED_REPLY),
            ended_at < self._before,
            ended_at >= self._ended_at,
            sa.or_(ended_at > self._ended_at, id > self._id),
            _is_event_over,
        )
        # Two statements: for a single one, PostgreSQL would choose to read the whole table.
        found = connection.execute(query.order_by(ended_at, id).limit(limit)).all()
        if not found:
            return 0
        self._ended_at, self._id = found[-1]
        return connection.execute(sa.delete(outbox).where(id.in_([row.id for row in found]))).rowcount
