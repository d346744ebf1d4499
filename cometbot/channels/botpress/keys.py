"""User keys: JSON Web Tokens that say which user a request comes from."""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from cometbot.channels.botpress.schemas import OWN_ID
from cometbot.errors import ConfigurationError
from cometbot.http.errors import HttpError

_ALGORITHM = "HS256"
# A key names a user and may end; whatever else its signer put into it is his business. A clock that is ahead of ours
# must not lock a user out, so a time of signing in the future is accepted.
_OPTIONS: Any = {
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}
LEEWAY = 10.0
"""Seconds by which the signer's clock may differ from ours where ``nbf`` and ``exp`` are compared (RFC 7519, 4.1.5)."""

_ACCOUNT = "account"
_BLOCK = 64
_OWN_ID = re.compile(OWN_ID)


def is_own_id(text: str) -> bool:
    """Whether ``text`` has the form of an id: 1 to 70 letters, digits, ``_``, ``-``, ``\\`` and ``/``."""
    return bool(_OWN_ID.fullmatch(text))


@dataclass(frozen=True, slots=True)
class UserKey:
    """The claims of a valid key.

    ``account`` is the account that it was issued for, empty in keys that a backend signed; ``signed_at`` and
    ``ends_at`` are Unix times, None where the key has no usable one.
    """

    user: str
    account: str = ""
    signed_at: float | None = None
    ends_at: float | None = None

    @property
    def lifetime(self) -> float | None:
        """The seconds until the key is refused, None if it has no end."""
        return None if self.ends_at is None else max(self.ends_at + LEEWAY - time.time(), 0.0)


NO_KEY = UserKey("")
"""The key of a request that needs none."""


class UserKeys:
    """The keys of one bot's users, signed with HS256.

    In automatic mode the server makes them (``issues``) with a secret of its own; in manual mode the author's backend
    does, with the encryption key. The secret is never empty, and shows in no repr.
    """

    def __init__(self, secret: Callable[[], str], *, issues: bool) -> None:
        self.issues = issues
        self._make = secret
        self._secret = b""

    def issue(self, user_id: str, account: str) -> str:
        """Return a key without an end for the account ``account`` of the user ``user_id``."""
        return _sign(user_id, self._key(), {_ACCOUNT: account})

    def read(self, key: str) -> UserKey:
        """Return what ``key`` says.

        Raises :class:`HttpError` with 401 for a key that is damaged, foreign, ended or not valid yet. The message names
        the claim that is at fault if the signature is right.
        """
        claims = self._claims(key)
        account = claims.get(_ACCOUNT)
        return UserKey(
            str(claims["id"]),
            account if isinstance(account, str) else "",
            _to_time(claims.get("iat")),
            _to_time(claims.get("exp")),
        )

    def _claims(self, key: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                key, self._key(), algorithms=[_ALGORITHM], options=_OPTIONS, leeway=LEEWAY
            )
        except jwt.ExpiredSignatureError:
            raise _invalid("the claim exp is in the past") from None
        except jwt.ImmatureSignatureError:
            raise _invalid("the claim nbf is in the future") from None
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError):
            raise _invalid() from None
        if not isinstance(claims.get("id"), str) or not claims["id"]:
            raise _invalid("the claim id is not a text")
        return claims

    def _key(self) -> bytes:
        if not self._secret:
            self._secret = _to_key(self._make())
        return self._secret


def sign(user_id: str, secret: str) -> str:
    """A key of ``user_id`` signed now with ``secret``, as the official client signs it.

    Raises :class:`ConfigurationError` for a secret that cannot sign.
    """
    check_secret(secret, "the encryption key")
    return _sign(user_id, _to_key(secret))


def user_of(key: str) -> str:
    """The user id that a key names, whoever signed it; empty if it is none. For who holds the key, not who is asked."""
    try:
        return str(jwt.decode(key, options={"verify_signature": False}).get("id", ""))
    except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError):
        return ""


def check_secret(secret: str, name: str) -> None:
    """Raise :class:`ConfigurationError`, naming the setting ``name``, for a secret that cannot sign."""
    try:
        _sign("", _to_key(secret))
    except jwt.PyJWTError as error:
        raise ConfigurationError(f"{name} cannot sign keys ({error}); set a long random text") from None


def _sign(user_id: str, key: bytes, more: Mapping[str, str] | None = None) -> str:
    return jwt.encode({"id": user_id, "iat": int(time.time()), **(more or {})}, key, algorithm=_ALGORITHM)


def _invalid(cause: str = "") -> HttpError:
    return HttpError(401, "Unauthorized", f"Invalid user key: {cause}" if cause else "Invalid user key")


def _to_time(value: object) -> float | None:
    """Return a numeric date of a claim; PyJWT takes one that is a text of digits, too."""
    try:
        time_of = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return time_of if math.isfinite(time_of) else None


def _to_key(secret: str) -> bytes:
    """The key block that HMAC itself makes of a secret (RFC 2104: hashed if it is too long, then filled with zeros).

    In this form PyJWT takes a secret of any length, and signs with it just the same.
    """
    key = secret.encode("utf-8", "surrogateescape")
    if len(key) > _BLOCK:
        key = hashlib.sha256(key).digest()
    return key.ljust(_BLOCK, b"\0") if key else b""
