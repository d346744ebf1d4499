"""Access keys of bots and of the admin: made, kept as hashes, compared in constant time."""

from __future__ import annotations

import functools
import hashlib
import hmac
import secrets
import string
from dataclasses import dataclass, field

_ALPHABET = string.ascii_letters + string.digits
_TOKEN_LENGTH = 26
_SCRYPT_SALT = b"cometbot access keys of bots"
_MAX_HEADER_LENGTH = 512


@dataclass(frozen=True, slots=True)
class KeyHash:
    """What is kept of a key: enough to recognise it, and with the admin's secret to say it again."""

    salt: str
    hashed: str = field(repr=False)


class BotKeys:
    """Makes and checks keys such as ``01m7xweg9t4sk3k4vgj6reg2f8:6TPg8pZbM2BjCwLBeYcltn7fAx``.

    The random half comes of the admin's secret and of a salt, so that who has the secret can read the key again,
    while the database alone holds nothing that opens anything.
    """

    def __init__(self, admin_secret: str) -> None:
        self._secret = admin_secret

    def create(self, bot_id: str) -> tuple[str, KeyHash]:
        """A new key, and what is to be stored of it."""
        salt = secrets.token_hex(16)
        token = self._token(bot_id, salt)
        return f"{bot_id}:{token}", KeyHash(salt, _hash(salt, token))

    def recover(self, bot_id: str, stored: KeyHash) -> str | None:
        """The key again; None if it was made under another admin's secret."""
        token = self._token(bot_id, stored.salt)
        return f"{bot_id}:{token}" if hmac.compare_digest(_hash(stored.salt, token), stored.hashed) else None

    def _token(self, bot_id: str, salt: str) -> str:
        number = int.from_bytes(hmac.digest(_stretch(self._secret), f"{bot_id}:{salt}".encode(), "sha256"), "big")
        return "".join(_ALPHABET[number // len(_ALPHABET) ** index % len(_ALPHABET)] for index in range(_TOKEN_LENGTH))


_DUMMY_KEY = KeyHash("0" * 32, "0" * 64)


def split_key(header: str) -> tuple[str, str] | None:
    """The bot's id and the token in an ``Authorization`` header; None for what is no key."""
    if len(header) > _MAX_HEADER_LENGTH or ":" not in header:
        return None
    bot_id, token = header.split(":")[:2]
    return bot_id, token


def is_valid_token(token: str, stored: KeyHash | None) -> bool:
    """Whether ``token`` is the one that was stored; takes as long where nothing is."""
    expected = stored or _DUMMY_KEY
    is_same = hmac.compare_digest(_hash(expected.salt, token), expected.hashed)
    return is_same and stored is not None


def is_admin_secret(header: str, secret: str) -> bool:
    """Whether ``header`` is the admin's secret; never where that is empty."""
    given = header.encode("utf-8", "surrogateescape")
    # WSGI hands headers over as Latin-1, whatever was sent.
    raw = header.encode("latin-1", "replace")
    wanted = secret.encode("utf-8", "surrogateescape")
    matches = [hmac.compare_digest(given, wanted), hmac.compare_digest(raw, wanted)]
    return bool(secret) and any(matches)


def _hash(salt: str, token: str) -> str:
    return hashlib.sha256(f"{salt}:{token}".encode("utf-8", "surrogateescape")).hexdigest()


@functools.lru_cache(maxsize=4)
def _stretch(secret: str) -> bytes:
    """The secret, made expensive to guess from what the database holds."""
    key = secret.encode("utf-8", "surrogateescape")
    return hashlib.scrypt(key, salt=_SCRYPT_SALT, n=2**14, r=8, p=1, maxmem=64 * 1024 * 1024)
