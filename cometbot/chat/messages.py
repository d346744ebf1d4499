"""The messages and events of the chat server, ordered by time."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import Connection

from cometbot.chat import queries
from cometbot.chat.feed_table import EVENT_COLUMNS, MESSAGE_COLUMNS, FeedTable, to_event, to_message
from cometbot.chat.models import (
    ChatConversation,
    ChatEvent,
    ChatMessage,
    Data,
    Draft,
    NumberedPage,
    Page,
    PostResult,
    Scope,
    Signal,
)
from cometbot.errors import AlreadyExists
from cometbot.store.database import Database
from cometbot.store.tables import (
    EVENT_CREATED,
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    MESSAGE_UPDATED,
    chat_conversations,
    chat_events,
    chat_files,
    chat_messages,
)

UNCHANGED: Final[Data] = {}
"""The value of ``metadata`` with which :meth:`Messages.update` keeps the metadata."""

_STORED_COLUMNS = ("channel", "bot", "conversation", "at", "id", "sender", "is_bot", "payload", "metadata", "client_id")
_select_messages = sa.select(*MESSAGE_COLUMNS)
_select_by_client_id = _select_messages.where(
    *queries.bound_key(chat_messages.c.conversation), chat_messages.c.client_id == bound("client")
)


class Messages:
    """The table ``chat_messages``. All methods run in the caller's transaction.

    The time of a message is later than that of everything before it in its conversation, so it alone is its position in
    lists.
    """

    def __init__(self, database: Database, feed: FeedTable) -> None:
        self._database = database
        self._feed = feed
        values = {name: bound(name, type_=chat_messages.c[name].type) for name in _STORED_COLUMNS}
        self._insert = database.prepare(database.insert(chat_messages).values(values).on_conflict_do_nothing())
        self._select_by_client_id = database.prepare(_select_by_client_id)

    def post(self, connection: Connection, scope: Scope, conversation: str, draft: Draft) -> PostResult:
        """Store ``draft`` as a message, or return the message already posted under its ``client_id``.

        Raises :class:`NotFound` if there is no such conversation, and :class:`AlreadyExists` if another message
        has the id.
        """
        client_id = queries.validate_id(draft.client_id)
        existing = self.find_by_client_id(connection, scope, conversation, client_id)
        if existing is not None:
            return PostResult(existing, is_new=False)
        at, position = self._feed.advance(connection, scope, conversation)
        values = {
            **queries.row_values(scope, conversation),
            "at": at,
            "id": queries.validate_id(draft.id) or queries.new_id().lower(),
            "sender": queries.validate_id(draft.sender),
            "is_bot": draft.is_bot,
            "payload": queries.to_json(draft.payload),
            "metadata": None if draft.metadata is None else queries.to_json(draft.metadata),
            "client_id": client_id or None,
        }
        if self._insert(connection, values).rowcount == 0:
            # Perhaps another process posted it under this client id while this one waited for the lock.
            existing = self.find_by_client_id(connection, scope, conversation, client_id)
            if existing is None:
                raise AlreadyExists
            return PostResult(existing, is_new=False)
        if draft.files:
            self._mark_files_used(connection, scope, draft.files, at)
        message = to_message([values.get(column.name) for column in MESSAGE_COLUMNS])
        self._feed.save(connection, Signal(scope.topic(conversation), MESSAGE_CREATED, position, at, message=message))
        return PostResult(message, is_new=True)

    def find_by_client_id(
        self, connection: Connection, scope: Scope, conversation: str, client_id: str
    ) -> ChatMessage | None:
        """Return the message posted under ``client_id``, or None."""
        if not client_id:
            return None
        values = {**queries.key_values(scope, conversation), "client": queries.replace_unstorable(client_id)}
        found = self._select_by_client_id(connection, values).fetchall()
        return to_message(found[0]) if found else None

    def find_by_owner(self, connection: Connection, scope: Scope, owner: str, client_id: str) -> ChatMessage | None:
        """Return the message posted under ``client_id`` in any conversation of ``owner``, or None."""
        query = _select_messages.select_from(chat_conversations).join(chat_messages, queries.in_same_conversation())
        query = query.where(
            *queries.in_scope(chat_conversations, scope),
            chat_conversations.c.owner == queries.replace_unstorable(owner),
            chat_messages.c.client_id == queries.replace_unstorable(client_id),
        )
        row = connection.execute(query).first()
        return to_message(row) if row else None

    @staticmethod
    def _mark_files_used(connection: Connection, scope: Scope, files: Collection[str], at: int) -> None:
        """Mark files as used: those of the bot, and those of the channel that belong to no bot."""
        columns = chat_files.c
        own = columns.bot.in_([queries.replace_unstorable(scope.bot), ""])
        named = columns.id.in_([queries.replace_unstorable(id) for id in files])
        used = sa.update(chat_files).where(columns.channel == queries.replace_unstorable(scope.channel), own, named)
        connection.execute(used.where(columns.used_at.is_(None)).values(used_at=at))

    def get(self, connection: Connection, scope: Scope, id: str) -> ChatMessage | None:
        """Return the message with this id, or None."""
        row = connection.execute(_select_messages.where(*queries.by_id(chat_messages, scope, id))).first()
        return to_message(row) if row else None

    def update(
        self, connection: Connection, scope: Scope, id: str, payload: Data, metadata: Data | None = UNCHANGED
    ) -> ChatMessage | None:
        """Set the payload of a message, and its metadata unless :data:`UNCHANGED`. Return it, or None if there is none.

        Raises :class:`NotFound` if its conversation is deleted at the same time.
        """
        found = self.get(connection, scope, id)
        if found is None:
            return None
        at, position = self._feed.advance(connection, found.scope, found.conversation)
        values: dict[str, Any] = {"payload": queries.to_json(payload), "edited_at": at}
        if metadata is not UNCHANGED:
            values["metadata"] = None if metadata is None else queries.to_json(metadata)
        changed = sa.update(chat_messages).where(*queries.by_id(chat_messages, found.scope, id)).values(values)
        row = connection.execute(changed.returning(*MESSAGE_COLUMNS)).first()
        if row is None:
            return None
        message = to_message(row)
        topic = found.scope.topic(found.conversation)
        self._feed.save(connection, Signal(topic, MESSAGE_UPDATED, position, at, message=message))
        return message

    def delete(self, connection: Connection, scope: Scope, id: str) -> bool:
        """Delete the message. Return False if there is none."""
        found = self.get(connection, scope, id)
        if found is None:
            return False
        data = {"id": found.id, "sender": found.sender}
        self._feed.add(connection, found.scope, found.conversation, MESSAGE_DELETED, data)
        deletion = sa.delete(chat_messages).where(*queries.by_id(chat_messages, found.scope, id))
        return connection.execute(deletion).rowcount > 0

    def list_newest(
        self, connection: Connection, scope: Scope, conversation: str, *, cursor: str = "", limit: int = 20
    ) -> Page[ChatMessage]:
        """List the messages, newest first. New messages do not move others to another page.

        Raises :class:`BadCursor`.
        """
        query = _select_messages.where(*queries.in_conversation(chat_messages, scope, conversation))
        return queries.load_page(
            connection, query, (chat_messages.c.at,), to_message, cursor=cursor, limit=limit, newest_first=True
        )

    def list_before(
        self, connection: Connection, scope: Scope, conversation: str, at: int | None = None, limit: int = 20
    ) -> Page[ChatMessage]:
        """List the newest messages before a time, oldest first. ``next`` is empty if there are no older ones."""
        cursor = "" if at is None else queries.encode_cursor(min(at, _MAX_TIME))
        found = self.list_newest(connection, scope, conversation, cursor=cursor, limit=limit)
        return Page(list(reversed(found.items)), found.next)

    def list_after(
        self, connection: Connection, scope: Scope, conversation: str, at: int, limit: int = 20
    ) -> Page[ChatMessage]:
        """List the oldest messages after a time, oldest first. ``next`` is empty if there are no newer ones."""
        query = _select_messages.where(
            *queries.in_conversation(chat_messages, scope, conversation), chat_messages.c.at > min(at, _MAX_TIME)
        )
        return queries.load_page(connection, query, (chat_messages.c.at,), to_message, cursor="", limit=limit)

    def list_numbered(
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
        """Return page ``page``, counted from the newest message, oldest first within it.

        A page below 1 is the first. Only messages of ``sender`` and later than ``since`` are listed, if these are
        given. ``total`` counts only these.
        """
        limit = queries.clamp_limit(limit)
        matching = queries.in_conversation(chat_messages, scope, conversation)
        if sender:
            matching.append(chat_messages.c.sender == queries.replace_unstorable(sender))
        if since > 0:
            matching.append(chat_messages.c.at > min(since, _MAX_TIME))
        total = connection.execute(sa.select(sa.func.count()).select_from(chat_messages).where(*matching)).scalar_one()
        skipped = (max(page, 1) - 1) * limit
        if not limit or skipped >= total:
            return NumberedPage([], total)
        query = _select_messages.where(*matching).order_by(chat_messages.c.at.desc()).limit(limit).offset(skipped)
        return NumberedPage([to_message(row) for row in reversed(connection.execute(query).all())], total)

    def get_newest(self, connection: Connection, conversations: Iterable[ChatConversation]) -> dict[str, ChatMessage]:
        """Return the newest message of each conversation that has one, by the conversation's id."""
        newest: dict[str, ChatMessage] = {}
        for conversation in conversations:
            for message in self.list_newest(connection, conversation.scope, conversation.id, limit=1).items:
                newest[conversation.id] = message
        return newest


