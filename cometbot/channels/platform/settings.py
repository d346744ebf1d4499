"""Settings of the platform."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

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
