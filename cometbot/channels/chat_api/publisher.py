"""Runs the Chat API's transactions, and stores the webhook's calls for what they change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from cometbot.channels.base import DeliveryService
from cometbot.channels.chat_api import serializers
from cometbot.channels.chat_api.webhook import webhook_conversation
from cometbot.chat import Chat, Signal
from cometbot.store.database import ACK_TIMEOUT, Transaction

T = TypeVar("T")


class Publisher:
    """Commits transactions together with the webhook's calls, and publishes their signals.

    Without ``has_webhook``, no calls are stored. ``delivery`` must be set before the first commit.
    """

    def __init__(self, chat: Chat, *, has_webhook: bool) -> None:
        self.has_webhook = has_webhook
        self.delivery: DeliveryService | None = None
        self._chat = chat

    def commit(
        self,
        bot: str,
        work: Callable[[Transaction], T],
        *,
        durable: bool = True,
        timeout: float | None = ACK_TIMEOUT,
    ) -> T:
        """Return the result of ``work``, run in one transaction like :meth:`Chat.commit`.

        The calls of the webhook for the signals of ``work`` are stored in the same transaction.
        """

        def attempt(connection: Transaction) -> tuple[T, list[str]]:
            result = work(connection)
            return result, self._enqueue_webhook(connection, bot, self._chat.feed_table.collected(connection))

        result, conversation_keys = self._chat.commit(attempt, durable=durable, timeout=timeout)
        self._notify(conversation_keys)
        return result

    def call_webhook(self, bot: str, signal: Signal) -> None:
        """Store the webhook's call for a signal that is not stored."""
        if self.has_webhook:
            # No timeout: a handler's thread waits like all other work, and needs no connection kept for requests.
            self._notify(
                self._chat.database.group_commit(lambda c: self._enqueue_webhook(c, bot, [signal]), durable=False)
            )

    def _enqueue_webhook(self, connection: Transaction, bot: str, signals: Sequence[Signal]) -> list[str]:
        """Store the webhook's calls for ``signals``, and return the keys of the conversations to be notified."""
        conversation_keys: list[str] = []
        if not self.has_webhook or self.delivery is None:
            return conversation_keys
        for signal in signals:
            bodies = serializers.to_signal_payloads(signal)
            conversation = webhook_conversation(bot, signal.topic.id)
            if bodies and self.delivery.enqueue_outgoing_in(connection, conversation, list(bodies)):
                conversation_keys.append(str(conversation.key))
        return conversation_keys

    def _notify(self, conversation_keys: Sequence[str]) -> None:
        if self.delivery is not None:
            for conversation_key in dict.fromkeys(conversation_keys):
                self.delivery.notify(conversation_key)