class Events:
    """The table ``chat_events``. All methods run in the caller's transaction."""

    def __init__(self, database: Database, feed: FeedTable) -> None:
        self._database = database
        self._feed = feed

    def create(
        self, connection: Connection, scope: Scope, conversation: str, sender: str, payload: Data, *, id: str = ""
    ) -> ChatEvent:
        """Create an event and return it.

        Raises :class:`NotFound` if there is no such conversation, and :class:`AlreadyExists` if another event
        has the id.
        """
        at, position = self._feed.advance(connection, scope, conversation)
        values = {
            **queries.row_values(scope, conversation),
            "at": at,
            "id": queries.validate_id(id) or queries.new_id().lower(),
            "sender": queries.validate_id(sender),
            "payload": queries.to_json(payload),
        }
        insert = self._database.insert(chat_events).values(values).on_conflict_do_nothing()
        if connection.execute(insert.returning(chat_events.c.id)).first() is None:
            raise AlreadyExists
        event = to_event([values[column.name] for column in EVENT_COLUMNS])
        self._feed.save(connection, Signal(scope.topic(conversation), EVENT_CREATED, position, at, event=event))
        return event

    def get(self, connection: Connection, scope: Scope, id: str) -> ChatEvent | None:
        """Return the event with this id, or None."""
        query = sa.select(*EVENT_COLUMNS).where(*queries.by_id(chat_events, scope, id))
        row = connection.execute(query).first()
        return to_event(row) if row else None


_MAX_TIME = 2**62
