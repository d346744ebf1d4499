"""Remove everything that belongs to a conversation or to a user."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.chat import queries
from cometbot.chat.feed_table import FeedTable
from cometbot.chat.models import (
    CONVERSATION_DELETED,
    MESSAGE_DELETED,
    PARTICIPANT_REMOVED,
    Scope,
    Signal,
    Topic,
)
from cometbot.errors import NotFound
from cometbot.store.database import Database
from cometbot.store.tables import (
    chat_conversations,
    chat_events,
    chat_feed,
    chat_files,
    chat_messages,
    chat_participants,
    facts,
)

BATCH_LIMIT = 100
"""The messages that one step of a removal deletes."""

_NAME_PREFIX = "chat-removal:"
_FILE_ID = re.compile(r"[0-9a-z]{26}")

_CONVERSATION_TABLES = (chat_messages, chat_events, chat_participants, chat_feed)


def remove_conversations(connection: Connection, scope: Scope, *, id: str = "", owner: str = "") -> list[Signal]:
    """Delete one conversation, or all that a user owns, with all their content. Return the signals."""
    columns = chat_conversations.c
    which = columns.id == queries.replace_unstorable(id) if id else columns.owner == queries.replace_unstorable(owner)
    deletion = sa.delete(chat_conversations).where(*queries.in_scope(chat_conversations, scope), which)
    found = connection.execute(deletion.returning(columns.channel, columns.bot, columns.id)).all()
    for channel, bot, name in found:
        for table in _CONVERSATION_TABLES:
            connection.execute(sa.delete(table).where(*queries.in_conversation(table, Scope(channel, bot), name)))
    return [Signal(Topic(*key), CONVERSATION_DELETED) for key in found]


def mark_files_unused(connection: Connection, database: Database, scope: Scope, id: str) -> None:
    """Mark the files attached in a conversation as unused. Call it before the conversation is removed."""
    for channel, bot, owner in connection.execute(_owner_of(scope, id)).all():
        columns = chat_files.c
        files = (columns.channel == channel, columns.owner == owner, columns.used_at.is_not(None))
        own = set(connection.execute(sa.select(columns.id).where(*files)).scalars())
        here = queries.in_conversation(chat_messages, Scope(channel, bot), id)
        texts = connection.execute(sa.select(chat_messages.c.payload).where(*here)).scalars() if own else ()
        attached = sorted(own.intersection(*[{found for text in texts for found in _FILE_ID.findall(text)}]))
        now = queries.now_ms(database)
        for first in range(0, len(attached), BATCH_LIMIT):
            batch_of_ids = columns.id.in_(attached[first : first + BATCH_LIMIT])
            connection.execute(sa.update(chat_files).where(*files, batch_of_ids).values(used_at=None, created_at=now))


def _owner_of(scope: Scope, id: str) -> sa.Select[Any]:
    columns = chat_conversations.c
    return sa.select(columns.channel, columns.bot, columns.owner).where(
        *queries.in_scope(chat_conversations, scope), columns.id == queries.replace_unstorable(id)
    )


@dataclass(frozen=True, slots=True)
class Removal:
    """The unfinished removal of a user's messages, stored under ``name`` until it is finished.

    It covers messages until the time ``before``, so that a new user with the same id keeps their own.
    """

    name: str
    scope: Scope
    user: str
    before: int


def start_removal(connection: Connection, database: Database, scope: Scope, user: str) -> Removal:
    """Store the removal of all messages of a user in the conversations of others, without beginning it."""
    latest_query = sa.select(sa.func.max(chat_messages.c.at)).where(
        *queries.in_scope(chat_messages, scope),
        chat_messages.c.sender == queries.replace_unstorable(user),
        sa.text("NOT is_bot"),
    )
    latest = connection.execute(latest_query).scalar() or 0
    removal = Removal(f"{_NAME_PREFIX}{queries.new_id()}", scope, queries.replace_unstorable(user), latest)
    value = queries.to_json({"channel": scope.channel, "bot": scope.bot, "user": removal.user, "before": latest})
    connection.execute(database.insert(facts).values(name=removal.name, value=value))
    return removal


def continue_removal(connection: Connection, feed: FeedTable, removal: Removal) -> tuple[list[Signal], bool]:
    """Delete some more messages. Return the signals, and True if none are left."""
    written = sa.select(facts.c.name).where(facts.c.name == removal.name)
    if connection.execute(written.with_for_update()).first() is None:
        return [], True
    batch = _messages_of(removal).limit(BATCH_LIMIT + 1)
    found = [tuple(row) for row in connection.execute(batch)]
    signals = _remove_with_signals(connection, feed, MESSAGE_DELETED, found[:BATCH_LIMIT], chat_messages)
    is_finished = len(found) <= BATCH_LIMIT
    if is_finished:
        connection.execute(sa.delete(facts).where(facts.c.name == removal.name))
    return signals, is_finished


def find_unfinished(connection: Connection, channel: str) -> list[Removal]:
    """Return the unfinished removals of a channel, oldest first."""
    query = sa.select(facts.c.name, facts.c.value).where(facts.c.name.startswith(_NAME_PREFIX)).order_by(facts.c.name)
    found = [(name, json.loads(value)) for name, value in connection.execute(query)]
    return [
        Removal(name, Scope(channel, value["bot"]), value["user"], value["before"])
        for name, value in found
        if value["channel"] == channel
    ]


def remove_user_data(connection: Connection, feed: FeedTable, scope: Scope, user: str) -> list[Signal]:
    """Delete a user's events, files and participations in the conversations of others. Return the signals."""
    memberships = [tuple(row) for row in connection.execute(_memberships_of(scope, user))]
    signals = _remove_with_signals(connection, feed, PARTICIPANT_REMOVED, memberships, chat_participants)
    own = (*queries.in_scope(chat_events, scope), chat_events.c.sender == queries.replace_unstorable(user))
    connection.execute(sa.delete(chat_events).where(*own))
    files = (*queries.in_scope(chat_files, scope), chat_files.c.owner == queries.replace_unstorable(user))
    connection.execute(sa.update(chat_files).where(*files).values(removed=True))
    return signals


def _messages_of(removal: Removal) -> sa.Select[Any]:
    columns = chat_messages.c
    return sa.select(columns.channel, columns.bot, columns.conversation, columns.id, columns.sender).where(
        *queries.in_scope(chat_messages, removal.scope),
        columns.sender == removal.user,
        sa.text("NOT is_bot"),
        columns.at <= removal.before,
    )


def _memberships_of(scope: Scope, user: str) -> sa.Select[Any]:
    columns = chat_participants.c
    return sa.select(columns.channel, columns.bot, columns.conversation, columns.user_id, columns.user_id).where(
        *queries.in_scope(chat_participants, scope), columns.user_id == queries.replace_unstorable(user)
    )


def _remove_with_signals(
    connection: Connection, feed: FeedTable, kind: str, found: list[tuple[Any, ...]], table: sa.Table
) -> list[Signal]:
    """Delete the rows ``found``, each given by its conversation, its id and a user. Return the signals.

    Conversations are locked before their rows, and all callers lock them in the same order, so that there are no
    deadlocks.
    """
    signals = []
    name = table.c.id if kind == MESSAGE_DELETED else table.c.user_id
    for channel, bot, conversation, id, user in sorted(found):
        scope = Scope(channel, bot)
        data = {"id": id, "sender": user} if kind == MESSAGE_DELETED else {"user": user}
        with suppress(NotFound):
            signals.append(feed.add(connection, scope, conversation, kind, data))
        connection.execute(sa.delete(table).where(*queries.in_conversation(table, scope, conversation), name == id))
    return signals
