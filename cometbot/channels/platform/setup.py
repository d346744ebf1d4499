"""Creates the platform's channels from the settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cometbot.bot import Bot
from cometbot.channels.base import Channel
from cometbot.channels.platform.channel import PlatformChannel
from cometbot.channels.platform.platform import Platform, PlatformSettings
from cometbot.channels.platform.webhook import PlatformWebhookChannel
from cometbot.chat import Chat
from cometbot.observer import Observer
from cometbot.settings import Settings

_ANY_ADDRESS = ("0.0.0.0", "[::]", "::", "")


def make_channels(settings: Settings, bots: Sequence[Bot], observer: Observer, chat: Chat) -> list[Channel]:
    """Return the platform channel, and the channel that posts to external bots.

    Raises :class:`ConfigurationError` if the config file is invalid.
    """
    platform_settings = PlatformSettings(
        admin_secret=settings.platform_admin_secret_key.reveal(),
        jwt_secret=settings.platform_jwt_secret_key.reveal(),
        config_path=Path(settings.platform_config) if settings.platform_config else None,
        base_url=settings.public_url or _local_url(settings.bind),
        merge_replies=settings.platform_join_replies,
        message_rate=settings.platform_messages,
        request_rate=settings.platform_requests,
        signup_rate=settings.platform_signups,
        max_user_storage=settings.platform_storage,
        body_timeout=settings.body_timeout,
        allow_private_webhooks=settings.allow_private_webhooks,
    )
    platform = Platform(platform_settings, bots, chat, config_fields=settings.platform_fields, observer=observer)
    return [PlatformChannel(platform), PlatformWebhookChannel(platform)]


def _local_url(bind: str) -> str:
    """Return the URL at which this machine reaches a server that listens at ``bind``."""
    if bind.startswith("unix:"):
        return "http://localhost"
    host, _, port = bind.rpartition(":")
    return f"http://{'127.0.0.1' if host in _ANY_ADDRESS else host}:{port}"
