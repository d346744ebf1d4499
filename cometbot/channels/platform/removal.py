"""Removing chats and users with all that bots remember and delivery keeps of them; what is much, a little at a time, so
that nobody waits for it."""

from __future__ import annotations

from collections.abc import Sequence

from cometbot.channels.platform.platform import ACCOUNT, ALL_BOTS, CHANNEL, bot_scope, conversation_of, new_chat_id
from cometbot.channels.platform.webhook import webhook_conversation
from cometbot.chat import Chat, ChatConversation, Scope, Signal
from cometbot.models import Conversation
from cometbot.store.database import Transaction
from cometbot.store.erasure import Erasure
from cometbot.store.state import StateTable

_BATCH_SIZE = 20


def delete_chat(connection: Transaction, chat: Chat, scope: Scope, id: str) -> list[Signal] | None:
    """What happened by removing a chat with all that was in it; None if there is none."""
    found = chat.conversations.get(connection, scope, id)
    return (_delete_chats(connection, chat, [found]) or None) if found is not None else None


def delete_user_data(connection: Transaction, chat: Chat, id: str) -> list[Signal] | None:
    """What happened by removing a user with all chats and files; None if there is none."""
    # The chats before the user: in this order those take the rows who store what is said, and what is remembered.
    signals = _delete_owned_chats(connection, chat, id)
    erasure = Erasure(chat.database)
    erasure.erase_and_delete(connection, erasure.find_conversation_keys(connection, CHANNEL, ACCOUNT, id))
    # Held before anything of the user is: a handler that stores what it remembers has done so, or finds nobody.
    if chat.users.get_for_update(connection, ALL_BOTS, id) is None:
        return None
    signals += _delete_owned_chats(connection, chat, id)  # what was made meanwhile; from here on nothing is
    state = StateTable(chat.database)
    for scope, named in (("user", id), ("conversation", new_chat_id(id))):
        state.delete_matching(connection, scope, f"{CHANNEL}/{ACCOUNT}/", f"/{named}")
    return [*signals, *(chat.users.delete(connection, ALL_BOTS, id) or ())]


def delete_bot_chats(chat: Chat, bot_id: str) -> int:
    """How many chats of a bot are gone now, with all that was in them."""
    scope, deleted = bot_scope(bot_id), 0
    while True:
        with chat.database.write() as connection:
            found = chat.conversations.list(connection, scope, limit=_BATCH_SIZE).items
            signals = _delete_chats(connection, chat, found)
        chat.feed.publish(signals)
        deleted += len(found)
        if len(found) < _BATCH_SIZE:
            return deleted


def erase_deleted_chat(connection: Transaction, chat: Chat, conversation: Conversation) -> None:
    """Take out what was said to a chat that is gone, and what is remembered of it."""
    Erasure(chat.database).erase(connection, [str(conversation.key)])
    StateTable(chat.database).delete(connection, "conversation", str(conversation.key))


def _delete_owned_chats(connection: Transaction, chat: Chat, user: str) -> list[Signal]:
    signals: list[Signal] = []
    while found := chat.conversations.list_owned(connection, ALL_BOTS, user, limit=_BATCH_SIZE).items:
        signals += _delete_chats(connection, chat, found)
    return signals


def _delete_chats(connection: Transaction, chat: Chat, chats: Sequence[ChatConversation]) -> list[Signal]:
    """What happened by removing chats with all that is kept of them.

    The rows of the chats come first: nobody says anything there from then on, and what was said before is seen.
    """
    signals: list[Signal] = []
    conversations: list[Conversation] = []
    for item in chats:
        deletion_signals = chat.conversations.delete(connection, item.scope, item.id)
        if deletion_signals is not None:
            signals += deletion_signals
            conversations.append(conversation_of(item.scope.bot, item.id, item.owner))
    erasure, state = Erasure(chat.database), StateTable(chat.database)
    erasure.erase(connection, [str(conversation.key) for conversation in conversations])
    for conversation in conversations:
        state.delete(connection, "conversation", str(conversation.key))
        # What was said before there was a chat stands under another name, what a webhook was told under a third.
        earlier = conversation_of(conversation.bot, new_chat_id(conversation.target), conversation.target)
        erasure.clear_sent_replies(connection, str(earlier.key))
        erasure.clear_replies(connection, str(webhook_conversation(conversation.bot, conversation.id).key))
    return signals
