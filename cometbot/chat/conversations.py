"""The conversations of the chat server and their participants."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.chat import queries
from cometbot.chat.feed_table import FeedTable
from cometbot.chat.models import (
    CONVERSATION_UPDATED,
    PARTICIPANT_ADDED,
    PARTICIPANT_REMOVED,
    ChatConversation,
    ChatUser,
    Data,
    Page,
    Scope,
    Signal,
)
from cometbot.chat.removal import mark_files_unused, remove_conversations
from cometbot.chat.users import to_user
from cometbot.errors import AlreadyExists, NotFound
from cometbot.store.database import Database
from cometbot.store.tables import chat_conversations, chat_participants, chat_users


class Conversations:
    """The tables ``chat_conversations`` and ``chat_participants``. All methods run in the caller's transaction.

    The user who creates a conversation is its owner and a participant. The caller publishes the returned signals after
    the commit.
    """

    def __init__(self, database: Database, feed: FeedTable) -> None:
        self._database = database
        self._feed = feed

    def create(
        self, connection: Connection, scope: Scope, owner: str, *, id: str = "", data: Data | None = None
    ) -> ChatConversation:
        """Create a conversation. Raises :class:`AlreadyExists` if there is one with this ``id``."""
        created, is_new = self._insert(connection, scope, owner, id, data or {})
        if not is_new:
            raise AlreadyExists
        return created

    def get_or_create(
        self, connection: Connection, scope: Scope, owner: str, id: str, data: Data | None = None
    ) -> tuple[ChatConversation, bool]:
        """Return the conversation with this ``id`` and whether it is new. ``owner`` owns only a new one.

        Raises :class:`NotFound` if it is removed at the same time.
        """
        return self._insert(connection, scope, owner, id, data or {})

    def _insert(
        self, connection: Connection, scope: Scope, owner: str, id: str, data: Data
    ) -> tuple[ChatConversation, bool]:
        now = queries.now_ms(self._database)
        values: dict[str, Any] = {
            "channel": queries.replace_unstorable(scope.channel),
            "bot": queries.replace_unstorable(scope.bot),
            "id": queries.validate_id(id) or queries.new_id().lower(),
            "owner": queries.validate_id(owner),
            "data": queries.to_json(queries.merge({}, data)),
            "created_at": now,
            "updated_at": now,
            "last_at": now,
            "position": 0,
        }
        insert = self._database.insert(chat_conversations).values(values).on_conflict_do_nothing()
        is_new = connection.execute(insert.returning(chat_conversations.c.id)).first() is not None
        if is_new:
            self._insert_participant(connection, scope, values["id"], owner, now)
            return to_conversation(values), True
        found = self.get(connection, scope, values["id"])
        if found is None:
            raise NotFound("the conversation was removed just now; ask again")
        return found, False

    def _insert_participant(self, connection: Connection, scope: Scope, conversation: str, user: str, at: int) -> None:
        values = {
            "channel": queries.replace_unstorable(scope.channel),
            "bot": queries.replace_unstorable(scope.bot),
            "conversation": queries.replace_unstorable(conversation),
            "user_id": queries.validate_id(user),
            "joined_at": at,
        }
        connection.execute(self._database.insert(chat_participants).values(values).on_conflict_do_nothing())

    def get(self, connection: Connection, scope: Scope, id: str) -> ChatConversation | None:
        """Return the conversation with this id, or None."""
        row = connection.execute(sa.select(chat_conversations).where(*_by_id(scope, id))).mappings().first()
        return to_conversation(row) if row else None

    def update(
        self, connection: Connection, scope: Scope, id: str, data: Data
    ) -> tuple[ChatConversation, list[Signal]] | None:
        """Merge ``data`` into the data of a conversation. Return it with the signals, or None if there is none.

        A value None removes its key.
        """
        found = self.get(connection, scope, id)
        if found is None:
            return None
        signal = self._feed.add(connection, found.scope, found.id, CONVERSATION_UPDATED, {})
        # Read the row again: only since the line above does this transaction hold its lock.
        row = connection.execute(sa.select(chat_conversations).where(*_by_id(found.scope, id))).mappings().one()
        values = {"data": queries.to_json(queries.merge(queries.from_json(row["data"]), data)), "updated_at": signal.at}
        connection.execute(sa.update(chat_conversations).where(*_by_id(found.scope, id)).values(values))
        return to_conversation({**row, **values}), [signal]

    def delete(self, connection: Connection, scope: Scope, id: str) -> list[Signal] | None:
        """Delete the conversation with its content, and return the signals; None if there is none.

        The owner's files attached there are removed a day later, unless another message uses them, too.
        """
        if not id:
            return None
        mark_files_unused(connection, self._database, scope, id)
        return remove_conversations(connection, scope, id=id) or None

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
        query = sa.select(chat_conversations).where(
            *queries.in_scope(chat_conversations, scope),
            chat_conversations.c.owner == queries.replace_unstorable(owner),
        )
        return _page(connection, query, cursor, limit, oldest_first=oldest_first)

    def count_owned(self, connection: Connection, scope: Scope, owner: str) -> int:
        """Return the number of conversations that ``owner`` created."""
        own = (
            *queries.in_scope(chat_conversations, scope),
            chat_conversations.c.owner == queries.replace_unstorable(owner),
        )
        return connection.execute(sa.select(sa.func.count()).select_from(chat_conversations).where(*own)).scalar_one()

    def has_participant(self, connection: Connection, scope: Scope, conversation: str, user: str) -> bool:
        """Return True if ``user`` is a participant of an existing conversation."""
        query = sa.select(chat_participants.c.joined_at).where(*_by_participant(scope, conversation, user))
        return connection.execute(query).first() is not None

    def get_participant(self, connection: Connection, scope: Scope, conversation: str, user: str) -> ChatUser | None:
        """Return the user ``user``, or None if that user is not a participant."""
        query = _select_participants().where(*_by_participant(scope, conversation, user))
        row = connection.execute(query).mappings().first()
        return to_user(row) if row else None

    def list_participants(
        self, connection: Connection, scope: Scope, conversation: str, *, cursor: str = "", limit: int = 20
    ) -> Page[ChatUser]:
        """List the participants in the order in which they joined. Raises :class:`BadCursor`."""
        limit = queries.clamp_limit(limit)
        query = _select_participants().where(*queries.in_conversation(chat_participants, scope, conversation))
        if cursor:
            at, user = queries.decode_cursor(cursor, int, str)
            query = query.where(
                sa.tuple_(chat_participants.c.joined_at, chat_participants.c.user_id) > sa.tuple_(at, user)
            )
        query = query.order_by(chat_participants.c.joined_at, chat_participants.c.user_id).limit(limit + 1)
        found = list(connection.execute(query).mappings())
        joined = {row["id"]: row["joined_at"] for row in found}
        return queries.make_page(found, limit, to_user, lambda user: queries.encode_cursor(joined[user.id], user.id))

    def add_participant(self, connection: Connection, scope: Scope, conversation: str, user: str) -> list[Signal]:
        """Add ``user`` as a participant and return the signals, also if the user is one already.

        Raises :class:`NotFound` if there is no such conversation.
        """
        signal = self._feed.add(connection, scope, conversation, PARTICIPANT_ADDED, {"user": user})
        self._insert_participant(connection, scope, conversation, user, signal.at)
        return [signal]

    def remove_participant(self, connection: Connection, scope: Scope, conversation: str, user: str) -> list[Signal]:
        """Remove ``user`` from the participants and return the signals; none if the user is no participant."""
        if not self.has_participant(connection, scope, conversation, user):
            return []
        signal = self._feed.add(connection, scope, conversation, PARTICIPANT_REMOVED, {"user": user})
        deletion = sa.delete(chat_participants).where(*_by_participant(scope, conversation, user))
        return [signal] if connection.execute(deletion).rowcount else []

    def list(
        self, connection: Connection, scope: Scope, *, cursor: str = "", limit: int = 20
    ) -> Page[ChatConversation]:
        """List all conversations, oldest first. Raises :class:`BadCursor`."""
        query = sa.select(chat_conversations).where(*queries.in_scope(chat_conversations, scope))
        return _page(connection, query, cursor, limit, oldest_first=True)


def to_conversation(row: Any) -> ChatConversation:
    """Return the conversation in a row of the table."""
    return ChatConversation(
        Scope(row["channel"], row["bot"]),
        row["id"],
        row["owner"],
        queries.from_json(row["data"]),
        row["created_at"],
        row["updated_at"],
        row["last_at"],
        row["position"],
    )


def _page(
    connection: Connection, query: sa.Select[Any], cursor: str, limit: int, *, oldest_first: bool
) -> Page[ChatConversation]:
    limit, columns = queries.clamp_limit(limit), chat_conversations.c
    sort_key = sa.tuple_(columns.created_at, columns.id)
    if cursor:
        start = sa.tuple_(*queries.decode_cursor(cursor, int, str))
        query = query.where(sort_key > start if oldest_first else sort_key < start)
    order = [columns.created_at, columns.id]
    query = query.order_by(*(order if oldest_first else [column.desc() for column in order])).limit(limit + 1)
    found = list(connection.execute(query).mappings())
    return queries.make_page(
        found, limit, to_conversation, lambda item: queries.encode_cursor(item.created_at, item.id)
    )


def _by_id(scope: Scope, id: str) -> list[sa.ColumnElement[bool]]:
    return [*queries.in_scope(chat_conversations, scope), chat_conversations.c.id == queries.replace_unstorable(id)]


def _by_participant(scope: Scope, conversation: str, user: str) -> list[sa.ColumnElement[bool]]:
    return [
        *queries.in_conversation(chat_participants, scope, conversation),
        chat_participants.c.user_id == queries.replace_unstorable(user),
    ]


def _select_participants() -> sa.Select[Any]:
    return sa.select(chat_users, chat_participants.c.joined_at).join(
        chat_users,
        sa.and_(
            chat_users.c.channel == chat_participants.c.channel,
            chat_users.c.id == chat_participants.c.user_id,
            chat_users.c.bot == chat_participants.c.bot,
        ),
    )
