"""Creates the AG-UI channel from the settings."""

from __future__ import annotations

from collections.abc import Sequence

from cometbot.channels.agui.channel import AguiChannel
from cometbot.channels.agui.settings import AguiSettings
from cometbot.channels.base import Channel
from cometbot.chat import Chat
from cometbot.errors import ConfigurationError
from cometbot.observer import Observer
from cometbot.settings import Settings


def make_channels(settings: Settings, observer: Observer, chat: Chat) -> Sequence[Channel]:
    """Return the channel. Raises :class:`ConfigurationError` without a token: anybody could talk to the bots."""
    if not settings.agui_token:
        raise ConfigurationError(
            "AGUI_TOKEN is not set, which clients of AG-UI must send; set a random text of at least 32 characters, for "
            "example what `openssl rand -hex 32` prints"
        )
    return [
        AguiChannel(
            chat,
            AguiSettings(
                tokens=settings.agui_token,
                user_header=settings.agui_user_header,
                shows_custom=settings.agui_custom_events,
                body_timeout=settings.body_timeout,
                allow_private_files=settings.allow_private_webhooks,
            ),
            observe=observer.received,
            on_database_full=observer.database_full,
        )
    ]
