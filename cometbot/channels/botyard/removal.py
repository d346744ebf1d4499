"""Removing chats and users with all that bots remember of them; what is much, a little at a time, so that nobody
waits for it."""

from __future__ import annotations

from cometbot.channels.botyard.platform import ACCOUNT, EVERYWHERE, NAME, conversation_of, lane_to, scope_of
from cometbot.chat import Chat, ChatConversation, Scope, Signal
from cometbot.store.database import Transaction
from cometbot.store.state import StateRows

_BATCH = 20


def remove_chat(connection: Transaction, chat: Chat, scope: Scope, id: str) -> list[Signal] | None:
    """What happened by removing a chat with all that was in it; None if there is none."""
    found = chat.conversations.get(connection, scope, id)
    if found is not None:
        _forget(connection, StateRows(chat.database), found)
    return chat.conversations.delete(connection, scope, id)


def remove_user(connection: Transaction, chat: Chat, id: str) -> list[Signal] | None:
    """What happened by removing a user with all chats and files; None if there is none."""
    # Held before anything is removed: a handler that stores what it remembers has done so, or finds nobody.
    if chat.users.hold(connection, EVERYWHERE, id) is None:
        return None
    state, cursor, is_over = StateRows(chat.database), "", False
    while not is_over:
        page = chat.conversations.list_owned(connection, EVERYWHERE, id, cursor=cursor, limit=_BATCH)
        for item in page.items:
            _forget(connection, state, item)
        cursor, is_over = page.next, not page.next
    for scope, named in (("user", id), ("conversation", lane_to(id))):
        state.forget_each(connection, scope, f"{NAME}/{ACCOUNT}/", f"/{named}")
    return chat.users.delete(connection, EVERYWHERE, id)


def remove_chats(chat: Chat, bot_id: str) -> int:
    """How many chats of a bot are gone now, with all that was in them."""
    scope, removed = scope_of(bot_id), 0
    while True:
        with chat.database.write() as connection:
            found = chat.conversations.list(connection, scope, limit=_BATCH).items
            signals = [remove_chat(connection, chat, scope, item.id) or [] for item in found]
        for told in signals:
            chat.feed.publish(told)
        removed += len(found)
        if len(found) < _BATCH:
            return removed


def _forget(connection: Transaction, state: StateRows, chat: ChatConversation) -> None:
    lane = conversation_of(chat.scope.bot, chat.id, chat.owner).key
    state.forget(connection, "conversation", str(lane))
