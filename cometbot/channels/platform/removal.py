"""Deletes chats and users, with the bots' state and delivery's records of them.

Large deletions run in small batches, so that other transactions do not wait for them.
"""

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
    """Delete a chat with its content, and return the signals of the deletion; None if there is no such chat."""
    found = chat.conversations.get(connection, scope, id)
    return (_delete_chats(connection, chat, [found]) or None) if found is not None else None


def delete_user_data(connection: Transaction, chat: Chat, id: str) -> list[Signal] | None:
    """Delete a user with all chats and files, and return the signals of the deletion; None if there is no such user."""
    # Chats before the user: storing messages and state locks the rows in this order.
    signals = _delete_owned_chats(connection, chat, id)
    erasure = Erasure(chat.database)
    erasure.erase_and_delete(connection, erasure.find_conversation_keys(connection, CHANNEL, ACCOUNT, id))
    # Lock the user before deleting its state: a handler's state is stored before this, or finds no user.
    if chat.users.get_for_update(connection, ALL_BOTS, id) is None:
        return None
    signals += _delete_owned_chats(connection, chat, id)  # created before the lock
    state = StateTable(chat.database)
    for scope, named in (("user", id), ("conversation", new_chat_id(id))):
        state.delete_matching(connection, scope, f"{CHANNEL}/{ACCOUNT}/", f"/{named}")
    return [*signals, *(chat.users.delete(connection, ALL_BOTS, id) or ())]


def delete_bot_chats(chat: Chat, bot_id: str) -> int:
    """Delete all chats of a bot with their content, and return their number."""
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
    """Erase the replies to a deleted chat, and its state."""
    Erasure(chat.database).erase(connection, [str(conversation.key)])
    StateTable(chat.database).delete(connection, "conversation", str(conversation.key))


def _delete_owned_chats(connection: Transaction, chat: Chat, user: str) -> list[Signal]:
    signals: list[Signal] = []
    while found := chat.conversations.list_owned(connection, ALL_BOTS, user, limit=_BATCH_SIZE).items:
        signals += _delete_chats(connection, chat, found)
    return signals


def _delete_chats(connection: Transaction, chat: Chat, chats: Sequence[ChatConversation]) -> list[Signal]:
    """Delete chats with all stored data, and return the signals of the deletion.

    The rows of the chats are deleted first: this locks out new messages, and earlier ones are found.
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
        # Replies that were sent before the chat existed, and webhooks, have conversation keys of their own.
        earlier = conversation_of(conversation.bot, new_chat_id(conversation.target), conversation.target)
        erasure.clear_sent_replies(connection, str(earlier.key))
        erasure.clear_replies(connection, str(webhook_conversation(conversation.bot, conversation.id).key))
    return signals
