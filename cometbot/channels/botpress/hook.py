"""What the webhook is to be told, stored in the transaction in which it happens."""

from __future__ import annotations

from collections.abc import Sequence

from cometbot.channels.base import Intake
from cometbot.channels.botpress import wire
from cometbot.chat import Signal
from cometbot.models import Conversation
from cometbot.store.database import Transaction

NAME = "botpress-webhook"
"""The channel that carries out what is stored here."""

ACCOUNT = "backend"
"""Whoever is told, wherever that is: a conversation stays one lane, and in its order, when the backend moves."""


class Hook:
    """The pen that writes to the outbox what the backend is to be told."""

    def tell(self, connection: Transaction, intake: Intake, bot: str, signals: Sequence[Signal]) -> list[str]:
        """The lanes that have something to send now and must be woken after the commit."""
        lanes = []
        for signal in signals:
            told = wire.to_signals(signal)
            place = hook_of(bot, signal.topic.id)
            if told and intake.say_within(connection, place, list(told)):
                lanes.append(str(place.key))
        return list(dict.fromkeys(lanes))


def hook_of(bot: str, conversation_id: str) -> Conversation:
    """Where the signals of one conversation go out, one after the other."""
    return Conversation(NAME, ACCOUNT, bot, conversation_id, conversation_id)
