"""What the platform is told at its start."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MAX_CHATS_PER_BOT = 10
"""Chats that a user may have with one bot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSettings:
    """Secrets, limits, and ways.

    ``admin_secret`` opens the Admin API, which is closed without one. ``jwt_secret`` signs cookies; without one it is
    made, and kept in the database. ``base_url`` is where bots find files. Rates count in each process: messages a user
    and minute, requests an address and minute, new users an address and hour. ``max_user_storage`` is the bytes of
    files that one user may have. ``merge_replies`` lets several replies to one message become one.
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
        """Whether people reach the platform over HTTPS, whatever a request looks like from here."""
        return self.base_url.startswith("https://")
