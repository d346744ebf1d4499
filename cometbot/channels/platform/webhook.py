"""Webhooks that deliver users' messages to external bots, through the outbox and in the order of each chat."""

from __future__ import annotations

from collections.abc import Sequence

from cometbot.bot import Bot
from cometbot.channels.base import OutgoingRequest
from cometbot.channels.platform.ids import WEBHOOK_BOT, WEBHOOK_CHANNEL
from cometbot.channels.platform.platform import Platform
from cometbot.channels.webhook import WebhookCall, WebhookChannel
from cometbot.errors import StoreBusy, Unreachable

WEBHOOK_TIMEOUT = 6.0
"""Seconds that a bot has to respond to a message."""

_SENDER_BOT = Bot(WEBHOOK_BOT)


class PlatformWebhookChannel(WebhookChannel):
    """Posts users' messages to external bots.

    The webhook's URL and secret are read when a message is sent. So the outbox contains no secret, and waiting messages
    go to the bot's current URL.
    """

    name = WEBHOOK_CHANNEL
    call_timeout = WEBHOOK_TIMEOUT

    def __init__(self, platform: Platform) -> None:
        super().__init__("", platform.webhooks)
        self._platform = platform

    def internal_bots(self) -> Sequence[Bot]:
        return (_SENDER_BOT,)

    def make_call(self, sending: OutgoingRequest) -> WebhookCall | None:
        try:
            with self._platform.database.read() as connection:
                bot = self._platform.directory.find(connection, sending.conversation.target)
        except StoreBusy as error:
            raise Unreachable(f"cannot look up the bot's webhook: {error}") from error
        if bot is None or not bot.webhook_url:
            return None
        headers = {"Authorization": bot.webhook_secret} if bot.webhook_secret else {}
        message = sending.payload["message"]
        return WebhookCall(bot.webhook_url, message, headers, str(message["id"]))
