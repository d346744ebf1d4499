"""Removes the rows that belong to a conversation."""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from cometbot.chat import queries
from cometbot.chat.models import ChatConversation, Scope, Signal, Topic
from cometbot.store.database import Database
from cometbot.store.tables import (
    CONVERSATION_DELETED,
    chat_conversations,
    chat_events,
    chat_feed,
    chat_files,
    chat_messages,
    chat_participants,
)

_IDS_PER_STATEMENT = 100
_FILE_ID = re.compile(r"[0-9a-z]{26}")
_CONVERSATION_TABLES = (chat_messages, chat_events, chat_participants, chat_feed)


def remove_conversations(connection: Connection, scope: Scope, condition: sa.ColumnElement[bool]) -> list[Signal]:
    """Delete the conversations that fulfil ``condition``, with all their content. Return the signals."""
    columns = chat_conversations.c
    deletion = sa.delete(chat_conversations).where(*queries.in_scope(chat_conversations, scope), condition)
    found = connection.execute(deletion.returning(columns.channel, columns.bot, columns.id)).all()
    for channel, bot, name in found:
        for table in _CONVERSATION_TABLES:
            connection.execute(sa.delete(table).where(*queries.in_conversation(table, Scope(channel, bot), name)))
    return [Signal(Topic(*key), CONVERSATION_DELETED) for key in found]


def mark_files_unused(connection: Connection, database: Database, conversation: ChatConversation) -> None:
    """Mark the files attached in a conversation as unused. Call it before the conversation is removed."""
    columns, scope = chat_files.c, conversation.scope
    files = (columns.channel == scope.channel, columns.owner == conversation.owner, columns.used_at.is_not(None))
    own = set(connection.execute(sa.select(columns.id).where(*files)).scalars())
    here = queries.in_conversation(chat_messages, scope, conversation.id)
    texts = connection.execute(sa.select(chat_messages.c.payload).where(*here)).scalars() if own else ()
    attached = sorted(own.intersection(*[{found for text in texts for found in _FILE_ID.findall(text)}]))
    now = queries.now_ms(database)
    for first in range(0, len(attached), _IDS_PER_STATEMENT):
        batch_of_ids = columns.id.in_(attached[first : first + _IDS_PER_STATEMENT])
        connection.execute(sa.update(chat_files).where(*files, batch_of_ids).values(used_at=None, created_at=now))
