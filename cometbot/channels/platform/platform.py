"""The objects that the platform's views and channels share: the bots that users can choose, the config and secrets."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cometbot.bot import Bot
from cometbot.channels.platform.config import ReloadableConfig
from cometbot.channels.platform.keys import TokenSigner
from cometbot.chat import Chat, ExternalBots, ListedBot, ListedCommand
from cometbot.events import ConversationStarted
from cometbot.http.webhooks import WebhookClient
from cometbot.observer import Observer
from cometbot.store.database import Database, Transaction
from cometbot.store.metadata import get_or_create_metadata

CHAT_CREATED = "chat_made"
"""A signal to all of a user's pages: the user created a chat. Its data is ``{"id"}``."""

TYPING = "typing"
"""A signal in a chat: the bot is working, or has stopped. Its data is ``{"on", "text"}``; the text says on what."""

STREAM_DELTA = "piece"
"""A signal in a chat: a part of a delta of a message that the bot is still writing.

Its data is ``{"stream", "sequence", "part", "last", "text"}``. A ``text`` of null aborts the stream.
"""

JWT_SECRET_NAME = "platform.jwt_secret"

MAX_CHATS_PER_BOT = 10
"""The number of chats that a user may have with one bot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSettings:
    """The secrets, limits and paths of the platform.

    ``admin_secret`` is the key of the Admin API, which is closed without one. ``jwt_secret`` signs cookies; if it is
    empty, the server creates one and stores it in the database. ``base_url`` is the base of the file URLs that bots
    receive.

    Each process counts the rates for itself: ``message_rate`` messages of a user a minute, ``request_rate`` requests
    from an address a minute, ``signup_rate`` new users from an address an hour. ``max_user_storage`` is the number of
    bytes that the files of one user may have. With ``merge_replies``, several replies to one message become one.
    ``body_timeout`` is in seconds.
    """

    admin_secret: str = field(default="", repr=False)
    jwt_secret: str = field(default="", repr=False)
    config_path: Path | None = None
    base_url: str = "http://127.0.0.1:8000"
    merge_replies: bool = False
    message_rate: int = 60
    request_rate: int = 3000
    signup_rate: int = 60
    max_user_storage: int = 256 * 1024 * 1024
    body_timeout: float = 10.0
    allow_private_webhooks: bool = False

    @property
    def is_secure(self) -> bool:
        """True if users reach the platform over HTTPS, even if a proxy forwards plain HTTP."""
        return self.base_url.startswith("https://")


class BotDirectory:
    """All bots of the platform. Only :attr:`external` ones can be changed by the APIs.

    The id of a bot of this server is its name. Methods that receive a connection work inside the caller's transaction.
    """

    def __init__(self, local_bots: Iterable[Bot], database: Database) -> None:
        self._local_bots = {bot.name: bot for bot in local_bots}
        self.external = ExternalBots(database)

    def is_local(self, bot_id: str) -> bool:
        """Return whether this is a bot of this server."""
        return bot_id in self._local_bots

    def find(self, connection: Transaction, bot_id: str) -> ListedBot | None:
        """Return the bot with this id, or None."""
        local_bot = self._local_bots.get(bot_id)
        return _from_local(local_bot) if local_bot else self.external.find(connection, bot_id)

    def list_bots(self, connection: Transaction) -> list[ListedBot]:
        """Return all bots: those of this server, then the external ones, oldest first."""
        return [*map(_from_local, self._local_bots.values()), *self.external.list_bots(connection)]

    def has_name(self, connection: Transaction, name: str) -> bool:
        """Return whether a bot has this name. Names of this server's bots match regardless of case and extra spaces."""
        return self.is_local_name(name) or self.external.has_name(connection, name)

    def is_local_name(self, name: str) -> bool:
        """Return whether users would confuse ``name`` with that of a bot of this server."""
        return _normalized_name(name) in map(_normalized_name, self._local_bots)

    def list_commands(self, connection: Transaction, bot_id: str) -> list[ListedCommand]:
        """Return the commands of a bot, in the order in which they were created."""
        local_bot = self._local_bots.get(bot_id)
        if local_bot is None:
            return self.external.list_commands(connection, bot_id)
        return [
            ListedCommand(f"{bot_id}.{command.name}", bot_id, command.name, command.description, command.usage)
            for command in local_bot.commands
        ]


class Platform:
    """The chat server, the bots, the config, and the secrets.

    ``config_fields`` are values of config fields that environment variables set. Raises :class:`ConfigurationError` if
    the config is invalid.
    """

    def __init__(
        self,
        settings: PlatformSettings,
        bots: Iterable[Bot],
        chat: Chat,
        *,
        config_fields: Mapping[str, str] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.settings = settings
        self.chat = chat
        self.database = chat.database
        self.directory = BotDirectory(bots, chat.database)
        self.config = ReloadableConfig(settings.config_path, config_fields or {}, chat.database)
        self.webhooks = WebhookClient(allow_private=settings.allow_private_webhooks)
        self.observer = observer or Observer()

    @functools.cached_property
    def token_signer(self) -> TokenSigner:
        """The signer of cookies.

        If the settings hold no secret, the first access creates one and stores it in the database.
        """
        secret = self.settings.jwt_secret or get_or_create_metadata(
            self.database, JWT_SECRET_NAME, lambda: secrets.token_hex(32)
        )
        return TokenSigner(secret)


def _normalized_name(name: str) -> str:
    """Return the form in which two names that look alike are equal."""
    return " ".join(name.split()).casefold()


def _from_local(bot: Bot) -> ListedBot:
    greets = bot.routes.can_handle(ConversationStarted)
    return ListedBot(bot.name, bot.name, bot.description, bot.avatar, is_local=True, greets=greets)
