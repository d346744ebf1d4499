"""Removing what is much, a little at a time, so that nobody waits for it."""

from __future__ import annotations

from cometbot.channels.botyard.platform import scope_of
from cometbot.chat import Chat

_BATCH = 20


def remove_chats(chat: Chat, bot_id: str) -> int:
    """How many chats of a bot are gone now, with all that was in them."""
    scope, removed = scope_of(bot_id), 0
    while True:
        with chat.database.write() as connection:
            found = chat.conversations.list(connection, scope, limit=_BATCH).items
            signals = [chat.conversations.delete(connection, scope, item.id) or [] for item in found]
        for told in signals:
            chat.feed.publish(told)
        removed += len(found)
        if len(found) < _BATCH:
            return removed
