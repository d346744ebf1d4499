"""What the webhook is to be told, stored in the transaction in which it happens."""

from __future__ import annotations

from collections.abc import Sequence

from cometbot.channels.base import DeliveryService
from cometbot.channels.chat_api import serializers
from cometbot.chat import Signal
from cometbot.models import Conversation
from cometbot.store.database import Transaction

WEBHOOK_CHANNEL = "chat_api_webhook"
"""The channel that carries out what is stored here."""

WEBHOOK_ACCOUNT = "backend"
"""Whoever is told, wherever that is: a conversation stays one lane, and in its order, when the backend moves."""


class WebhookQueue:
    """The pen that writes to the outbox what the backend is to be told."""

    def enqueue(
        self, connection: Transaction, delivery: DeliveryService, bot: str, signals: Sequence[Signal]
    ) -> list[str]:
        """The lanes that have something to send now and must be woken after the commit."""
        conversation_keys = []
        for signal in signals:
            payloads = serializers.to_signal_payloads(signal)
            conversation = webhook_conversation(bot, signal.topic.id)
            if payloads and delivery.enqueue_outgoing_in(connection, conversation, list(payloads)):
                conversation_keys.append(str(conversation.key))
        return list(dict.fromkeys(conversation_keys))


def webhook_conversation(bot: str, conversation_id: str) -> Conversation:
    """Where the signals of one conversation go out, one after the other."""
    return Conversation(WEBHOOK_CHANNEL, WEBHOOK_ACCOUNT, bot, conversation_id, conversation_id)
