"""The users of the chat server."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.chat import rows
from cometbot.chat.feed import FeedRows
from cometbot.chat.models import ChatUser, Data, Page, Scope, Signal
from cometbot.chat.removal import Removal, begin_removal, go_on, remove_conversations, remove_traces, unfinished
from cometbot.errors import IdTaken, Missing
from cometbot.store.database import Database
from cometbot.store.tables import chat_users


class Users:
    """The table ``chat_users``. All methods work inside the caller's transaction."""

    def __init__(self, database: Database, feed: FeedRows) -> None:
        self._database = database
        self._feed = feed

    def create(self, connection: Connection, scope: Scope, data: Data, *, id: str = "") -> ChatUser:
        """A new user. Raises :class:`IdTaken` if there is one with this ``id``."""
        user, is_new = self._insert(connection, scope, id, data)
        if not is_new:
            raise IdTaken
        return user

    def ensure(self, connection: Connection, scope: Scope, id: str, data: Data) -> tuple[ChatUser, bool]:
        """The user with this ``id``, and whether it is new; one that is there gets ``data`` over its own."""
        user, is_new = self._insert(connection, scope, id, data)
        if is_new or not data:
            return user, is_new
        return self.update(connection, scope, id, data) or user, False

    def _insert(self, connection: Connection, scope: Scope, id: str, data: Data) -> tuple[ChatUser, bool]:
        now = rows.milliseconds(self._database)
        values = {
            "channel": rows.storable(scope.channel),
            "bot": rows.storable(scope.bot),
            "id": rows.written(id) or rows.new_id().lower(),
            "data": rows.to_json(rows.merged({}, data)),
            "created_at": now,
            "updated_at": now,
            "seen_at": now,
        }
        insert = self._database.insert(chat_users).values(values).on_conflict_do_nothing()
        is_new = connection.execute(insert.returning(chat_users.c.id)).first() is not None
        found = self.get(connection, scope, str(values["id"]))
        if found is None:
            raise Missing("the user was removed just now; ask again")
        return found, is_new

    def get(self, connection: Connection, scope: Scope, id: str) -> ChatUser | None:
        """The user with this id, None if there is none."""
        row = connection.execute(sa.select(chat_users).where(*_named(scope, id))).mappings().first()
        return to_user(row) if row else None

    def hold(self, connection: Connection, scope: Scope, id: str) -> ChatUser | None:
        """As :meth:`get`, and nobody can remove the user before this transaction ends."""
        row = connection.execute(sa.select(chat_users).where(*_named(scope, id)).with_for_update()).mappings().first()
        return to_user(row) if row else None

    def update(self, connection: Connection, scope: Scope, id: str, data: Data) -> ChatUser | None:
        """The user with ``data`` over its own (a value None takes its key away); None if there is none."""
        locked = sa.select(chat_users).where(*_named(scope, id)).with_for_update()
        row = connection.execute(locked).mappings().first()
        if row is None:
            return None
        now = max(rows.milliseconds(self._database), row["updated_at"] + 1)
        values = {"data": rows.to_json(rows.merged(rows.from_json(row["data"]), data)), "updated_at": now}
        connection.execute(sa.update(chat_users).where(*_named(scope, id)).values(values))
        return to_user({**row, **values})

    def seen(self, connection: Connection, scope: Scope, id: str) -> None:
        """Note that the user is here now."""
        now = rows.milliseconds(self._database)
        connection.execute(sa.update(chat_users).where(*_named(scope, id)).values(seen_at=now))

    def delete(self, connection: Connection, scope: Scope, id: str) -> list[Signal] | None:
        """What happened by removing the user with all that is one's own; None if there is none.

        That is: the conversations that the user made, with what everybody said there; messages, events and places in
        those of others; files.
        """
        begun = self.begin_delete(connection, scope, id)
        if begun is None:
            return None
        removal, signals = begun
        is_over = False
        while not is_over:
            more, is_over = self.go_on_deleting(connection, removal)
            signals += more
        return signals

    def begin_delete(self, connection: Connection, scope: Scope, id: str) -> tuple[Removal, list[Signal]] | None:
        """As :meth:`delete`, but for messages in the conversations of others, which may be many: the removal that is
        to be gone on with, and what happened. Nobody is the user any more, and the id is free."""
        if connection.execute(sa.delete(chat_users).where(*_named(scope, id))).rowcount == 0:
            return None
        signals = remove_conversations(connection, scope, owner=id)
        signals += remove_traces(connection, self._feed, scope, id)
        return begin_removal(connection, self._database, scope, id), signals

    def go_on_deleting(self, connection: Connection, removal: Removal) -> tuple[list[Signal], bool]:
        """What happened by removing some more of what :meth:`begin_delete` left, and whether nothing is left. To be
        called in one short transaction after the other until then."""
        return go_on(connection, self._feed, removal)

    def unfinished(self, connection: Connection, channel: str) -> list[Removal]:
        """What :meth:`begin_delete` left and nobody has finished, of all bots of a channel."""
        return unfinished(connection, channel)

    def list(self, connection: Connection, scope: Scope, *, cursor: str = "", limit: int = 20) -> Page[ChatUser]:
        """The users, oldest first. Raises :class:`BadCursor`."""
        limit = rows.limited(limit)
        place = sa.tuple_(chat_users.c.created_at, chat_users.c.id)
        query = sa.select(chat_users).where(*rows.within(chat_users, scope))
        if cursor:
            query = query.where(place > sa.tuple_(*rows.from_cursor(cursor, int, str)))
        query = query.order_by(chat_users.c.created_at, chat_users.c.id).limit(limit + 1)
        found = list(connection.execute(query).mappings())
        return rows.page_of(found, limit, to_user, lambda user: rows.to_cursor(user.created_at, user.id))

    def count(self, connection: Connection, scope: Scope) -> int:
        """How many users there are."""
        query = sa.select(sa.func.count()).select_from(chat_users).where(*rows.within(chat_users, scope))
        return connection.execute(query).scalar_one()


def to_user(row: Any) -> ChatUser:
    """The user in a row of the table."""
    scope = Scope(row["channel"], row["bot"])
    data = rows.from_json(row["data"])
    return ChatUser(scope, row["id"], data, row["created_at"], row["updated_at"], row["seen_at"])


def _named(scope: Scope, id: str) -> list[sa.ColumnElement[bool]]:
    return [*rows.within(chat_users, scope), chat_users.c.id == rows.storable(id)]
