"""The users of the chat server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.chat import queries
from cometbot.chat.feed_table import FeedTable
from cometbot.chat.models import ChatUser, Data, Page, Removal, Scope, Signal
from cometbot.chat.removal import remove_conversations
from cometbot.errors import AlreadyExists, NotFound
from cometbot.store.database import Database
from cometbot.store.tables import (
    MESSAGE_DELETED,
    PARTICIPANT_REMOVED,
    chat_conversations,
    chat_events,
    chat_files,
    chat_messages,
    chat_participants,
    chat_users,
    facts,
)

BATCH_LIMIT = 100
"""The messages that one step of a removal deletes."""

_REMOVAL_PREFIX = "chat-removal:"


COLUMNS = queries.columns_of(chat_users, ChatUser)


class Users:
    """The table ``chat_users``. All methods run in the caller's transaction."""

    def __init__(self, database: Database, feed: FeedTable) -> None:
        self._database = database
        self._feed = feed

    def create(self, connection: Connection, scope: Scope, data: Data, *, id: str = "") -> ChatUser:
        """Create a user. Raises :class:`AlreadyExists` if there is one with this ``id``."""
        user = self._insert(connection, scope, id, data)
        if user is None:
            raise AlreadyExists
        return user

    def get_or_create(self, connection: Connection, scope: Scope, id: str, data: Data) -> tuple[ChatUser, bool]:
        """Return the user with this ``id`` and whether it is new. ``data`` is merged into that of an existing one.

        Raises :class:`NotFound` if the user is removed at the same time.
        """
        if user := self._insert(connection, scope, id, data):
            return user, True
        existing = self.update(connection, scope, id, data) if data else self.get(connection, scope, id)
        if existing is None:
            raise NotFound("the user was removed at the same moment. Retry.")
        return existing, False

    def _insert(self, connection: Connection, scope: Scope, id: str, data: Data) -> ChatUser | None:
        """Return the new user, or None if there is one with this ``id``."""
        now = queries.now_ms(self._database)
        values = {
            **queries.row_values(scope),
            "id": queries.validate_id(id) or queries.new_id().lower(),
            "data": queries.to_json(queries.merge({}, data)),
            "created_at": now,
            "updated_at": now,
            "seen_at": now,
        }
        insert = self._database.insert(chat_users).values(values).on_conflict_do_nothing()
        row = connection.execute(insert.returning(*COLUMNS)).first()
        return to_user(row) if row else None

    def get(self, connection: Connection, scope: Scope, id: str) -> ChatUser | None:
        """Return the user with this id, or None."""
        row = connection.execute(_select(scope, id)).first()
        return to_user(row) if row else None

    def get_for_update(self, connection: Connection, scope: Scope, id: str) -> ChatUser | None:
        """Like :meth:`get`, but lock the row, so that the user is not removed before the transaction ends."""
        row = connection.execute(_select(scope, id).with_for_update()).first()
        return to_user(row) if row else None

    def update(self, connection: Connection, scope: Scope, id: str, data: Data) -> ChatUser | None:
        """Merge ``data`` into the user's data and return the user, or None if there is none.

        A value None removes its key.
        """
        user = self.get_for_update(connection, scope, id)
        if user is None:
            return None
        now = max(queries.now_ms(self._database), user.updated_at + 1)
        values = {"data": queries.to_json(queries.merge(user.data, data)), "updated_at": now}
        change = sa.update(chat_users).where(*queries.by_id(chat_users, scope, id)).values(values)
        return to_user(connection.execute(change.returning(*COLUMNS)).one())

    def delete(self, connection: Connection, scope: Scope, id: str) -> bool:
        """Delete the user with everything that belongs to them. Return False if there is no such user.

        This covers the conversations that the user owns, with everybody's messages there; messages, events and
        participations in those of others; and files.
        """
        removal = self.start_delete(connection, scope, id)
        is_finished = removal is None
        while removal is not None and not is_finished:
            is_finished = self.continue_delete(connection, removal)[1]
        return removal is not None

    def start_delete(self, connection: Connection, scope: Scope, id: str) -> Removal | None:
        """Like :meth:`delete`, but leave the messages in the conversations of others, which may be many.

        Return the removal to continue. The user no longer exists then, and the id is free.
        """
        if connection.execute(sa.delete(chat_users).where(*queries.by_id(chat_users, scope, id))).rowcount == 0:
            return None
        user = queries.replace_unstorable(id)
        signals = remove_conversations(connection, scope, chat_conversations.c.owner == user)
        self._feed.announce(connection, signals)
        self._remove_data(connection, scope, user)
        latest_query = sa.select(sa.func.max(chat_messages.c.at)).where(*_messages_of(scope, user))
        latest = connection.execute(latest_query).scalar() or 0
        removal = Removal(f"{_REMOVAL_PREFIX}{queries.new_id()}", scope, user, latest)
        value = queries.to_json({"channel": scope.channel, "bot": scope.bot, "user": user, "before": latest})
        connection.execute(sa.insert(facts).values(name=removal.name, value=value))
        return removal

    def continue_delete(self, connection: Connection, removal: Removal) -> tuple[list[Signal], bool]:
        """Delete some more of what :meth:`start_delete` left. Return the signals, and True if nothing is left.

        Call it in one short transaction after the other until then.
        """
        unfinished = sa.select(facts.c.name).where(facts.c.name == removal.name)
        if connection.execute(unfinished.with_for_update()).first() is None:
            return [], True
        columns = chat_messages.c
        batch = sa.select(columns.channel, columns.bot, columns.conversation, columns.id, columns.sender)
        batch = batch.where(*_messages_of(removal.scope, removal.user), columns.at <= removal.before)
        found = connection.execute(batch.limit(BATCH_LIMIT + 1)).all()
        signals = self._delete_rows(connection, MESSAGE_DELETED, found[:BATCH_LIMIT], columns.id)
        is_finished = len(found) <= BATCH_LIMIT
        if is_finished:
            connection.execute(sa.delete(facts).where(facts.c.name == removal.name))
        return signals, is_finished

    def find_unfinished_removals(self, connection: Connection, channel: str) -> list[Removal]:
        """Return the removals that :meth:`start_delete` began and that are not finished, oldest first.

        They are those of all bots of a channel.
        """
        named = facts.c.name.startswith(_REMOVAL_PREFIX)
        found = connection.execute(sa.select(facts).where(named).order_by(facts.c.name)).all()
        values = [(name, queries.from_json(value)) for name, value in found]
        return [
            Removal(name, Scope(channel, value["bot"]), value["user"], value["before"])
            for name, value in values
            if value["channel"] == channel
        ]

    def _remove_data(self, connection: Connection, scope: Scope, user: str) -> None:
        """Delete a user's events, files and participations in the conversations of others."""
        columns = chat_participants.c
        rows = sa.select(columns.channel, columns.bot, columns.conversation, columns.user_id, columns.user_id)
        rows = rows.where(*queries.in_scope(chat_participants, scope), columns.user_id == user)
        self._delete_rows(connection, PARTICIPANT_REMOVED, connection.execute(rows).all(), columns.user_id)
        own = (*queries.in_scope(chat_events, scope), chat_events.c.sender == user)
        connection.execute(sa.delete(chat_events).where(*own))
        files = (*queries.in_scope(chat_files, scope), chat_files.c.owner == user)
        connection.execute(sa.update(chat_files).where(*files).values(removed=True))

    def _delete_rows(
        self, connection: Connection, kind: str, found: Iterable[Any], column: sa.Column[str]
    ) -> list[Signal]:
        """Delete the rows ``found``, each given by its conversation, its id in ``column``, and a user.

        Return the signals. Conversations are locked before their rows, and all callers lock them in the same order, so
        that there are no deadlocks.
        """
        signals = []
        for channel, bot, conversation, id, user in sorted(tuple(row) for row in found):
            scope = Scope(channel, bot)
            data = {"id": id, "sender": user} if kind == MESSAGE_DELETED else {"user": user}
            with suppress(NotFound):
                signals.append(self._feed.add(connection, scope, conversation, kind, data))
            here = queries.in_conversation(column.table, scope, conversation)
            connection.execute(sa.delete(column.table).where(*here, column == id))
        return signals

    def list(self, connection: Connection, scope: Scope, *, cursor: str = "", limit: int = 20) -> Page[ChatUser]:
        """List the users, oldest first. Raises :class:`BadCursor`."""
        query = sa.select(*COLUMNS).where(*queries.in_scope(chat_users, scope))
        order = (chat_users.c.created_at, chat_users.c.id)
        return queries.load_page(connection, query, order, to_user, cursor=cursor, limit=limit)


def to_user(row: Sequence[Any]) -> ChatUser:
    """Return the user in the :data:`COLUMNS` of a row."""
    channel, bot, id, data, *times = row
    return ChatUser(Scope(channel, bot), id, queries.from_json(data), *times)


def _select(scope: Scope, id: str) -> sa.Select[Any]:
    return sa.select(*COLUMNS).where(*queries.by_id(chat_users, scope, id))


def _messages_of(scope: Scope, user: str) -> list[sa.ColumnElement[bool] | sa.TextClause]:
    # Literally the condition of the index by sender, or SQLite does not use it.
    is_from_user = sa.text("NOT is_bot")
    return [*queries.in_scope(chat_messages, scope), chat_messages.c.sender == user, is_from_user]
