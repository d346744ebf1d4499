"""Keys of bots and of the admin, and the tokens in users' cookies.

Keys are stored as hashes and compared in constant time. A token is a JWT. Browsers send a cookie to every port of a
host name, and a second server at ``localhost`` replaces the ``token`` of the first. So a browser gets the same JWT also
under a name that no other server uses.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import secrets
import string
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import jwt

from cometbot.chat import ListedBot

TOKEN_COOKIE = "token"
_MIN_SECRET_LENGTH = 32
_ALPHABET = string.ascii_letters + string.digits
_TOKEN_LENGTH = 26
_SCRYPT_SALT = b"cometbot access keys of bots"
_MAX_HEADER_LENGTH = 512


class BotKeys:
    """Creates and recovers keys such as ``01m7xweg9t4sk3k4vgj6reg2f8:6TPg8pZbM2BjCwLBeYcltn7fAx``.

    The second half is derived from the admin's secret and a random salt. With the secret a key can be recovered; the
    database alone contains nothing that gives access.
    """

    def __init__(self, admin_secret: str) -> None:
        self._secret = admin_secret

    def create(self, bot_id: str) -> tuple[str, dict[str, Any]]:
        """Return a new key, and the fields of the bot that verify it and recover it."""
        salt = secrets.token_hex(16)
        token = self._token(bot_id, salt)
        return f"{bot_id}:{token}", {"key_salt": salt, "key_hash": _hash(salt, token)}

    def recover(self, bot: ListedBot) -> str | None:
        """Return the key of a bot, or None if it has none, or one that was created with another admin's secret."""
        token = self._token(bot.id, bot.key_salt)
        is_same = hmac.compare_digest(_hash(bot.key_salt, token), bot.key_hash)
        return f"{bot.id}:{token}" if is_same else None

    def _token(self, bot_id: str, salt: str) -> str:
        number = int.from_bytes(hmac.digest(_stretch(self._secret), f"{bot_id}:{salt}".encode(), "sha256"), "big")
        return "".join(_ALPHABET[number // len(_ALPHABET) ** index % len(_ALPHABET)] for index in range(_TOKEN_LENGTH))


_NO_BOT = ListedBot("", "", key_salt="0" * 32, key_hash="0" * 64)


def split_key(header: str) -> tuple[str, str] | None:
    """Return the bot's id and the token in an ``Authorization`` header, or None if it holds no key."""
    if len(header) > _MAX_HEADER_LENGTH or ":" not in header:
        return None
    bot_id, token = header.split(":")[:2]
    return bot_id, token


def is_valid_token(token: str, bot: ListedBot | None) -> bool:
    """Return whether ``token`` is that of the bot's key. It runs equally long without a bot or key."""
    expected = bot if bot is not None and bot.key_hash else _NO_BOT
    is_same = hmac.compare_digest(_hash(expected.key_salt, token), expected.key_hash)
    return is_same and expected is bot


def is_admin_secret(header: str, secret: str) -> bool:
    """Return whether ``header`` is the admin's secret; always False if that is empty."""
    given = header.encode("utf-8", "surrogateescape")
    # WSGI decodes headers as Latin-1, whatever their encoding.
    raw = header.encode("latin-1", "replace")
    wanted = secret.encode("utf-8", "surrogateescape")
    matches = [hmac.compare_digest(given, wanted), hmac.compare_digest(raw, wanted)]
    return bool(secret) and any(matches)


def _hash(salt: str, token: str) -> str:
    return hashlib.sha256(f"{salt}:{token}".encode("utf-8", "surrogateescape")).hexdigest()


@functools.lru_cache(maxsize=4)
def _stretch(secret: str) -> bytes:
    """Derive a key from the secret that is expensive to guess from the database."""
    key = secret.encode("utf-8", "surrogateescape")
    return hashlib.scrypt(key, salt=_SCRYPT_SALT, n=2**14, r=8, p=1, maxmem=64 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie to be set: its value and its expiry."""

    value: str = field(repr=False)
    expires: datetime


class TokenSigner:
    """Signs and verifies tokens with HS256. The claims are ``id``, ``nickname``, ``exp`` and ``iat``.

    ``secret`` must not be empty; one under 32 bytes is hashed to that length.
    """

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        if not secret:
            raise ValueError("a token cannot be signed with an empty secret")
        key = secret.encode("utf-8", "surrogateescape")
        self._key = key if len(key) >= _MIN_SECRET_LENGTH else hashlib.sha256(key).digest()
        self._clock = clock

    def create(self, user_id: str, nickname: str, minutes: int) -> Cookie:
        """Return a cookie that is valid for ``minutes`` from now."""
        now = int(self._clock())
        expires_at = now + minutes * 60
        claims = {"id": user_id, "nickname": nickname, "exp": expires_at, "iat": now}
        value = jwt.encode(claims, self._key, algorithm="HS256")
        return Cookie(value, datetime.fromtimestamp(expires_at, timezone.utc))

    def server_cookie_name(self, port: int | None) -> str:
        """Return the name of the cookie that only the server with this secret reads at this port.

        The port separates servers that share a secret.
        """
        digest = hmac.new(self._key, f"cookie of port {port or ''}".encode(), hashlib.sha256)
        return f"{TOKEN_COOKIE}_{digest.hexdigest()[:12]}"

    def verify(self, token: str) -> str | None:
        """Return the user's id in a token that was signed here and has not expired; None for any other."""
        options: Any = {"require": ["exp", "id"], "verify_iat": False, "verify_exp": False}
        try:
            claims = jwt.decode(token, self._key, algorithms=["HS256"], options=options)
        except (jwt.InvalidTokenError, UnicodeError, ValueError, RecursionError):
            return None
        user_id, expires_at = claims["id"], claims["exp"]
        is_valid = type(user_id) is str and type(expires_at) in (int, float) and expires_at > self._clock()
        return user_id if is_valid else None
