"""The users of the chat server."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.chat import queries
from cometbot.chat.feed_table import FeedTable
from cometbot.chat.models import ChatUser, Data, Page, Scope, Signal
from cometbot.chat.removal import (
    Removal,
    continue_removal,
    find_unfinished,
    remove_conversations,
    remove_user_data,
    start_removal,
)
from cometbot.errors import AlreadyExists, NotFound
from cometbot.store.database import Database
from cometbot.store.tables import chat_users


class Users:
    """The table ``chat_users``. All methods run in the caller's transaction."""

    def __init__(self, database: Database, feed: FeedTable) -> None:
        self._database = database
        self._feed = feed

    def create(self, connection: Connection, scope: Scope, data: Data, *, id: str = "") -> ChatUser:
        """Create a user. Raises :class:`AlreadyExists` if there is one with this ``id``."""
        user, is_new = self._insert(connection, scope, id, data)
        if not is_new:
            raise AlreadyExists
        return user

    def get_or_create(self, connection: Connection, scope: Scope, id: str, data: Data) -> tuple[ChatUser, bool]:
        """Return the user with this ``id`` and whether it is new. ``data`` is merged into that of an existing one.

        Raises :class:`NotFound` if the user is removed at the same time.
        """
        user, is_new = self._insert(connection, scope, id, data)
        if is_new or not data:
            return user, is_new
        return self.update(connection, scope, id, data) or user, False

    def _insert(self, connection: Connection, scope: Scope, id: str, data: Data) -> tuple[ChatUser, bool]:
        now = queries.now_ms(self._database)
        values = {
            "channel": queries.replace_unstorable(scope.channel),
            "bot": queries.replace_unstorable(scope.bot),
            "id": queries.validate_id(id) or queries.new_id().lower(),
            "data": queries.to_json(queries.merge({}, data)),
            "created_at": now,
            "updated_at": now,
            "seen_at": now,
        }
        insert = self._database.insert(chat_users).values(values).on_conflict_do_nothing()
        is_new = connection.execute(insert.returning(chat_users.c.id)).first() is not None
        found = self.get(connection, scope, str(values["id"]))
        if found is None:
            raise NotFound("the user was removed just now; ask again")
        return found, is_new

    def get(self, connection: Connection, scope: Scope, id: str) -> ChatUser | None:
        """Return the user with this id, or None."""
        row = connection.execute(sa.select(chat_users).where(*_by_id(scope, id))).mappings().first()
        return to_user(row) if row else None

    def get_for_update(self, connection: Connection, scope: Scope, id: str) -> ChatUser | None:
        """Like :meth:`get`, but lock the row, so that the user is not removed before the transaction ends."""
        row = connection.execute(sa.select(chat_users).where(*_by_id(scope, id)).with_for_update()).mappings().first()
        return to_user(row) if row else None

    def update(self, connection: Connection, scope: Scope, id: str, data: Data) -> ChatUser | None:
        """Merge ``data`` into the user's data and return the user, or None if there is none.

        A value None removes its key.
        """
        query = sa.select(chat_users).where(*_by_id(scope, id)).with_for_update()
        row = connection.execute(query).mappings().first()
        if row is None:
            return None
        now = max(queries.now_ms(self._database), row["updated_at"] + 1)
        values = {"data": queries.to_json(queries.merge(queries.from_json(row["data"]), data)), "updated_at": now}
        connection.execute(sa.update(chat_users).where(*_by_id(scope, id)).values(values))
        return to_user({**row, **values})

    def update_seen_at(self, connection: Connection, scope: Scope, id: str) -> None:
        """Record that the user is present now."""
        now = queries.now_ms(self._database)
        connection.execute(sa.update(chat_users).where(*_by_id(scope, id)).values(seen_at=now))

    def delete(self, connection: Connection, scope: Scope, id: str) -> list[Signal] | None:
        """Delete the user with everything that belongs to them. Return the signals; None if there is no such user.

        This covers the conversations that the user owns, with everybody's messages there; messages, events and
        participations in those of others; and files.
        """
        started = self.start_delete(connection, scope, id)
        if started is None:
            return None
        removal, signals = started
        is_finished = False
        while not is_finished:
            more, is_finished = self.continue_delete(connection, removal)
            signals += more
        return signals

    def start_delete(self, connection: Connection, scope: Scope, id: str) -> tuple[Removal, list[Signal]] | None:
        """Like :meth:`delete`, but leave the messages in the conversations of others, which may be many.

        Return the removal to continue and the signals. The user no longer exists then, and the id is free.
        """
        if connection.execute(sa.delete(chat_users).where(*_by_id(scope, id))).rowcount == 0:
            return None
        signals = remove_conversations(connection, scope, owner=id)
        signals += remove_user_data(connection, self._feed, scope, id)
        return start_removal(connection, self._database, scope, id), signals

    def continue_delete(self, connection: Connection, removal: Removal) -> tuple[list[Signal], bool]:
        """Delete some more of what :meth:`start_delete` left. Return the signals, and True if nothing is left.

        Call it in one short transaction after the other until then.
        """
        return continue_removal(connection, self._feed, removal)

    def find_unfinished_removals(self, connection: Connection, channel: str) -> list[Removal]:
        """Return the removals that :meth:`start_delete` began and that are not finished, of all bots of a channel."""
        return find_unfinished(connection, channel)

    def list(self, connection: Connection, scope: Scope, *, cursor: str = "", limit: int = 20) -> Page[ChatUser]:
        """List the users, oldest first. Raises :class:`BadCursor`."""
        limit = queries.clamp_limit(limit)
        sort_key = sa.tuple_(chat_users.c.created_at, chat_users.c.id)
        query = sa.select(chat_users).where(*queries.in_scope(chat_users, scope))
        if cursor:
            query = query.where(sort_key > sa.tuple_(*queries.decode_cursor(cursor, int, str)))
        query = query.order_by(chat_users.c.created_at, chat_users.c.id).limit(limit + 1)
        found = list(connection.execute(query).mappings())
        return queries.make_page(found, limit, to_user, lambda user: queries.encode_cursor(user.created_at, user.id))

    def count(self, connection: Connection, scope: Scope) -> int:
        """Return the number of users."""
        query = sa.select(sa.func.count()).select_from(chat_users).where(*queries.in_scope(chat_users, scope))
        return connection.execute(query).scalar_one()


def to_user(row: Any) -> ChatUser:
    """Return the user in a row of the table."""
    scope = Scope(row["channel"], row["bot"])
    data = queries.from_json(row["data"])
    return ChatUser(scope, row["id"], data, row["created_at"], row["updated_at"], row["seen_at"])


def _by_id(scope: Scope, id: str) -> list[sa.ColumnElement[bool]]:
    return [*queries.in_scope(chat_users, scope), chat_users.c.id == queries.replace_unstorable(id)]
