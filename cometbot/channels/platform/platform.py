"""The objects that the platform's views and channels share."""

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
from cometbot.chat import Chat
from cometbot.http.rate_limiter import BruteForceGuard, RateLimiter
from cometbot.http.webhooks import WebhookClient
from cometbot.store.metadata import get_or_create_metadata

CHAT_CREATED = "chat_made"
"""A signal to all of a user's pages: the user created a chat. Its data is ``{"id"}``."""

TYPING = "typing"
"""A signal in a chat: the bot is working, or has stopped. Its data is ``{"on"}``."""

STREAM_DELTA = "piece"
"""A signal in a chat: a part of a delta of a message that the bot is still writing.

Its data is ``{"stream", "sequence", "part", "last", "text"}``. A ``text`` of null aborts the stream.
"""

JWT_SECRET_NAME = "platform.jwt_secret"


_log = logging.getLogger(__name__)


class Platform:
    """The chat server, the bots, the config, and the secrets.

    ``config_fields`` are values of config fields that environment variables set. ``observe`` is called for each message
    to a bot of this server with the bot's name, and ``received`` or ``duplicate``. ``on_storage_full`` is called for
    each file that is refused because there is no room; ``on_database_full`` for each request that is refused because
    the database has no room.

    Raises :class:`ConfigurationError` if the config is invalid.
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
        """Count a file that was refused because there is no room, and log it at most once a minute."""
        if self._on_storage_full is not None:
            self._on_storage_full()
        if self._warning_rates.acquire("full") == 0:
            _log.error("refused a file: %s. Set COMETBOT_STORAGE or COMETBOT_FREE_SPACE, or make room.", error)

    def report_file_error(self, error: OSError) -> None:
        """Log a file that could not be written, at most once a minute."""
        if self._warning_rates.acquire("failed") == 0:
            _log.error("cannot write a file: %s. Check the folder COMETBOT_DATA and its disk.", error)

    def report_wrong_admin_key(self, address: str) -> None:
        """Count a wrong admin key, and log it at most once a minute."""
        self.admin_key_guesses.count_failure(address)
        if self._warning_rates.acquire("admin key") == 0:
            _log.warning(
                "refused a call of the admin API from %s: expected the key in PLATFORM_ADMIN_SECRET_KEY, got another",
                address,
            )

    @property
    def token_signer(self) -> TokenSigner:
        """The signer of cookies.

        If the settings hold no secret, the first access creates one and stores it in the database.
        """
        if self._token_signer is None:
            secret = self.settings.jwt_secret or get_or_create_metadata(
                self.database, JWT_SECRET_NAME, lambda: secrets.token_hex(32)
            )
            self._token_signer = TokenSigner(secret)
        return self._token_signer


def _ignore_outcome(bot: str, outcome: str) -> None:
    """Do nothing: the default for ``observe``."""
