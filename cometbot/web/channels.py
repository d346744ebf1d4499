"""Creates the channels that the settings name, and the blueprints with their routes."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from flask import Blueprint

from cometbot.bot import Bot
from cometbot.channels.base import Channel, DeliveryService
from cometbot.channels.cometchat import CallbackSettings, CometChatChannel, CometChatClient
from cometbot.channels.cometchat.press_urls import PressSigner
from cometbot.channels.cometchat.settings import ModerationSettings
from cometbot.errors import ConfigurationError
from cometbot.observer import Observer
from cometbot.settings import Settings
from cometbot.store.database import Database
from cometbot.store.factory import database_from_url
from cometbot.store.metadata import get_or_create_metadata
from cometbot.web.open_files import handler_limit

if TYPE_CHECKING:
    from cometbot.chat import Chat


def channels_from_settings(
    settings: Settings, bots: Sequence[Bot], observer: Observer, db: Database | None = None
) -> list[Channel]:
    """Create the channels that ``settings.channels`` names.

    Channels with conversations of their own store them in ``db`` (None: the database of ``settings``). Raises
    :class:`ConfigurationError` for a channel that does not exist, or that lacks a setting or a package.
    """
    chat = functools.cache(lambda: _make_chat(settings, db or database_from_url(settings.database_url)))
    makers: dict[str, Callable[[], Sequence[Channel]]] = {
        "cometchat": lambda: [_make_cometchat(one, bots, observer, db) for one in settings.split_apps()],
        "chat_api": lambda: _make_chat_api(settings, bots, observer, chat()),
        "platform": lambda: _make_platform(settings, bots, observer, chat()),
        "simplex": lambda: [_make_simplex(settings, bots)],
        "agui": lambda: _make_agui(settings, observer, chat()),
    }
    unknown = [name for name in settings.channels if name not in makers]
    if unknown or not settings.channels:
        raise ConfigurationError(
            f"COMETBOT_CHANNELS: expected some of {', '.join(makers)}, got {', '.join(unknown) or 'none'}"
        )
    return [channel for name in settings.channels for channel in makers[name]()]


def make_blueprint(channel: Channel, delivery: DeliveryService) -> Blueprint | None:
    """Return the routes of one of cometbot's own channels, or None if it has none.

    Raises :class:`ConfigurationError` for a bot without callback credentials, unless anonymous callbacks are allowed.
    """
    if isinstance(channel, CometChatChannel):
        from cometbot.channels.cometchat import callback

        return callback.make_blueprint(channel, delivery)
    if channel.name == "chat_api":
        from cometbot.channels.chat_api import views
        from cometbot.channels.chat_api.channel import ChatApiChannel

        if isinstance(channel, ChatApiChannel):
            return views.make_blueprint(channel, delivery)
    if channel.name == "platform":
        from cometbot.channels.platform.channel import PlatformChannel
        from cometbot.channels.platform.views import blueprint

        if isinstance(channel, PlatformChannel):
            return blueprint.make_blueprint(channel.platform, delivery)
    if channel.name == "agui":
        from cometbot.channels.agui import views as agui_views
        from cometbot.channels.agui.channel import AguiChannel

        if isinstance(channel, AguiChannel):
            return agui_views.make_blueprint(channel, delivery)
    return None


@contextmanager
def _explain_missing_package() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(
            f"COMETBOT_CHANNELS names a channel that needs {error.name}, which is not installed. Run: "
            "pip install 'cometbot[chat]'"
        ) from error


def _make_cometchat(settings: Settings, bots: Sequence[Bot], observer: Observer, db: Database | None) -> Channel:
    """Create the channel of one app. Raises :class:`ConfigurationError`, which names the app if there are several."""
    try:
        return _make_channel_of_app(settings, bots, observer, db)
    except ConfigurationError as error:
        if not settings.cometchat_app:
            raise
        raise ConfigurationError(f"the CometChat app {settings.cometchat_app}: {error}") from error


def _make_channel_of_app(
    settings: Settings, bots: Sequence[Bot], observer: Observer, db: Database | None
) -> CometChatChannel:
    app = settings.cometchat_app
    client = CometChatClient(
        settings.cometchat_base_url,
        settings.cometchat_api_key.reveal(),
        app_id=settings.cometchat_app_id,
        pool_size=settings.threads + handler_limit(settings) // max(len(settings.cometchat_apps), 1),
    )
    return CometChatChannel(
        settings.cometchat_app_id,
        client,
        bots={bot.name: bot for bot in bots},
        rich=settings.cometchat_rich,
        press_signer=_find_press_signer(settings, db),
        callback=_callback_settings(settings, bots),
        observe=partial(observer.received, app=app),
        moderation=_moderation_settings(settings),
        observe_moderation=partial(observer.moderated, app=app),
        app=app,
        paths=settings.callback_paths,
    )


def _find_press_signer(settings: Settings, db: Database | None) -> PressSigner | None:
    """Return what signs the addresses of buttons and forms, or None if there are none."""
    if settings.cometchat_card_buttons == "url":
        _check_card_buttons(settings)
    return _make_press_signer(settings, db) if settings.has_signed_addresses else None


def _check_card_buttons(settings: Settings) -> None:
    """Raise :class:`ConfigurationError` if no button could call an address of this server."""
    if settings.cometchat_rich != "card":
        raise ConfigurationError(
            f"COMETCHAT_CARD_BUTTONS=url is for cards; set COMETCHAT_RICH=card as well, which is "
            f"{settings.cometchat_rich} now, or remove COMETCHAT_CARD_BUTTONS"
        )
    if not settings.public_url.startswith("https://"):
        raise ConfigurationError(
            "COMETCHAT_CARD_BUTTONS=url needs the address that users' apps call; set COMETBOT_PUBLIC_URL to the https "
            f"URL of this server, which is {settings.public_url or 'not set'} now"
        )


def _make_press_signer(settings: Settings, db: Database | None) -> PressSigner:
    """Return what signs the addresses of buttons: with the secret key, or with a secret that the database holds."""

    def get_secret() -> str:
        if settings.secret_key:
            return settings.secret_key.reveal()
        database = db or database_from_url(settings.database_url)
        return get_or_create_metadata(database, "cometchat.press_secret", partial(secrets.token_hex, 32))

    lifetime = settings.keep_days * 86400.0
    return PressSigner(
        settings.public_url, settings.cometchat_app_id, get_secret, lifetime=lifetime, path=settings.callback_path
    )


def _callback_settings(settings: Settings, bots: Sequence[Bot]) -> CallbackSettings:
    credentials = {
        bot.name: settings.callback_credentials(bot.name, bot.callback_username, bot.callback_password) for bot in bots
    }
    webhook = settings.cometchat_webhook_username, settings.cometchat_webhook_password.reveal()
    previous_webhook = settings.cometchat_webhook_username, settings.cometchat_webhook_previous_password.reveal()
    found = {name: given for name, given in credentials.items() if given}
    return CallbackSettings(
        credentials={name: (given.username, given.password.reveal()) for name, given in found.items()},
        webhook_credentials=webhook if all(webhook) else None,
        previous={name: (given.username, given.previous.reveal()) for name, given in found.items() if given.previous},
        previous_webhook=previous_webhook if all(webhook) and all(previous_webhook) else None,
        allow_anonymous=settings.allow_anonymous_callbacks,
        answer_disapproved=settings.cometchat_answer_disapproved,
        body_timeout=settings.body_timeout,
    )


def _moderation_settings(settings: Settings) -> ModerationSettings:
    given = settings.moderation_credentials
    return ModerationSettings(
        credentials=(given.username, given.password.reveal()) if given else None,
        previous=(given.username, given.previous.reveal()) if given and given.previous else None,
        allow_anonymous=settings.cometchat_allow_anonymous_moderation,
        threads=settings.cometchat_moderation_threads,
    )


@_explain_missing_package()
def _make_chat(settings: Settings, db: Database) -> Chat:
    from cometbot.chat import Chat, StorageLimits

    limits = StorageLimits(files=settings.storage, database=settings.database_size, min_free=settings.free_space)
    return Chat(db, settings.data / "files", limits)


@_explain_missing_package()
def _make_chat_api(settings: Settings, bots: Sequence[Bot], observer: Observer, chat: Chat) -> Sequence[Channel]:
    from cometbot.channels.chat_api.setup import make_channels

    return make_channels(settings, bots, observer, chat)


@_explain_missing_package()
def _make_platform(settings: Settings, bots: Sequence[Bot], observer: Observer, chat: Chat) -> Sequence[Channel]:
    from cometbot.channels.platform.setup import make_channels

    return make_channels(settings, bots, observer, chat)


@_explain_missing_package()
def _make_agui(settings: Settings, observer: Observer, chat: Chat) -> Sequence[Channel]:
    from cometbot.channels.agui.setup import make_channels

    return make_channels(settings, observer, chat)


def _make_simplex(settings: Settings, bots: Sequence[Bot]) -> Channel:
    """Create the SimpleX channel without a connection, which only ``cometbot simplex`` has; replies are stored."""
    from cometbot.channels.simplex.channel import SimplexChannel

    return SimplexChannel.from_settings(settings, bots)
