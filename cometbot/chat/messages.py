"""The messages and events of the chat server, in the order of their times."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import Connection

from cometbot.chat import rows
from cometbot.chat.feed import FeedRows, event_columns, message_columns, to_event, to_message
from cometbot.chat.models import (
    EVENT_CREATED,
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    MESSAGE_UPDATED,
    ChatConversation,
    ChatEvent,
    ChatMessage,
    Data,
    Draft,
    NumberedPage,
    Page,
    Posted,
    Scope,
    Signal,
    Topic,
)
from cometbot.errors import IdTaken
from cometbot.store.database import Database
from cometbot.store.tables import chat_conversations, chat_events, chat_files, chat_messages

KEEP: Final[Data] = {}
"""For :meth:`Messages.update`: the metadata stay as they are."""

_STORED = ("channel", "bot", "conversation", "at", "id", "sender", "is_bot", "payload", "metadata", "client_id")
_by_client = sa.select(*message_columns()).where(
    chat_messages.c.channel == bound("ch"),
    chat_messages.c.bot == bound("b"),
    chat_messages.c.conversation == bound("conv"),
    chat_messages.c.client_id == bound("client"),
)


class Messages:
    """The table ``chat_messages``. All methods work inside the caller's transaction.

    A message's time is later than that of everything before it in its conversation, so that the time alone is its
    place in the list. Signals are to be published after the commit.
    """

    def __init__(self, database: Database, feed: FeedRows) -> None:
        self._database = database
        self._feed = feed
        values = {name: bound(name, type_=chat_messages.c[name].type) for name in _STORED}
        self._insert = database.prepare(database.insert(chat_messages).values(values).on_conflict_do_nothing())
        self._by_client = database.prepare(_by_client)

    def post(self, connection: Connection, scope: Scope, conversation: str, draft: Draft) -> Posted:
        """The message that ``draft`` became, or had become before under its ``client_id``.

        Raises :class:`Missing` if there is no such conversation, :class:`IdTaken` for an id that another message has.
        """
        client_id = rows.written(draft.client_id)
        known = self.find_by_client_id(connection, scope, conversation, client_id)
        if known is not None:
            return Posted(known, is_new=False)
        at, position = self._feed.advance(connection, scope, conversation)
        values = {
            "channel": rows.storable(scope.channel),
            "bot": rows.storable(scope.bot),
            "conversation": rows.storable(conversation),
            "at": at,
            "id": rows.written(draft.id) or rows.new_id().lower(),
            "sender": rows.written(draft.sender),
            "is_bot": draft.is_bot,
            "payload": rows.to_json(draft.payload),
            "metadata": None if draft.metadata is None else rows.to_json(draft.metadata),
            "client_id": client_id or None,
        }
        if self._insert(connection, values).rowcount == 0:
            return self._posted_meanwhile(connection, scope, conversation, client_id)
        if draft.files:
            self._use(connection, scope, draft.files, at)
        message = to_message([values.get(column.name) for column in message_columns()])
        topic = Topic(scope.channel, scope.bot, conversation)
        signal = self._feed.record(connection, Signal(topic, MESSAGE_CREATED, position, at, message=message))
        return Posted(message, is_new=True, signals=(signal,))

    def _posted_meanwhile(self, connection: Connection, scope: Scope, conversation: str, client_id: str) -> Posted:
        """What another process posted under the same ``client_id`` while this one waited for the conversation."""
        known = self.find_by_client_id(connection, scope, conversation, client_id)
        if known is None:
            raise IdTaken
        return Posted(known, is_new=False)

    def find_by_client_id(
        self, connection: Connection, scope: Scope, conversation: str, client_id: str
    ) -> ChatMessage | None:
        """The message that was posted under ``client_id``, None if there is none."""
        if not client_id:
            return None
        values = {
            "ch": rows.storable(scope.channel),
            "b": rows.storable(scope.bot),
            "conv": rows.storable(conversation),
            "client": rows.storable(client_id),
        }
        found = self._by_client(connection, values).fetchall()
        return to_message(found[0]) if found else None

    def find_said_to(self, connection: Connection, scope: Scope, owner: str, client_id: str) -> ChatMessage | None:
        """The message that was posted under ``client_id`` in whichever conversation of ``owner``."""
        said, places = chat_messages.c, chat_conversations.c
        here = sa.and_(said.channel == places.channel, said.bot == places.bot, said.conversation == places.id)
        query = _select().select_from(chat_conversations).join(chat_messages, here)
        query = query.where(*rows.within(chat_conversations, scope), places.owner == rows.storable(owner))
        row = connection.execute(query.where(said.client_id == rows.storable(client_id))).first()
        return to_message(row) if row else None

    @staticmethod
    def _use(connection: Connection, scope: Scope, files: Collection[str], at: int) -> None:
        """Note that files are used: those of the bot, and those of the channel that belong to no bot."""
        columns = chat_files.c
        own = columns.bot.in_([rows.storable(scope.bot), ""])
        named = columns.id.in_([rows.storable(id) for id in files])
        used = sa.update(chat_files).where(columns.channel == rows.storable(scope.channel), own, named)
        connection.execute(used.where(columns.used_at.is_(None)).values(used_at=at))

    def get(self, connection: Connection, scope: Scope, id: str) -> ChatMessage | None:
        """The message with this id, None if there is none."""
        row = connection.execute(_select().where(*_named(chat_messages, scope, id))).first()
        return to_message(row) if row else None

    def update(
        self, connection: Connection, scope: Scope, id: str, payload: Data, metadata: Data | None = KEEP
    ) -> tuple[ChatMessage, list[Signal]] | None:
        """The message with another payload, and metadata unless they are kept; None if there is none."""
        found = self.get(connection, scope, id)
        if found is None:
            return None
        at, position = self._feed.advance(connection, found.scope, found.conversation)
        values: dict[str, Any] = {"payload": rows.to_json(payload), "edited_at": at}
        if metadata is not KEEP:
            values["metadata"] = None if metadata is None else rows.to_json(metadata)
        changed = sa.update(chat_messages).where(*_named(chat_messages, found.scope, id)).values(values)
        row = connection.execute(changed.returning(*message_columns())).first()
        if row is None:
            return None
        message = to_message(row)
        topic = Topic(found.scope.channel, found.scope.bot, found.conversation)
        return message, [self._feed.record(connection, Signal(topic, MESSAGE_UPDATED, position, at, message=message))]

    def delete(self, connection: Connection, scope: Scope, id: str) -> list[Signal] | None:
        """What happened by removing the message; None if there is none."""
        found = self.get(connection, scope, id)
        if found is None:
            return None
        data = {"id": found.id, "sender": found.sender}
        signal = self._feed.add(connection, found.scope, found.conversation, MESSAGE_DELETED, data)
        gone = sa.delete(chat_messages).where(*_named(chat_messages, found.scope, id))
        return [signal] if connection.execute(gone).rowcount else None

    def page(
        self, connection: Connection, scope: Scope, conversation: str, *, cursor: str = "", limit: int = 20
    ) -> Page[ChatMessage]:
        """The messages, newest first; what comes in meanwhile moves none of them to another page. Raises
        :class:`BadCursor`."""
        limit = rows.limited(limit)
        query = _select().where(*rows.exactly(chat_messages, scope, conversation))
        if cursor:
            query = query.where(chat_messages.c.at < rows.from_cursor(cursor, int)[0])
        found = connection.execute(query.order_by(chat_messages.c.at.desc()).limit(limit + 1)).all()
        return rows.page_of(list(found), limit, to_message, lambda message: rows.to_cursor(message.at))

    def before(
        self, connection: Connection, scope: Scope, conversation: str, at: int | None = None, limit: int = 20
    ) -> Page[ChatMessage]:
        """The newest messages (of before a time), oldest first; ``next`` is empty where nothing is older."""
        cursor = "" if at is None else rows.to_cursor(min(at, _LATEST))
        found = self.page(connection, scope, conversation, cursor=cursor, limit=limit)
        return Page(list(reversed(found.items)), found.next)

    def after(
        self, connection: Connection, scope: Scope, conversation: str, at: int, limit: int = 20
    ) -> Page[ChatMessage]:
        """The oldest messages of after a time, oldest first; ``next`` is empty where nothing is newer."""
        limit = rows.limited(limit)
        later = chat_messages.c.at > min(at, _LATEST)
        query = _select().where(*rows.exactly(chat_messages, scope, conversation), later)
        found = connection.execute(query.order_by(chat_messages.c.at).limit(limit + 1)).all()
        return rows.page_of(list(found), limit, to_message, lambda message: rows.to_cursor(message.at))

    def numbered(
        self,
        connection: Connection,
        scope: Scope,
        conversation: str,
        *,
        page: int = 1,
        limit: int = 20,
        sender: str = "",
        since: int = 0,
    ) -> NumberedPage[ChatMessage]:
        """Page ``page`` counted from the newest message, oldest first inside; a page below 1 is the first.

        ``sender`` and ``since`` (later than that time) leave out others; ``total`` counts what is not left out.
        """
        limit = rows.limited(limit)
        matching = rows.exactly(chat_messages, scope, conversation)
        if sender:
            matching.append(chat_messages.c.sender == rows.storable(sender))
        if since > 0:
            matching.append(chat_messages.c.at > min(since, _LATEST))
        total = connection.execute(sa.select(sa.func.count()).select_from(chat_messages).where(*matching)).scalar_one()
        skipped = (max(page, 1) - 1) * limit
        if not limit or skipped >= total:
            return NumberedPage([], total)
        query = _select().where(*matching).order_by(chat_messages.c.at.desc()).limit(limit).offset(skipped)
        return NumberedPage([to_message(row) for row in reversed(connection.execute(query).all())], total)

    def last(self, connection: Connection, conversations: Iterable[ChatConversation]) -> dict[str, ChatMessage]:
        """The newest message of each conversation that has one, by the conversation's id."""
        newest: dict[str, ChatMessage] = {}
        for conversation in conversations:
            for message in self.page(connection, conversation.scope, conversation.id, limit=1).items:
                newest[conversation.id] = message
        return newest


