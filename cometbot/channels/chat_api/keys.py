"""User keys: JSON Web Tokens that identify the user of a request."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from cometbot.channels.chat_api.schemas import ID_PATTERN
from cometbot.errors import ConfigurationError
from cometbot.http.errors import HttpError

_ALGORITHM = "HS256"
# Only ``id``, ``nbf`` and ``exp`` matter; a signer may add any other claim. A signer whose clock is ahead must not lock
# a user out, so an ``iat`` in the future is accepted.
_DECODE_OPTIONS: Any = {f"verify_{claim}": False for claim in ("iat", "aud", "iss", "sub", "jti")}
LEEWAY = 10.0
"""Seconds by which the signer's clock may differ from this server's for ``nbf`` and ``exp`` (RFC 7519, 4.1.5)."""

_ACCOUNT_CLAIM = "account"
_BLOCK_SIZE = 64
_ID_REGEX = re.compile(ID_PATTERN)


def is_valid_id(text: str) -> bool:
    """Return whether ``text`` has the form of an id: 1 to 70 letters, digits, ``_``, ``-``, backslashes and slashes."""
    return bool(_ID_REGEX.fullmatch(text))


@dataclass(frozen=True, slots=True)
class UserKey:
    """The claims of a valid key.

    ``account`` is the account that the key was issued for; it is empty in keys that a backend signed. ``issued_at`` and
    ``expires_at`` are Unix times, None if the key has no usable one.
    """

    user_id: str
    account: str = ""
    issued_at: float | None = None
    expires_at: float | None = None

    @property
    def lifetime(self) -> float | None:
        """The seconds until the key is refused, or None if it does not expire."""
        return None if self.expires_at is None else max(self.expires_at + LEEWAY - time.time(), 0.0)


NO_KEY = UserKey("")
"""The key of a request that requires none."""


class UserKeys:
    """The keys of one bot's users, signed with HS256.

    In automatic mode (``can_issue``) the server issues keys, signed with its own secret. In manual mode the author's
    backend signs them with the encryption key. The secret is never empty, and appears in no repr.
    """

    def __init__(self, secret: Callable[[], str], *, can_issue: bool) -> None:
        self.can_issue = can_issue
        self._get_secret = secret
        self._secret = b""

    def issue(self, user_id: str, account: str) -> str:
        """Return a key without an expiry for the account ``account`` of the user ``user_id``."""
        return _sign(user_id, self._hmac_key(), {_ACCOUNT_CLAIM: account})

    def verify(self, key: str) -> UserKey:
        """Return the claims of ``key``.

        Raises :class:`HttpError` with 401 for a key that is damaged, foreign, expired or not valid yet. If the
        signature is right, the message names the claim at fault.
        """
        claims = self._claims(key)
        account = claims.get(_ACCOUNT_CLAIM)
        return UserKey(
            str(claims["id"]),
            account if isinstance(account, str) else "",
            _to_timestamp(claims.get("iat")),
            _to_timestamp(claims.get("exp")),
        )

    def _claims(self, key: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                key, self._hmac_key(), algorithms=[_ALGORITHM], options=_DECODE_OPTIONS, leeway=LEEWAY
            )
        except jwt.ExpiredSignatureError:
            raise _invalid_key("the claim exp is in the past") from None
        except jwt.ImmatureSignatureError:
            raise _invalid_key("the claim nbf is in the future") from None
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError):
            raise _invalid_key() from None
        if not isinstance(claims.get("id"), str) or not claims["id"]:
            raise _invalid_key("the claim id is not a text")
        return claims

    def _hmac_key(self) -> bytes:
        if not self._secret:
            self._secret = _to_hmac_key(self._get_secret())
        return self._secret


def sign(user_id: str, secret: str) -> str:
    """Return a key of ``user_id`` signed now with ``secret``, in the same way as the official client.

    Raises :class:`ConfigurationError` for a secret that cannot sign.
    """
    check_secret(secret, "the encryption key")
    return _sign(user_id, _to_hmac_key(secret))


def read_user_id(key: str) -> str:
    """Return the user id in a key without verifying its signature; empty for an invalid key.

    For clients, which hold the key. A server must call :meth:`UserKeys.verify`.
    """
    try:
        return str(jwt.decode(key, options={"verify_signature": False}).get("id", ""))
    except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError):
        return ""


def check_secret(secret: str, setting: str) -> None:
    """Raise :class:`ConfigurationError`, naming the setting ``setting``, for a secret that cannot sign."""
    try:
        _sign("", _to_hmac_key(secret))
    except jwt.PyJWTError as error:
        raise ConfigurationError(f"{setting} cannot sign keys ({error}); set a long random text") from None


def _sign(user_id: str, key: bytes, extra_claims: Mapping[str, str] | None = None) -> str:
    return jwt.encode({"id": user_id, "iat": int(time.time()), **(extra_claims or {})}, key, algorithm=_ALGORITHM)


def _invalid_key(cause: str = "") -> HttpError:
    return HttpError(401, "Unauthorized", f"Invalid user key: {cause}" if cause else "Invalid user key")


def _to_timestamp(value: object) -> float | None:
    """Return the numeric date of a claim, or None. PyJWT also accepts a string of digits."""
    try:
        timestamp = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return timestamp if math.isfinite(timestamp) else None


def _to_hmac_key(secret: str) -> bytes:
    """Return the key block that HMAC derives from a secret (RFC 2104: hashed if too long, then padded with zeros).

    PyJWT accepts a secret of any length in this form, and the signatures are the same.
    """
    key = secret.encode("utf-8", "surrogateescape")
    if len(key) > _BLOCK_SIZE:
        key = hashlib.sha256(key).digest()
    return key.ljust(_BLOCK_SIZE, b"\0") if key else b""
