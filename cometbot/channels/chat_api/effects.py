"""Runs the Chat API's transactions, and tells streams, webhook and bots afterwards what they have changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from cometbot.channels.base import DeliveryService
from cometbot.channels.chat_api import serializers
from cometbot.channels.chat_api.webhook import webhook_conversation
from cometbot.chat import Chat, Signal
from cometbot.store.database import ACK_TIMEOUT, Transaction

T = TypeVar("T")


@dataclass(slots=True)
class Effects:
    """What is to be done after a transaction is committed: signals to publish, and conversations to notify."""

    signals: list[Signal] = field(default_factory=list)
    conversation_keys: list[str] = field(default_factory=list)


class Publisher:
    """Commits transactions together with the webhook's calls, and publishes their effects.

    Without ``has_webhook``, no calls are stored. ``delivery`` must be set before the first commit.
    """

    def __init__(self, chat: Chat, *, has_webhook: bool) -> None:
        self.has_webhook = has_webhook
        self.delivery: DeliveryService | None = None
        self._chat = chat

    def commit(
        self,
        bot: str,
        work: Callable[[Transaction, Effects], T],
        *,
        durable: bool = True,
        timeout: float | None = ACK_TIMEOUT,
    ) -> T:
        """Return the result of ``work``, run in one transaction; then notify streams, webhook and bot.

        The calls of the webhook for the signals that ``work`` adds are stored in the same transaction. Raises
        :class:`StoreBusy`, and any exception of ``work``.
        """

        def attempt(connection: Transaction) -> tuple[T, Effects]:
            effects = Effects()
            result = work(connection, effects)
            self.enqueue_webhook(connection, bot, effects.signals, effects)
            return result, effects

        result, effects = self._chat.database.group_commit(attempt, durable=durable, timeout=timeout)
        if effects.signals:
            self._chat.feed.publish(effects.signals)
        if self.delivery is not None:
            for conversation_key in dict.fromkeys(effects.conversation_keys):
                self.delivery.notify(conversation_key)
        return result

    def enqueue_webhook(self, connection: Transaction, bot: str, signals: Sequence[Signal], effects: Effects) -> None:
        """Store the webhook's calls for ``signals``."""
        if not self.has_webhook or self.delivery is None:
            return
        for signal in signals:
            bodies = serializers.to_signal_payloads(signal)
            conversation = webhook_conversation(bot, signal.topic.id)
            if bodies and self.delivery.enqueue_outgoing_in(connection, conversation, list(bodies)):
                effects.conversation_keys.append(str(conversation.key))
