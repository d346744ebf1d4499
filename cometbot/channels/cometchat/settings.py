"""Who may call the CometChat channel's views, and how large and slow a call may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cometbot.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSettings:
    """(User, password) by bot name; ``webhook_credentials`` are those of the app's webhooks, else the bot's count.

    A bot without credentials is refused at start unless ``allow_anonymous``; then anybody may call its views.
    Messages that CometChat's moderation has disapproved are ignored unless ``answer_disapproved``.
    ``body_limit`` is in bytes, ``body_timeout`` in seconds without a byte. The credentials never show in a repr.
    """

    credentials: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    webhook_credentials: tuple[str, str] | None = field(default=None, repr=False)
    allow_anonymous: bool = False
    answer_disapproved: bool = False
    body_limit: int = 1024 * 1024
    body_timeout: float = 10.0

    def validate(self, bot: str) -> None:
        """Raises :class:`ConfigurationError` if anybody could call the callback of ``bot`` unintendedly."""
        user, password = self.credentials.get(bot, ("", ""))
        if bot in self.credentials and (not user or not password or ":" in user):
            raise ConfigurationError(
                f"the callback credentials of {bot} need a user name without a colon and a password"
            )
        if bot not in self.credentials and not self.allow_anonymous:
            raise ConfigurationError(
                f"nobody would have to log in to call the callback of {bot}: set COMETBOT_CALLBACK_USERNAME and "
                "COMETBOT_CALLBACK_PASSWORD, or COMETBOT_ALLOW_ANONYMOUS_CALLBACKS=1 to leave it open"
            )
