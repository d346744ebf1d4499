"""Settings of the AG-UI channel."""

from __future__ import annotations

from dataclasses import dataclass

from cometbot.settings import Secret

DEFAULT_LIFETIME = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AguiSettings:
    """The settings of AG-UI for all bots.

    A client sends one of ``tokens`` with each request. ``user_header`` names the header that carries the user; without
    it, each thread is a user of its own. With ``shows_custom``, cards, choices and other messages that are not texts
    are also sent as events of the type ``CUSTOM``.

    ``lifetime`` is the seconds after which a request whose answer is not complete ends; the client may send it again.
    ``body_timeout`` is in seconds. ``max_streams`` are the answers that one user may read from a bot at once.
    ``allow_private_files``: files at addresses of private networks are loaded for the bot.
    """

    tokens: tuple[Secret, ...]
    user_header: str = ""
    shows_custom: bool = False
    max_body_size: int = 1024 * 1024
    body_timeout: float = 10.0
    lifetime: float = DEFAULT_LIFETIME
    max_streams: int = 100
    allow_private_files: bool = False
