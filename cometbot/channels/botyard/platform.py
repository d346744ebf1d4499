"""What the views and the channels of the platform work with."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Mapping

from cometbot.bot import Bot
from cometbot.channels.botyard.config import LiveConfig
from cometbot.channels.botyard.cookies import Tokens
from cometbot.channels.botyard.directory import Directory
from cometbot.channels.botyard.keys import BotKeys
from cometbot.channels.botyard.settings import PlatformSettings
from cometbot.chat import Chat, Scope
from cometbot.http.guesses import Guesses
from cometbot.http.rates import Rates
from cometbot.http.webhooks import Webhooks
from cometbot.models import Conversation
from cometbot.store.facts import keep

NAME = "botyard"
ACCOUNT = "platform"
EVERYWHERE = Scope(NAME)
"""All bots of the platform: here are its users and files, and here chats are looked for."""

NEW = "with:"
"""How the conversation with a user who has no chat with the bot yet begins its name."""

CHAT_MADE = "chat_made"
"""Told to a user's pages: a chat was made in one of them, ``{"id"}``."""

TYPING = "typing"
"""Told in a chat: its bot is at work, or no longer: ``{"on"}``."""

PIECE = "piece"
"""Told in a chat: a part of a piece of a message that is being written, ``{"stream", "sequence", "part", "last",
"text"}``; text null gives it up."""

SECRET_FACT = "botyard.jwt_secret"


_log = logging.getLogger(__name__)


class Platform:
    """The chat server, the bots, the config, and the secrets.

    ``fields`` are fields of the config that are set as variables. ``observe`` is told of each message to a bot that
    runs here its name, and ``received`` or ``duplicate``. Raises :class:`ConfigurationError` where the config is wrong.
    """

    def __init__(
        self,
        settings: PlatformSettings,
        bots: Iterable[Bot],
        chat: Chat,
        *,
        fields: Mapping[str, str] | None = None,
        observe: Callable[[str, str], None] | None = None,
        on_full: Callable[[], None] | None = None,
        on_database_full: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.chat = chat
        self.database = chat.database
        self.directory = Directory(bots, chat.database)
        self.config = LiveConfig(settings.config, fields or {}, chat.database)
        self.keys = BotKeys(settings.admin_secret)
        self.webhooks = Webhooks(allow_private=settings.allow_private_webhooks)
        self.messages_of_user = Rates(settings.message_rate, 60)
        self.requests_of_address = Rates(settings.address_rate, 60)
        self.signups_of_address = Rates(settings.signup_rate, 3600)
        self.wrong_keys_of_address = Rates(30, 60)
        self.admin_guesses = Guesses()
        self.observe = observe or _ignore
        self._on_full = on_full
        self.on_database_full = on_database_full
        self._warnings = Rates(1, 60)
        self._tokens: Tokens | None = None

    def report_full(self, error: Exception) -> None:
        """Count a file that there is no room for, and log it once a minute."""
        if self._on_full is not None:
            self._on_full()
        if self._warnings.wait("full") == 0:
            _log.error("refused a file: %s. Set COMETBOT_STORAGE or COMETBOT_FREE_SPACE, or make room.", error)

    def report_failed_file(self, error: OSError) -> None:
        """Log a file that could not be written, once a minute."""
        if self._warnings.wait("failed") == 0:
            _log.error("cannot write a file: %s. Check the folder COMETBOT_DATA and its disk.", error)

    def report_wrong_admin_key(self, address: str) -> None:
        """Count a wrong admin key, and log it once a minute."""
        self.admin_guesses.count_wrong(address)
        if self._warnings.wait("admin key") == 0:
            _log.warning(
                "refused a call of the admin API from %s: expected the key in BOTYARD_ADMIN_SECRET_KEY, got another",
                address,
            )

    @property
    def tokens(self) -> Tokens:
        """What signs and reads cookies. The secret that nobody has set is made once, by whoever needs it first."""
        if self._tokens is None:
            secret = self.settings.jwt_secret or keep(self.database, SECRET_FACT, lambda: secrets.token_hex(32))
            self._tokens = Tokens(secret)
        return self._tokens


def _ignore(bot: str, outcome: str) -> None:
    """Where nobody counts."""


def scope_of(bot_id: str) -> Scope:
    """Where the chats of one bot are."""
    return Scope(NAME, bot_id)


def lane_to(user_id: str) -> str:
    """What the conversation with a user is called until there is a chat."""
    return f"{NEW}{user_id}"


def conversation_of(bot_id: str, chat_id: str, user_id: str) -> Conversation:
    """A chat as bots and delivery know it."""
    return Conversation(NAME, ACCOUNT, bot_id, chat_id, user_id)
