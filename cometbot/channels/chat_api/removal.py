"""Deletes conversations and users of the Chat API.

Large deletions run in small batches, so that other transactions do not wait for them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cometbot.channels.chat_api.ids import ACCOUNT, CHANNEL, TO_USER_PREFIX, conversation_of
from cometbot.channels.chat_api.publisher import Publisher
from cometbot.channels.chat_api.webhook import webhook_conversation
from cometbot.chat import (
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    PARTICIPANT_ADDED,
    PARTICIPANT_REMOVED,
    Chat,
    ChatConversation,
    DeliveryRecords,
    Removal,
    Scope,
    Signal,
)
from cometbot.errors import StoreBusy
from cometbot.models import Conversation
from cometbot.store.database import Transaction

_log = logging.getLogger(__name__)

_CONTENT_FREE_TYPES = frozenset({MESSAGE_DELETED, PARTICIPANT_ADDED, PARTICIPANT_REMOVED})


def delivery_records(conversation: ChatConversation) -> DeliveryRecords:
    """Return the conversations under which delivery stores what belongs to ``conversation``."""
    bot = conversation.scope.bot
    return DeliveryRecords(
        conversation_of(bot, conversation, is_group=False),
        # Replies that were sent before the id was known.
        [_named(bot, conversation.id), _named(bot, f"{TO_USER_PREFIX}{conversation.owner}")],
        webhook_conversation(bot, conversation.id),
        _CONTENT_FREE_TYPES,
    )


def delete_owned_conversations(connection: Transaction, chat: Chat, scope: Scope, user: str) -> None:
    """Delete the conversations that a user owns, and replies that wait for the user elsewhere."""
    chat.delete_owned_conversations(connection, scope, user, delivery_records)
    chat.erasure.erase_and_delete(connection, [str(_named(scope.bot, f"{TO_USER_PREFIX}{user}").key)])


def finish_removal(chat: Chat, removal: Removal, publisher: Publisher, timeout: float) -> bool:
    """Delete the remaining messages of a deleted user; return whether all are deleted after ``timeout`` seconds.

    A signal of each deleted message goes to the streams and the webhook. If the time is up or the database is busy, the
    next call continues.
    """
    bot = removal.scope.bot

    def delete_batch(connection: Transaction) -> bool:
        signals, is_complete = chat.users.continue_delete(connection, removal)
        _erase_messages(connection, chat, bot, signals)
        return is_complete

    ends_at, is_complete = time.monotonic() + timeout, False
    while not is_complete and time.monotonic() < ends_at:
        try:
            is_complete = publisher.commit(bot, delete_batch)
        except StoreBusy as error:
            _log.info("cannot delete the messages of a deleted user now: %s; will retry", error)
            return False
    return is_complete


def _erase_messages(connection: Transaction, chat: Chat, bot: str, signals: Sequence[Signal]) -> None:
    """Erase the messages whose deletion ``signals`` report, in conversations that are kept."""
    erasure, ids = chat.erasure, {signal.data["id"] for signal in signals}
    erasure.clear_messages(connection, CHANNEL, ACCOUNT, bot, sorted(f"message:{id}" for id in ids))
    for conversation in sorted({signal.topic.id for signal in signals}):
        erasure.clear_replies(
            connection, str(webhook_conversation(bot, conversation).key), lambda data: _message_id_in(data) in ids
        )


def _message_id_in(signal: Mapping[str, Any]) -> Any:
    """Return the id of the message in a signal, or None if it contains none."""
    return signal["data"]["id"] if signal.get("type") == MESSAGE_CREATED else None


def _named(bot: str, id: str) -> Conversation:
    return Conversation(CHANNEL, ACCOUNT, bot, id, "")
