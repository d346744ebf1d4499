"""What can be set of the Chat API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cometbot.settings import Secret

_NO_SECRET = Secret()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatApiSettings:
    """How the Chat API of all bots behaves.

    With ``encryption_key`` the author's backend signs the keys of users, without it the server makes them;
    ``encryption_keys`` are those of single bots, by name, and go before it.
    ``webhook_url`` is told of everything, with ``webhook_secret`` in the header ``x-secret-key``. ``origins`` are those
    whose pages may call; none by default, ``*`` for all. ``request_rate`` is how many one user (or, where nobody has a
    key yet, one address) may make in a minute, ``max_streams`` how many each may hold open, both counted in each
    process; ``max_conversations`` is how many a user may own, ``signup_rate`` how many users one address may create in
    an hour with ``createUser``, counted in each process; 0 is no limit. ``body_timeout`` is in seconds. ``public_url``
    is what the world reaches the server at, empty where requests say so themselves.
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
