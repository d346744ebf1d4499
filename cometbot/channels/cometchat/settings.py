"""A bot's UID on CometChat, and the credentials and limits of the calls that it receives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cometbot.bot import Bot
from cometbot.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSettings:
    """Credentials and limits of CometChat's calls.

    ``credentials`` maps bot names to (user, password). ``webhook_credentials`` are those of the app's webhooks; without
    them the bot's apply. ``previous`` and ``previous_webhook`` count as well, while a password is being changed. A bot
    without credentials is refused at startup unless ``allow_anonymous``; then its views need no credentials. Messages
    that CometChat's moderation has disapproved are ignored unless ``answer_disapproved``. ``body_limit`` is in bytes,
    ``body_timeout`` in seconds without a byte. The credentials never appear in a repr.
    """

    credentials: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    webhook_credentials: tuple[str, str] | None = field(default=None, repr=False)
    previous: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    previous_webhook: tuple[str, str] | None = field(default=None, repr=False)
    allow_anonymous: bool = False
    answer_disapproved: bool = False
    body_limit: int = 1024 * 1024
    body_timeout: float = 10.0

    def validate(self, bot: str) -> None:
        """Raise :class:`ConfigurationError` if the callback of ``bot`` is unintentionally open to anyone."""
        user, password = self.credentials.get(bot, ("", ""))
        if bot in self.credentials and (not user or not password or ":" in user):
            raise ConfigurationError(
                f"the callback credentials of {bot} need a user name without a colon and a password"
            )
        if bot not in self.credentials and not self.allow_anonymous:
            raise ConfigurationError(
                f"the callback of {bot} has no credentials. Set COMETBOT_CALLBACK_USERNAME and "
                "COMETBOT_CALLBACK_PASSWORD, or COMETBOT_ALLOW_ANONYMOUS_CALLBACKS=1 to leave it open."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationSettings:
    """Credentials and limits of the requests with which CometChat's moderation asks a bot about messages.

    ``credentials`` are (user, password); ``previous`` count as well, while the password is being changed. They never
    appear in a repr. Without them a bot that moderates is refused at startup unless ``allow_anonymous``. ``threads`` is
    how many messages are judged at a time in a process. Of a request, ``body_limit`` is in bytes, ``body_timeout`` in
    seconds without a byte.
    """

    credentials: tuple[str, str] | None = field(default=None, repr=False)
    previous: tuple[str, str] | None = field(default=None, repr=False)
    allow_anonymous: bool = False
    threads: int = 32
    body_limit: int = 1024 * 1024
    body_timeout: float = 1.0

    def validate(self, bot: str) -> None:
        """Raise :class:`ConfigurationError` if the moderation of ``bot`` is unintentionally open to anyone."""
        user, password = self.credentials or ("", "")
        if self.credentials is not None and (not user or not password or ":" in user):
            raise ConfigurationError(
                "the credentials of the moderation need a user name without a colon and a password"
            )
        if self.credentials is None and not self.allow_anonymous:
            raise ConfigurationError(
                f"the bot {bot} has a function for moderation, which has no credentials. Set "
                "COMETCHAT_MODERATION_USERNAME and COMETCHAT_MODERATION_PASSWORD, or "
                "COMETCHAT_ALLOW_ANONYMOUS_MODERATION=1 to leave it open."
            )


def get_cometchat_uid(bot: Bot) -> str:
    """Return the CometChat UID of ``bot``."""
    return bot.cometchat_uid or bot.name
