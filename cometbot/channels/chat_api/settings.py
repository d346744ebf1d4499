"""Settings of the Chat API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cometbot.settings import Secret

_NO_SECRET = Secret()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatApiSettings:
    """The settings of the Chat API for all bots.

    With ``encryption_key``, the author's backend signs the users' keys; without it, the server issues them.
    ``encryption_keys`` are those of single bots, by name, and take precedence. ``webhook_url`` receives every signal,
    with ``webhook_secret`` in the header ``x-secret-key``.

    ``origins`` are the origins whose pages may call the API (CORS): none by default, ``*`` for all.

    ``request_rate`` limits the requests a minute of one user, or of one address for requests without a key;
    ``signup_rate`` the users that one address may create in an hour with ``createUser``; ``max_streams`` the open
    streams of one user. Each process counts these three for itself, and 0 means no limit. ``max_conversations`` limits
    the conversations that a user may own.

    ``body_timeout`` is in seconds. ``public_url`` is the public URL of the server; if it is empty, the URL of the
    request is used. ``allow_private_files``: files at addresses of private networks are loaded for the bot.
    """

    encryption_key: Secret = _NO_SECRET
    encryption_keys: Mapping[str, Secret] = field(default_factory=dict)
    webhook_url: str = ""
    webhook_secret: Secret = _NO_SECRET
    origins: tuple[str, ...] = ()
    request_rate: int = 600
    max_streams: int = 100
    max_conversations: int = 1000
    signup_rate: int = 60
    max_body_size: int = 1024 * 1024
    body_timeout: float = 10.0
    public_url: str = ""
    allow_private_files: bool = False
