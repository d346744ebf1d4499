"""Stores signals for the webhook in the transaction that causes them."""

from __future__ import annotations

from collections.abc import Sequence

from cometbot.channels.base import DeliveryService
from cometbot.channels.chat_api import serializers
from cometbot.chat import Signal
from cometbot.models import Conversation
from cometbot.store.database import Transaction

WEBHOOK_CHANNEL = "chat_api_webhook"
"""The channel that sends what is stored here."""

WEBHOOK_ACCOUNT = "backend"
"""The account of every webhook conversation. It stays the same when the URL changes, so the order is kept."""


class WebhookQueue:
    """Enqueues signals for the backend in the outbox."""

    def enqueue(
        self, connection: Transaction, delivery: DeliveryService, bot: str, signals: Sequence[Signal]
    ) -> list[str]:
        """Enqueue ``signals``; return the keys of the conversations to be notified after the commit."""
        conversation_keys = []
        for signal in signals:
            payloads = serializers.to_signal_payloads(signal)
            conversation = webhook_conversation(bot, signal.topic.id)
            if payloads and delivery.enqueue_outgoing_in(connection, conversation, list(payloads)):
                conversation_keys.append(str(conversation.key))
        return list(dict.fromkeys(conversation_keys))


def webhook_conversation(bot: str, conversation_id: str) -> Conversation:
    """Return the outgoing conversation that keeps one conversation's signals in order."""
    return Conversation(WEBHOOK_CHANNEL, WEBHOOK_ACCOUNT, bot, conversation_id, conversation_id)
