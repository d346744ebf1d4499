"""Makes the Chat API's channels from the settings."""

from __future__ import annotations

from collections.abc import Sequence

from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.channels.botpress.channel import BotpressChannel
from cometbot.channels.botpress.settings import ChatApiSettings
from cometbot.channels.botpress.webhook import BotpressWebhookChannel
from cometbot.chat import Chat
from cometbot.delivery import Observer
from cometbot.errors import ConfigurationError
from cometbot.http.webhooks import Webhooks
from cometbot.settings import Secret, Settings, variable_suffix


def make_channels(settings: Settings, bots: Sequence[Bot], observer: Observer, chat: Chat) -> list[Channel]:
    """The Chat API, and the way to the webhook where one is set.

    Raises :class:`ConfigurationError` for a key that cannot sign, and for a webhook that must not be called.
    """
    channels: list[Channel] = [
        BotpressChannel(
            chat,
            ChatApiSettings(
                encryption_key=settings.botpress_encryption_key,
                encryption_keys=_keys(settings, bots),
                webhook_url=settings.botpress_webhook_url,
                webhook_secret=settings.botpress_webhook_secret,
                origins=settings.botpress_origins,
                requests=settings.botpress_requests,
                streams=settings.botpress_streams,
                conversations=settings.botpress_conversations,
                signups=settings.botpress_signups,
                body_timeout=settings.body_timeout,
                public_url=settings.public_url,
            ),
            observe=observer.received,
            on_full=observer.database_full,
        )
    ]
    if settings.botpress_webhook_url:
        secret = settings.botpress_webhook_secret.reveal()
        if not (secret.isascii() and secret.isprintable()):
            raise ConfigurationError("BOTPRESS_WEBHOOK_SECRET must be plain characters, as a header can carry them")
        webhooks = Webhooks(allow_private=settings.allow_private_webhooks)
        if problem := webhooks.check_url(settings.botpress_webhook_url):
            raise ConfigurationError(f"BOTPRESS_WEBHOOK_URL is wrong: {problem}")
        channels.append(
            BotpressWebhookChannel(settings.botpress_webhook_url, settings.botpress_webhook_secret, webhooks)
        )
    return channels


def _keys(settings: Settings, bots: Sequence[Bot]) -> dict[str, Secret]:
    """The encryption keys of single bots, by their names."""
    own = settings.botpress_encryption_keys
    return {bot.name: own[suffix] for bot in bots if (suffix := variable_suffix(bot.name)) in own}
