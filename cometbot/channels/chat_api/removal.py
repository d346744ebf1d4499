"""Deletes conversations and users, with the bots' state and delivery's records of them.

Large deletions run in small batches, so that other transactions do not wait for them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cometbot.channels.base import DeliveryService
from cometbot.channels.chat_api.ids import ACCOUNT, CHANNEL, TO_USER_PREFIX, conversation_of
from cometbot.channels.chat_api.webhook import WebhookQueue, webhook_conversation
from cometbot.chat import (
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    PARTICIPANT_ADDED,
    PARTICIPANT_REMOVED,
    Chat,
    ChatConversation,
    Removal,
    Scope,
    Signal,
)
from cometbot.errors import StoreBusy
from cometbot.models import Conversation
from cometbot.store.database import ACK_TIMEOUT, Transaction
from cometbot.store.erasure import Erasure
from cometbot.store.state import StateTable

_log = logging.getLogger(__name__)

_BATCH_SIZE = 100
_CONTENT_FREE_KINDS = frozenset({MESSAGE_DELETED, PARTICIPANT_ADDED, PARTICIPANT_REMOVED})


def delete_conversations(
    connection: Transaction, chat: Chat, chat_conversations: Sequence[ChatConversation]
) -> list[Signal]:
    """Delete conversations with all stored data, and return the signals of the deletion.

    The rows of the conversations are deleted first: this locks out new messages, and earlier ones are found. Waiting
    webhook signals about participants and deleted messages are kept.
    """
    signals: list[Signal] = []
    deleted: list[ChatConversation] = []
    for item in chat_conversations:
        deletion_signals = chat.conversations.delete(connection, item.scope, item.id)
        if deletion_signals is not None:
            signals += deletion_signals
            deleted.append(item)
    conversations = [conversation_of(item.scope.bot, item, is_group=False) for item in deleted]
    erasure, state = Erasure(chat.database), StateTable(chat.database)
    erasure.erase(connection, [str(conversation.key) for conversation in conversations])
    for item, conversation in zip(deleted, conversations, strict=True):
        state.delete(connection, "conversation", str(conversation.key))
        for name in (item.id, f"{TO_USER_PREFIX}{item.owner}"):  # sent before the id was known
            erasure.clear_sent_replies(connection, _conversation_key(item.scope.bot, name))
        erasure.clear_replies(connection, str(webhook_conversation(item.scope.bot, item.id).key), _is_content)
    return signals


def delete_owned_conversations(connection: Transaction, chat: Chat, scope: Scope, user: str) -> list[Signal]:
    """Delete the conversations that a user owns, and replies that wait for the user elsewhere.

    Return the signals of the deletion.
    """
    signals: list[Signal] = []
    while found := chat.conversations.list_owned(connection, scope, user, limit=_BATCH_SIZE).items:
        signals += delete_conversations(connection, chat, found)
    Erasure(chat.database).erase_and_delete(connection, [_conversation_key(scope.bot, f"{TO_USER_PREFIX}{user}")])
    return signals


def erase_deleted(connection: Transaction, chat: Chat, conversation: Conversation) -> None:
    """Erase the replies to a deleted conversation, and its state."""
    Erasure(chat.database).erase(connection, [str(conversation.key)])
    StateTable(chat.database).delete(connection, "conversation", str(conversation.key))


def finish_removal(
    chat: Chat, removal: Removal, webhook_queue: WebhookQueue | None, delivery: DeliveryService | None, timeout: float
) -> bool:
    """Delete the remaining messages of a deleted user; return whether all are deleted after ``timeout`` seconds.

    A signal of each deleted message goes to the streams and the webhook. If the time is up or the database is busy, the
    next call continues.
    """

    def run_batch(connection: Transaction) -> tuple[list[Signal], list[str], bool]:
        signals, is_complete = chat.users.continue_delete(connection, removal)
        _erase_messages(connection, chat, removal.scope.bot, signals)
        conversation_keys = (
            webhook_queue.enqueue(connection, delivery, removal.scope.bot, signals)
            if webhook_queue and delivery
            else []
        )
        return signals, conversation_keys, is_complete

    ends_at, is_complete = time.monotonic() + timeout, False
    while not is_complete and time.monotonic() < ends_at:
        try:
            signals, conversation_keys, is_complete = chat.database.group_commit(run_batch, timeout=ACK_TIMEOUT)
        except StoreBusy as error:
            _log.info("messages of a deleted user wait to be removed: %s", error)
            return False
        chat.feed.publish(signals)
        for conversation_key in conversation_keys:
            if delivery is not None:
                delivery.notify(conversation_key)
    return is_complete


def _erase_messages(connection: Transaction, chat: Chat, bot: str, signals: Sequence[Signal]) -> None:
    """Erase the messages whose deletion ``signals`` report, in conversations that are kept."""
    erasure, ids = Erasure(chat.database), {signal.data["id"] for signal in signals}
    erasure.clear_messages(connection, CHANNEL, ACCOUNT, bot, sorted(f"message:{id}" for id in ids))
    for conversation in sorted({signal.topic.id for signal in signals}):
        erasure.clear_replies(
            connection, str(webhook_conversation(bot, conversation).key), lambda data: _message_id_in(data) in ids
        )


def _message_id_in(signal: Mapping[str, Any]) -> Any:
    """Return the id of the message in a signal, or None if it contains none."""
    return signal["data"]["id"] if signal.get("type") == MESSAGE_CREATED else None


def _conversation_key(bot: str, name: str) -> str:
    return str(Conversation(CHANNEL, ACCOUNT, bot, name, "").key)


def _is_content(signal: Mapping[str, Any]) -> bool:
    """Return whether a waiting webhook signal contains something that a user or the bot wrote."""
    return signal.get("type") not in _CONTENT_FREE_KINDS
