"""Creates the Chat API's channels from the settings."""

from __future__ import annotations

from collections.abc import Sequence

from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.channels.chat_api.channel import ChatApiChannel
from cometbot.channels.chat_api.settings import ChatApiSettings
from cometbot.channels.chat_api.webhook import ChatApiWebhookChannel
from cometbot.chat import Chat
from cometbot.errors import ConfigurationError
from cometbot.http.webhooks import WebhookClient
from cometbot.observer import Observer
from cometbot.settings import Secret, Settings, variable_suffix


def make_channels(settings: Settings, bots: Sequence[Bot], observer: Observer, chat: Chat) -> list[Channel]:
    """Return the Chat API channel, and the webhook channel if a webhook is set.

    Raises :class:`ConfigurationError` for a key that cannot sign, and for a webhook URL that is not allowed.
    """
    channels: list[Channel] = [
        ChatApiChannel(
            chat,
            ChatApiSettings(
                encryption_key=settings.chat_api_encryption_key,
                encryption_keys=_encryption_keys(settings, bots),
                webhook_url=settings.chat_api_webhook_url,
                webhook_secret=settings.chat_api_webhook_secret,
                origins=settings.chat_api_origins,
                request_rate=settings.chat_api_requests,
                max_streams=settings.chat_api_streams,
                max_conversations=settings.chat_api_conversations,
                signup_rate=settings.chat_api_signups,
                body_timeout=settings.body_timeout,
                public_url=settings.public_url,
                allow_private_files=settings.allow_private_webhooks,
            ),
            observe=observer.received,
            on_database_full=observer.database_full,
        )
    ]
    if settings.chat_api_webhook_url:
        secret = settings.chat_api_webhook_secret.reveal()
        if not (secret.isascii() and secret.isprintable()):
            raise ConfigurationError("CHAT_API_WEBHOOK_SECRET: expected printable ASCII, for a header")
        webhooks = WebhookClient(allow_private=settings.allow_private_webhooks)
        if problem := webhooks.check_url(settings.chat_api_webhook_url):
            raise ConfigurationError(f"CHAT_API_WEBHOOK_URL: {problem}")
        channels.append(
            ChatApiWebhookChannel(settings.chat_api_webhook_url, settings.chat_api_webhook_secret, webhooks)
        )
    return channels


def _encryption_keys(settings: Settings, bots: Sequence[Bot]) -> dict[str, Secret]:
    """Return the encryption keys of single bots, by the bots' names."""
    keys_by_suffix = settings.chat_api_encryption_keys
    return {bot.name: keys_by_suffix[suffix] for bot in bots if (suffix := variable_suffix(bot.name)) in keys_by_suffix}
