"""Webhooks that deliver users' messages to external bots, through the outbox and in the order of each chat."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from cometbot.bot import Bot
from cometbot.channels.base import OutgoingRequest
from cometbot.channels.platform.platform import Platform
from cometbot.errors import StoreBusy, Unreachable
from cometbot.http.webhooks import WebhookChannel
from cometbot.models import Conversation

WEBHOOK_CHANNEL = "platform_webhook"
WEBHOOK_TIMEOUT = 6.0
"""Seconds that a bot has to respond to a message."""

_SENDER_BOT = Bot("platform-webhooks")


class PlatformWebhookChannel(WebhookChannel):
    """Posts users' messages to external bots.

    The webhook's URL and secret are read when a message is sent. So the outbox contains no secret, and waiting messages
    go to the bot's current URL. A 2xx response means that the bot has accepted the message; any other outcome is
    retried or becomes a dead letter, like any request of delivery.
    """

    name = WEBHOOK_CHANNEL

    def __init__(self, platform: Platform) -> None:
        super().__init__("", platform.webhooks)
        self._platform = platform

    def internal_bots(self) -> Sequence[Bot]:
        return (_SENDER_BOT,)

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        """Post a message like :meth:`Channel.send`.

        Nothing is sent if the bot has no webhook any more, or if the message was erased while it waited.
        """
        if not sending.payload:
            return ""
        try:
            with self._platform.database.read() as connection:
                bot = self._platform.directory.find(connection, sending.conversation.target)
        except StoreBusy as error:
            raise Unreachable(f"the bot's webhook could not be looked up: {error}") from error
        if bot is None or bot.webhook is None:
            return ""
        headers = {"Authorization": bot.webhook.secret} if bot.webhook.secret else {}
        body = orjson.dumps(sending.payload["message"])
        self.webhooks.post(bot.webhook.url, body, headers, min(timeout, WEBHOOK_TIMEOUT))
        return str(sending.payload["message"]["id"])


def webhook_conversation(bot_id: str, chat_id: str) -> Conversation:
    """Return the outgoing conversation that keeps the webhooks of one chat in order, even if the bot's URL changes.

    Its account is the bot, so a bot that is down delays only its own webhooks.
    """
    return Conversation(WEBHOOK_CHANNEL, bot_id, _SENDER_BOT.name, f"{bot_id}.{chat_id}", bot_id)
