"""The conversations of the chat server and their participants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.chat import queries
from cometbot.chat.feed_table import FeedTable
from cometbot.chat.models import ChatConversation, ChatUser, Data, Page, Scope
from cometbot.chat.removal import mark_files_unused, remove_conversations
from cometbot.chat.users import COLUMNS as USER_COLUMNS
from cometbot.chat.users import to_user
from cometbot.errors import AlreadyExists
from cometbot.store.database import Database
from cometbot.store.tables import (
    CONVERSATION_UPDATED,
    PARTICIPANT_ADDED,
    PARTICIPANT_REMOVED,
    chat_conversations,
    chat_participants,
    chat_users,
)

_COLUMNS = queries.columns_of(chat_conversations, ChatConversation)


class Conversations:
    """The tables ``chat_conversations`` and ``chat_participants``. All methods run in the caller's transaction.

    The user who creates a conversation is its owner and a participant.
    """

    def __init__(self, database: Database, feed: FeedTable) -> None:
        self._database = database
        self._feed = feed

    def create(
        self, connection: Connection, scope: Scope, owner: str, *, id: str = "", data: Data | None = None
    ) -> ChatConversation:
        """Create a conversation. Raises :class:`AlreadyExists` if there is one with this ``id``."""
        now = queries.now_ms(self._database)
        values = {
            **queries.row_values(scope),
            "id": queries.validate_id(id) or queries.new_id().lower(),
            "owner": queries.validate_id(owner),
            "data": queries.to_json(queries.merge({}, data or {})),
            "created_at": now,
            "updated_at": now,
            "last_at": now,
            "position": 0,
        }
        insert = self._database.insert(chat_conversations).values(values).on_conflict_do_nothing()
        row = connection.execute(insert.returning(*_COLUMNS)).first()
        if row is None:
            raise AlreadyExists
        created = _to_conversation(row)
        self._insert_participant(connection, scope, created.id, owner, now)
        return created

    def _insert_participant(self, connection: Connection, scope: Scope, conversation: str, user: str, at: int) -> None:
        values = {
            **queries.row_values(scope, conversation),
            "user_id": queries.validate_id(user),
            "joined_at": at,
        }
        connection.execute(self._database.insert(chat_participants).values(values).on_conflict_do_nothing())

    def get(self, connection: Connection, scope: Scope, id: str) -> ChatConversation | None:
        """Return the conversation with this id, or None."""
        row = connection.execute(sa.select(*_COLUMNS).where(*queries.by_id(chat_conversations, scope, id))).first()
        return _to_conversation(row) if row else None

    def update(self, connection: Connection, scope: Scope, id: str, data: Data) -> ChatConversation | None:
        """Merge ``data`` into the data of a conversation. Return it, or None if there is none.

        A value None removes its key.
        """
        found = self.get(connection, scope, id)
        if found is None:
            return None
        signal = self._feed.add(connection, found.scope, found.id, CONVERSATION_UPDATED, {})
        # Read the row again: only since the line above does this transaction hold its lock.
        this = queries.by_id(chat_conversations, found.scope, id)
        stored = connection.execute(sa.select(chat_conversations.c.data).where(*this)).scalar_one()
        values = {"data": queries.to_json(queries.merge(queries.from_json(stored), data)), "updated_at": signal.at}
        change = sa.update(chat_conversations).where(*this).values(values).returning(*_COLUMNS)
        return _to_conversation(connection.execute(change).one())

    def delete(self, connection: Connection, scope: Scope, id: str) -> bool:
        """Delete the conversation with its content. Return False if there is none.

        The owner's files attached there are removed a day later, unless another message uses them, too.
        """
        found = self.get(connection, scope, id)
        if found is None:
            return False
        mark_files_unused(connection, self._database, found)
        signals = remove_conversations(connection, found.scope, chat_conversations.c.id == found.id)
        self._feed.announce(connection, signals)
        return bool(signals)

    def list_owned(
        self,
        connection: Connection,
        scope: Scope,
        owner: str,
        *,
        cursor: str = "",
        limit: int = 20,
        oldest_first: bool = False,
    ) -> Page[ChatConversation]:
        """List the conversations that ``owner`` created, newest first by default. Raises :class:`BadCursor`."""
        query = sa.select(*_COLUMNS).where(*_by_owner(scope, owner))
        return _load_page(connection, query, cursor, limit, newest_first=not oldest_first)

    def count_owned(self, connection: Connection, scope: Scope, owner: str) -> int:
        """Return the number of conversations that ``owner`` created."""
        query = sa.select(sa.func.count()).select_from(chat_conversations).where(*_by_owner(scope, owner))
        return connection.execute(query).scalar_one()

    def has_participant(self, connection: Connection, scope: Scope, conversation: str, user: str) -> bool:
        """Return True if ``user`` is a participant of an existing conversation."""
        query = sa.select(chat_participants.c.joined_at).where(*_by_participant(scope, conversation, user))
        return connection.execute(query).first() is not None

    def get_participant(self, connection: Connection, scope: Scope, conversation: str, user: str) -> ChatUser | None:
        """Return the user ``user``, or None if that user is not a participant."""
        query = _select_participants().where(*_by_participant(scope, conversation, user))
        row = connection.execute(query).first()
        return to_user(row[: len(USER_COLUMNS)]) if row else None

    def list_participants(
        self, connection: Connection, scope: Scope, conversation: str, *, cursor: str = "", limit: int = 20
    ) -> Page[ChatUser]:
        """List the participants in the order in which they joined. Raises :class:`BadCursor`."""
        query = _select_participants().where(*queries.in_conversation(chat_participants, scope, conversation))
        order = (chat_participants.c.joined_at, chat_participants.c.user_id)
        return queries.load_page(
            connection, query, order, lambda row: to_user(row[: len(USER_COLUMNS)]), cursor=cursor, limit=limit
        )

    def add_participant(self, connection: Connection, scope: Scope, conversation: str, user: str) -> None:
        """Add ``user`` as a participant. There is a signal also if the user is one already.

        Raises :class:`NotFound` if there is no such conversation.
        """
        signal = self._feed.add(connection, scope, conversation, PARTICIPANT_ADDED, {"user": user})
        self._insert_participant(connection, scope, conversation, user, signal.at)

    def remove_participant(self, connection: Connection, scope: Scope, conversation: str, user: str) -> None:
        """Remove ``user`` from the participants. There is no signal if the user is no participant."""
        if self.has_participant(connection, scope, conversation, user):
            self._feed.add(connection, scope, conversation, PARTICIPANT_REMOVED, {"user": user})
            connection.execute(sa.delete(chat_participants).where(*_by_participant(scope, conversation, user)))

    def list(
        self, connection: Connection, scope: Scope, *, cursor: str = "", limit: int = 20
    ) -> Page[ChatConversation]:
        """List all conversations, oldest first. Raises :class:`BadCursor`."""
        query = sa.select(*_COLUMNS).where(*queries.in_scope(chat_conversations, scope))
        return _load_page(connection, query, cursor, limit, newest_first=False)


def _to_conversation(row: Sequence[Any]) -> ChatConversation:
    channel, bot, id, owner, data, *rest = row
    return ChatConversation(Scope(channel, bot), id, owner, queries.from_json(data), *rest)


def _load_page(
    connection: Connection, query: sa.Select[Any], cursor: str, limit: int, *, newest_first: bool
) -> Page[ChatConversation]:
    order = (chat_conversations.c.created_at, chat_conversations.c.id)
    return queries.load_page(
        connection, query, order, _to_conversation, cursor=cursor, limit=limit, newest_first=newest_first
    )


def _by_owner(scope: Scope, owner: str) -> list[sa.ColumnElement[bool]]:
    is_own = chat_conversations.c.owner == queries.replace_unstorable(owner)
    return [*queries.in_scope(chat_conversations, scope), is_own]


def _by_participant(scope: Scope, conversation: str, user: str) -> list[sa.ColumnElement[bool]]:
    return [
        *queries.in_conversation(chat_participants, scope, conversation),
        chat_participants.c.user_id == queries.replace_unstorable(user),
    ]


def _select_participants() -> sa.Select[Any]:
    """Select the columns of the users, followed by those that sort the participants."""
    same_user = sa.and_(
        chat_users.c.channel == chat_participants.c.channel,
        chat_users.c.id == chat_participants.c.user_id,
        chat_users.c.bot == chat_participants.c.bot,
    )
    query = sa.select(*USER_COLUMNS, chat_participants.c.joined_at, chat_participants.c.user_id)
    return query.join_from(chat_participants, chat_users, same_user)
