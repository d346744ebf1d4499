"""The cookies that identify a user: the protocol's ``token``, and one that only this server reads.

Browsers send a cookie to every port of a host name. A second server at ``localhost`` replaces the ``token`` of the
first, so a browser also gets the same JWT under a name that no other server uses.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import jwt

TOKEN_COOKIE = "token"
_MIN_SECRET_LENGTH = 32


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
