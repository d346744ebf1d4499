"""The changes of each conversation in order, stored as the source of truth for listeners."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import Connection

from cometbot.chat import queries
from cometbot.chat.models import ChatEvent, ChatMessage, Data, Scope, Signal, Topic
from cometbot.errors import NotFound
from cometbot.store.database import Database
from cometbot.store.tables import (
    EVENT_CREATED,
    MESSAGE_CREATED,
    MESSAGE_UPDATED,
    chat_conversations,
    chat_events,
    chat_feed,
    chat_messages,
)

PURGE_BATCH_LIMIT = 500
_IDS_PER_QUERY = 300

_key = queries.bound_key(chat_conversations.c.id)
_advance = (
    sa.update(chat_conversations)
    .where(*_key)
    .values(
        last_at=sa.case(
            (chat_conversations.c.last_at >= bound("now", type_=sa.BigInteger), chat_conversations.c.last_at + 1),
            else_=bound("now", type_=sa.BigInteger),
        ),
        position=chat_conversations.c.position + 1,
    )
    .returning(chat_conversations.c.last_at, chat_conversations.c.position)
)
_read = (
    sa.select(chat_feed.c.position, chat_feed.c.kind, chat_feed.c.subject, chat_feed.c.data, chat_feed.c.at)
    .where(*queries.bound_key(chat_feed.c.conversation), chat_feed.c.position > bound("after"))
    .order_by(chat_feed.c.position)
    .limit(bound("most"))
)
MESSAGE_COLUMNS = queries.columns_of(chat_messages, ChatMessage)
EVENT_COLUMNS = queries.columns_of(chat_events, ChatEvent)
_select_created_at = sa.select(chat_conversations.c.created_at).where(*_key)
_select_message = sa.select(*MESSAGE_COLUMNS).where(*queries.bound_key(chat_messages.c.id))
_select_event = sa.select(*EVENT_COLUMNS).where(*queries.bound_key(chat_events.c.id))


class FeedPosition(NamedTuple):
    """The current position of a conversation.

    ``created_at`` distinguishes it from a later conversation with the same id.
    """

    created_at: int
    position: int


class FeedTable:
    """The table ``chat_feed``. All methods run in the caller's transaction.

    A row describes one change. Of messages and events it has only the id, so that a late listener receives them in
    their current form, and receives nothing of deleted ones.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._advance = database.prepare(_advance)
        names = ("channel", "bot", "conversation", "position", "kind", "subject", "data", "at")
        self._insert = database.prepare(
            database.insert(chat_feed).values({name: bound(name, type_=chat_feed.c[name].type) for name in names})
        )
        self._read = database.prepare(_read)
        self._select_message = database.prepare(_select_message)
        self._select_event = database.prepare(_select_event)
        self._select_created_at = database.prepare(_select_created_at)
        self._collected: dict[Connection, list[Signal]] = {}

    @contextmanager
    def collect(self, connection: Connection) -> Iterator[list[Signal]]:
        """Collect the signals of a transaction, which the caller publishes after the commit."""
        signals: list[Signal] = []
        self._collected[connection] = signals
        try:
            yield signals
        finally:
            del self._collected[connection]

    def collected(self, connection: Connection) -> Sequence[Signal]:
        """Return the signals of a transaction so far."""
        return self._collected.get(connection, ())

    def announce(self, connection: Connection, signals: Iterable[Signal]) -> None:
        """Add signals to those that are published after the commit."""
        self._collected.get(connection, []).extend(signals)

    def advance(self, connection: Connection, scope: Scope, conversation: str) -> tuple[int, int]:
        """Return a new time and position in the conversation, later than and different from all before.

        The row of the conversation is locked until the end of the transaction, so that positions are committed in
        order. Raises :class:`NotFound` if there is no such conversation.
        """
        values = {**queries.key_values(scope, conversation), "now": queries.now_ms(self._database)}
        found = self._advance(connection, values).fetchall()
        if not found:
            raise NotFound("there is no such conversation")
        return found[0][0], found[0][1]

    def add(self, connection: Connection, scope: Scope, conversation: str, kind: str, data: Data) -> Signal:
        """Store and announce a signal with all its ``data`` in the feed of the conversation.

        Raises :class:`NotFound` if there is no such conversation.
        """
        at, position = self.advance(connection, scope, conversation)
        return self.save(connection, Signal(scope.topic(conversation), kind, position, at, data=data))

    def save(self, connection: Connection, signal: Signal) -> Signal:
        """Store and announce ``signal``, whose time and position come from :meth:`advance`, and return it."""
        about = signal.message or signal.event
        values = {
            "channel": signal.topic.channel,
            "bot": signal.topic.bot,
            "conversation": signal.topic.id,
            "position": signal.position,
            "kind": signal.kind,
            "subject": about.id if about else "",
            "data": queries.to_json(signal.data),
            "at": signal.at,
        }
        self._insert(connection, values)
        self.announce(connection, [signal])
        return signal

    def read(self, connection: Connection, topic: Topic, after: int, limit: int) -> tuple[list[Signal], int]:
        """Return at most ``limit`` signals after a position, and the position that they reach.

        Signals about a message that was deleted since are left out; a later signal reports its deletion.
        """
        values = {"ch": topic.channel, "b": topic.bot, "key": topic.id, "after": after, "most": limit}
        signals = []
        for position, kind, subject, data, at in self._read(connection, values).fetchall():
            after = position
            signal = Signal(topic, kind, position, at, data=queries.from_json(data))
            completed = self._complete(connection, signal, subject) if subject else signal
            if completed is not None:
                signals.append(completed)
        return signals, after

    def _complete(self, connection: Connection, signal: Signal, subject: str) -> Signal | None:
        values = {"ch": signal.topic.channel, "b": signal.topic.bot, "key": subject}
        if signal.kind in (MESSAGE_CREATED, MESSAGE_UPDATED):
            row = self._select_message(connection, values).fetchone()
            return replace(signal, message=to_message(row)) if row else None
        if signal.kind == EVENT_CREATED:
            row = self._select_event(connection, values).fetchone()
            return replace(signal, event=to_event(row)) if row else None
        return signal

    def get_created_at(self, connection: Connection, topic: Topic) -> int:
        """Return the creation time of the conversation that has this id now; 0 if there is none.

        A deleted conversation never comes back. If this returns the time of a known conversation, everything read
        before this call belongs to that one.
        """
        found = self._select_created_at(connection, {"ch": topic.channel, "b": topic.bot, "key": topic.id}).fetchall()
        return int(found[0][0]) if found else 0

    def get_positions(self, connection: Connection, topics: Collection[Topic]) -> dict[Topic, FeedPosition]:
        """Return the current position of each conversation that exists."""
        columns, wanted, found = chat_conversations.c, set(topics), dict[Topic, FeedPosition]()
        for channel in {topic.channel for topic in wanted}:
            ids = sorted({topic.id for topic in wanted if topic.channel == channel})
            for start in range(0, len(ids), _IDS_PER_QUERY):
                query = sa.select(columns.channel, columns.bot, columns.id, columns.created_at, columns.position).where(
                    columns.channel == channel, columns.id.in_(ids[start : start + _IDS_PER_QUERY])
                )
                found |= {Topic(*row[:3]): FeedPosition(*row[3:]) for row in connection.execute(query)}
        return {topic: reached for topic, reached in found.items() if topic in wanted}

    def purge(self, connection: Connection, before: int, limit: int = PURGE_BATCH_LIMIT) -> int:
        """Delete at most ``limit`` rows that are older than ``before``. Return their number."""
        key = (chat_feed.c.channel, chat_feed.c.bot, chat_feed.c.conversation, chat_feed.c.position)
        old = sa.select(*key).where(chat_feed.c.at < before).order_by(chat_feed.c.at).limit(limit)
        return connection.execute(sa.delete(chat_feed).where(sa.tuple_(*key).in_(old))).rowcount


def to_message(row: Sequence[Any]) -> ChatMessage:
    """Return the message in the :data:`MESSAGE_COLUMNS` of a row."""
    channel, bot, id, conversation, sender, is_bot, payload, metadata, client_id, *times = row
    payload = queries.from_json(payload)
    metadata = None if metadata is None else queries.from_json(metadata)
    scope = Scope(channel, bot)
    return ChatMessage(scope, id, conversation, sender, bool(is_bot), payload, metadata, client_id or "", *times)


def to_event(row: Sequence[Any]) -> ChatEvent:
    """Return the event in the :data:`EVENT_COLUMNS` of a row."""
    channel, bot, id, conversation, sender, payload, at = row
    return ChatEvent(Scope(channel, bot), id, conversation, sender, queries.from_json(payload), at)
