"""Keys of bots and of the admin: created, stored as hashes, compared in constant time."""

from __future__ import annotations

import functools
import hashlib
import hmac
import secrets
import string
from dataclasses import dataclass, field

from cometbot.chat import ListedBot

_ALPHABET = string.ascii_letters + string.digits
_TOKEN_LENGTH = 26
_SCRYPT_SALT = b"cometbot access keys of bots"
_MAX_HEADER_LENGTH = 512


@dataclass(frozen=True, slots=True)
class KeyHash:
    """The stored part of a key: enough to verify it, and to recover it with the admin's secret."""

    salt: str
    hashed: str = field(repr=False)


class BotKeys:
    """Creates and recovers keys such as ``01m7xweg9t4sk3k4vgj6reg2f8:6TPg8pZbM2BjCwLBeYcltn7fAx``.

    The second half is derived from the admin's secret and a random salt. With the secret a key can be recovered; the
    database alone contains nothing that gives access.
    """

    def __init__(self, admin_secret: str) -> None:
        self._secret = admin_secret

    def create(self, bot_id: str) -> tuple[str, KeyHash]:
        """Return a new key, and its hash to be stored."""
        salt = secrets.token_hex(16)
        token = self._token(bot_id, salt)
        return f"{bot_id}:{token}", KeyHash(salt, _hash(salt, token))

    def recover(self, bot_id: str, stored: KeyHash) -> str | None:
        """Return the key of a stored hash, or None if the key was created with another admin's secret."""
        token = self._token(bot_id, stored.salt)
        return f"{bot_id}:{token}" if hmac.compare_digest(_hash(stored.salt, token), stored.hashed) else None

    def _token(self, bot_id: str, salt: str) -> str:
        number = int.from_bytes(hmac.digest(_stretch(self._secret), f"{bot_id}:{salt}".encode(), "sha256"), "big")
        return "".join(_ALPHABET[number // len(_ALPHABET) ** index % len(_ALPHABET)] for index in range(_TOKEN_LENGTH))


_DUMMY_KEY = KeyHash("0" * 32, "0" * 64)


def key_of(bot: ListedBot | None) -> KeyHash | None:
    """Return the stored key of a bot, or None if it has none."""
    return KeyHash(bot.key_salt, bot.key_hash) if bot is not None and bot.key_hash else None


def split_key(header: str) -> tuple[str, str] | None:
    """Return the bot's id and the token in an ``Authorization`` header, or None if it holds no key."""
    if len(header) > _MAX_HEADER_LENGTH or ":" not in header:
        return None
    bot_id, token = header.split(":")[:2]
    return bot_id, token


def is_valid_token(token: str, stored: KeyHash | None) -> bool:
    """Return whether ``token`` matches the stored hash. It runs equally long if nothing is stored."""
    expected = stored or _DUMMY_KEY
    is_same = hmac.compare_digest(_hash(expected.salt, token), expected.hashed)
    return is_same and stored is not None


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
