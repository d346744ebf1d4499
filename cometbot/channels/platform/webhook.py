"""Webhooks: how bots that run elsewhere hear of messages; through the outbox, in the order of each chat."""

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
"""Seconds that a bot has to take a message."""

_SENDER_BOT = Bot("platform-webhooks")


class PlatformWebhookChannel(WebhookChannel):
    """Posts messages of people to bots that run elsewhere.

    Where to, and with which secret, is looked up when a message goes out, so that no secret waits in the outbox and a
    bot that has moved gets what waited. What a bot answers with 2xx it has taken; the rest is tried again, or given up,
    as all that delivery sends.
    """

    name = WEBHOOK_CHANNEL

    def __init__(self, platform: Platform) -> None:
        super().__init__("", platform.webhooks)
        self._platform = platform

    def internal_bots(self) -> Sequence[Bot]:
        return (_SENDER_BOT,)

    def send(self, sending: OutgoingRequest, *, timeout: float) -> str:
        """As promised by :class:`Channel`. For a bot that has no webhook any more nothing is done, nor with a message
        that was erased while it waited."""
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
    """Where the webhooks of one chat go out, one after the other, also while its bot moves; a bot that is down holds up
    its own alone."""
    return Conversation(WEBHOOK_CHANNEL, bot_id, _SENDER_BOT.name, f"{bot_id}.{chat_id}", bot_id)
