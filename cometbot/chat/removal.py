"""Taking away what belongs to a conversation or to a user, so that nothing of it stays."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.chat import rows
from cometbot.chat.feed import FeedRows
from cometbot.chat.models import (
    CONVERSATION_DELETED,
    MESSAGE_DELETED,
    PARTICIPANT_REMOVED,
    Scope,
    Signal,
    Topic,
)
from cometbot.errors import Missing
from cometbot.store.tables import (
    chat_conversations,
    chat_events,
    chat_feed,
    chat_files,
    chat_messages,
    chat_participants,
)

_OF_CONVERSATION = (chat_messages, chat_events, chat_participants, chat_feed)


def remove_conversations(connection: Connection, scope: Scope, *, id: str = "", owner: str = "") -> list[Signal]:
    """What happened by removing one conversation, or all that a user made, with everything that is in them."""
    columns = chat_conversations.c
    which = columns.id == rows.storable(id) if id else columns.owner == rows.storable(owner)
    gone = sa.delete(chat_conversations).where(*rows.within(chat_conversations, scope), which)
    found = connection.execute(gone.returning(columns.channel, columns.bot, columns.id)).all()
    for channel, bot, name in found:
        for table in _OF_CONVERSATION:
            connection.execute(sa.delete(table).where(*rows.exactly(table, Scope(channel, bot), name)))
    return [Signal(Topic(*key), CONVERSATION_DELETED) for key in found]


def remove_traces(connection: Connection, feed: FeedRows, scope: Scope, user: str) -> list[Signal]:
    """What happened by removing a user's messages, events and places in the conversations of others, and the files."""
    signals = [
        *_remove_told(connection, feed, MESSAGE_DELETED, _messages_of(scope, user), chat_messages),
        *_remove_told(connection, feed, PARTICIPANT_REMOVED, _places_of(scope, user), chat_participants),
    ]
    own = (*rows.within(chat_events, scope), chat_events.c.sender == rows.storable(user))
    connection.execute(sa.delete(chat_events).where(*own))
    files = (*rows.within(chat_files, scope), chat_files.c.owner == rows.storable(user))
    connection.execute(sa.update(chat_files).where(*files).values(removed=True))
    return signals


def _messages_of(scope: Scope, user: str) -> sa.Select[Any]:
    columns = chat_messages.c
    return sa.select(columns.channel, columns.bot, columns.conversation, columns.id, columns.sender).where(
        *rows.within(chat_messages, scope), columns.sender == rows.storable(user), sa.text("NOT is_bot")
    )


def _places_of(scope: Scope, user: str) -> sa.Select[Any]:
    columns = chat_participants.c
    return sa.select(columns.channel, columns.bot, columns.conversation, columns.user_id, columns.user_id).where(
        *rows.within(chat_participants, scope), columns.user_id == rows.storable(user)
    )


def _remove_told(
    connection: Connection, feed: FeedRows, kind: str, query: sa.Select[Any], table: sa.Table
) -> list[Signal]:
    """What was told by removing the rows of ``query``, which names for each its conversation, its id and a user.

    A conversation is taken before its rows are, and one after the other in one order for all: whoever changes the same
    things waits, and nobody waits for somebody who waits.
    """
    signals = []
    name = table.c.id if kind == MESSAGE_DELETED else table.c.user_id
    for channel, bot, conversation, id, user in sorted(tuple(row) for row in connection.execute(query)):
        scope = Scope(channel, bot)
        data = {"id": id, "sender": user} if kind == MESSAGE_DELETED else {"user": user}
        with suppress(Missing):
            signals.append(feed.add(connection, scope, conversation, kind, data))
        connection.execute(sa.delete(table).where(*rows.exactly(table, scope, conversation), name == id))
    return signals
