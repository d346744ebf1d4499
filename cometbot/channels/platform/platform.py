"""What the views and the channels of the platform work with."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping

from cometbot.bot import Bot
from cometbot.channels.platform.config import ReloadableConfig
from cometbot.channels.platform.cookies import TokenSigner
from cometbot.channels.platform.directory import BotDirectory
from cometbot.channels.platform.keys import BotKeys
from cometbot.channels.platform.settings import PlatformSettings
from cometbot.chat import Chat, Scope
from cometbot.http.brute_force import BruteForceGuard
from cometbot.http.rate_limiter import RateLimiter
from cometbot.http.webhooks import WebhookClient
from cometbot.models import Conversation
from cometbot.store.metadata import get_or_create_metadata

CHANNEL = "platform"
ACCOUNT = "platform"
ALL_BOTS = Scope(CHANNEL)
"""All bots of the platform: here are its users and files, and here chats are looked for."""

NEW_CHAT_PREFIX = "with:"
"""How the conversation with a user who has no chat with the bot yet begins its name."""

CHAT_CREATED = "chat_made"
"""Told to a user's pages: a chat was made in one of them, ``{"id"}``."""

TYPING = "typing"
"""Told in a chat: its bot is at work, or no longer: ``{"on"}``."""

STREAM_DELTA = "piece"
"""Told in a chat: a part of a piece of a message that is being written, ``{"stream", "sequence", "part", "last",
"text"}``; text null gives it up."""

JWT_SECRET_NAME = "platform.jwt_secret"


_log = logging.getLogger(__name__)


class Platform:
    """The chat server, the bots, the config, and the secrets.

    ``config_fields`` are fields of the config that are set as variables. ``observe`` is told of each message to a bot
    that runs here its name, and ``received`` or ``duplicate``. Raises :class:`ConfigurationError` where the config is
    wrong.
    """

    def __init__(
        self,
        settings: PlatformSettings,
        bots: Iterable[Bot],
        chat: Chat,
        *,
        config_fields: Mapping[str, str] | None = None,
        observe: Callable[[str, str], None] | None = None,
        on_storage_full: Callable[[], None] | None = None,
        on_database_full: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.chat = chat
        self.database = chat.database
        self.directory = BotDirectory(bots, chat.database)
        self.config = ReloadableConfig(settings.config_path, config_fields or {}, chat.database)
        self.keys = BotKeys(settings.admin_secret)
        self.webhooks = WebhookClient(allow_private=settings.allow_private_webhooks)
        self.message_rates = RateLimiter(settings.message_rate, 60)
        self.request_rates = RateLimiter(settings.request_rate, 60)
        self.signup_rates = RateLimiter(settings.signup_rate, 3600)
        self.wrong_key_rates = RateLimiter(30, 60)
        self.admin_key_guesses = BruteForceGuard()
        self.observe = observe or _ignore_outcome
        self._on_storage_full = on_storage_full
        self.on_database_full = on_database_full
        self._warning_rates = RateLimiter(1, 60)
        self._token_signer: TokenSigner | None = None

    def report_storage_full(self, error: Exception) -> None:
        """Count a file that there is no room for, and log it once a minute."""
        if self._on_storage_full is not None:
            self._on_storage_full()
        if self._warning_rates.acquire("full") == 0:
            _log.error("refused a file: %s. Set COMETBOT_STORAGE or COMETBOT_FREE_SPACE, or make room.", error)

    def report_file_error(self, error: OSError) -> None:
        """Log a file that could not be written, once a minute."""
        if self._warning_rates.acquire("failed") == 0:
            _log.error("cannot write a file: %s. Check the folder COMETBOT_DATA and its disk.", error)

    def report_wrong_admin_key(self, address: str) -> None:
        """Count a wrong admin key, and log it once a minute."""
        self.admin_key_guesses.count_failure(address)
        if self._warning_rates.acquire("admin key") == 0:
            _log.warning(
                "refused a call of the admin API from %s: expected the key in PLATFORM_ADMIN_SECRET_KEY, got another",
                address,
            )

    @property
    def token_signer(self) -> TokenSigner:
        """What signs and reads cookies. The secret that nobody has set is made once, by whoever needs it first."""
        if self._token_signer is None:
            secret = self.settings.jwt_secret or get_or_create_metadata(
                self.database, JWT_SECRET_NAME, lambda: secrets.token_hex(32)
            )
            self._token_signer = TokenSigner(secret)
        return self._token_signer


def _ignore_outcome(bot: str, outcome: str) -> None:
    """Where nobody counts."""


def bot_scope(bot_id: str) -> Scope:
    """Where the chats of one bot are."""
    return Scope(CHANNEL, bot_id)


def new_chat_id(user_id: str) -> str:
    """What the conversation with a user is called until there is a chat."""
    return f"{NEW_CHAT_PREFIX}{user_id}"


def conversation_of(bot_id: str, chat_id: str, user_id: str) -> Conversation:
    """A chat as bots and delivery know it."""
    return Conversation(CHANNEL, ACCOUNT, bot_id, chat_id, user_id)