class Events:
    """The table ``chat_events``. All methods work inside the caller's transaction."""

    def __init__(self, database: Database, feed: FeedRows) -> None:
        self._database = database
        self._feed = feed

    def create(
        self, connection: Connection, scope: Scope, conversation: str, sender: str, payload: Data, *, id: str = ""
    ) -> tuple[ChatEvent, list[Signal]]:
        """A new event. Raises :class:`Missing` if there is no such conversation, :class:`IdTaken`."""
        at, position = self._feed.advance(connection, scope, conversation)
        values = {
            "channel": rows.storable(scope.channel),
            "bot": rows.storable(scope.bot),
            "conversation": rows.storable(conversation),
            "at": at,
            "id": rows.written(id) or rows.new_id().lower(),
            "sender": rows.written(sender),
            "payload": rows.to_json(payload),
        }
        insert = self._database.insert(chat_events).values(values).on_conflict_do_nothing()
        if connection.execute(insert.returning(chat_events.c.id)).first() is None:
            raise IdTaken
        event = to_event([values[column.name] for column in event_columns()])
        topic = Topic(scope.channel, scope.bot, conversation)
        return event, [self._feed.record(connection, Signal(topic, EVENT_CREATED, position, at, event=event))]

    def get(self, connection: Connection, scope: Scope, id: str) -> ChatEvent | None:
        """The event with this id, None if there is none."""
        query = sa.select(*event_columns()).where(*_named(chat_events, scope, id))
        row = connection.execute(query).first()
        return to_event(row) if row else None


_LATEST = 2**62


def _select() -> sa.Select[Any]:
    return sa.select(*message_columns())


def _named(table: sa.Table, scope: Scope, id: str) -> list[sa.ColumnElement[bool]]:
    return [*rows.within(table, scope), table.c.id == rows.storable(id)]
