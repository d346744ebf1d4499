"""Identifies callers: users by their cookies, bots by their keys, the admin by the secret."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import flask

from cometbot.channels.platform import keys
from cometbot.channels.platform.config import ReloadableConfig
from cometbot.channels.platform.errors import ApiError, unauthorized
from cometbot.channels.platform.ids import ALL_BOTS
from cometbot.channels.platform.keys import TOKEN_COOKIE, TokenSigner
from cometbot.channels.platform.platform import BotDirectory
from cometbot.chat import Chat, ChatUser, ListedBot
from cometbot.http.addresses import rate_limit_address
from cometbot.http.errors import too_many_requests
from cometbot.http.rate_limiter import BruteForceGuard, RateLimiter

Access = Literal["nobody", "guest", "user", "account", "bot", "admin"]
"""The caller that a view requires.

``nobody``: anyone. ``guest``: anyone; the view receives the user if one is logged in. ``user``: a user. ``account``: a
user; a deleted one gets a 404. ``bot``: a bot, by its key. ``admin``: the admin.
"""

_log = logging.getLogger(__name__)


def client_address() -> str:
    """Return the address of the caller, in the form that rate limits count."""
    return rate_limit_address(flask.request.remote_addr)


@dataclass(frozen=True, slots=True)
class Sessions:
    """The cookies by which browsers are logged in.

    ``get_signer`` may read the database. With ``is_https``, users reach the platform over HTTPS even if the request
    does not show it.
    """

    chat: Chat
    config: ReloadableConfig
    get_signer: Callable[[], TokenSigner]
    is_https: bool

    def find_user(self, *, reports_deleted: bool) -> ChatUser | None:
        """Return the user of the first cookie that identifies one.

        For requests of the web chat this server's own cookie comes first, for other clients the protocol's. With
        ``reports_deleted``, raises :class:`ApiError` for the cookie of a deleted user.
        """
        names = self._cookie_names()
        is_page = flask.request.path.lower().startswith("/v1/page-api")
        user_ids = [self._read_cookie(name) for name in (reversed(names) if is_page else names)]
        for user_id in filter(None, user_ids):
            with self.chat.database.read() as connection:
                user = self.chat.users.get(connection, ALL_BOTS, user_id)
            if user is not None:
                return user
        if reports_deleted and any(user_ids):
            raise ApiError(404, "User not found.")
        return None

    def log_in(self, response: flask.Response, user: ChatUser) -> flask.Response:
        """Log the browser that receives ``response`` in as ``user``. Return the response."""
        minutes = self.config.current.limits.user.auth_token_lifetime
        cookie = self.get_signer().create(user.id, str(user.data.get("nickname", "")), minutes)
        for name in self._cookie_names():
            response.set_cookie(name, cookie.value, expires=cookie.expires, **self._attributes())
        return response

    def log_out(self, response: flask.Response) -> flask.Response:
        """Log the browser that receives ``response`` out of this server; a ``token`` of another server stays."""
        for name in self._cookie_names():
            if name != TOKEN_COOKIE or self._read_cookie(name):
                response.delete_cookie(name, **self._attributes())
        return response

    def _cookie_names(self) -> list[str]:
        """Return the protocol's cookie name, and the one that only this server reads."""
        try:
            port = urlsplit(f"//{flask.request.host}").port
        except ValueError:
            port = None
        return [TOKEN_COOKIE, self.get_signer().server_cookie_name(port)]

    def _read_cookie(self, name: str) -> str | None:
        token = flask.request.cookies.get(name, "")
        return self.get_signer().verify(token) if token else None

    def _attributes(self) -> dict[str, Any]:
        is_secure = flask.request.is_secure or self.is_https
        return {"path": "/", "secure": is_secure, "httponly": True, "samesite": "Lax"}


class Authenticator:
    """Finds the caller that a view requires, and limits how often wrong keys are sent."""

    def __init__(self, sessions: Sessions, directory: BotDirectory, admin_secret: str) -> None:
        self._sessions = sessions
        self._database = sessions.chat.database
        self._directory = directory
        self._admin_secret = admin_secret
        self._wrong_key_rates = RateLimiter(30, 60)
        self._admin_key_guesses = BruteForceGuard()
        self._warning_rates = RateLimiter(1, 60)

    def authenticate(self, access: Access) -> tuple[Any, ...]:
        """Return the arguments that precede the path's values. Raises :class:`ApiError` for a caller without access."""
        if access == "nobody":
            return ()
        if access == "admin":
            self._check_admin()
            return ()
        if access == "bot":
            return (self._find_bot(),)
        user = self._sessions.find_user(reports_deleted=access == "account")
        if user is None and access != "guest":
            raise unauthorized()
        return (user,)

    def _find_bot(self) -> ListedBot:
        header = flask.request.headers.get("Authorization", "")
        if not header:
            raise ApiError(403, "Bot key is required.")
        parts = keys.split_key(header)
        if parts is not None:
            with self._database.read() as connection:
                bot = self._directory.find(connection, parts[0])
            if keys.is_valid_token(parts[1], bot) and bot is not None:
                return bot
        # These keys are long and random, so each is compared: a wrong one locks out no bot behind the same address.
        self._wrong_key_rates.check(client_address(), "Too many wrong keys")
        raise ApiError(403, "Invalid bot key.")

    def _check_admin(self) -> None:
        header = flask.request.headers.get("Authorization", "")
        if not header:
            raise ApiError(403, "Admin key is required.")
        caller_address = client_address()
        if (retry_after := self._admin_key_guesses.get_wait(caller_address)) > 0:
            raise too_many_requests("Too many wrong keys", retry_after)
        if keys.is_admin_secret(header, self._admin_secret):
            return
        self._admin_key_guesses.count_failure(caller_address)
        if self._warning_rates.acquire("admin key") == 0:
            _log.warning(
                "rejected an admin request from %s: expected the key in PLATFORM_ADMIN_SECRET_KEY, got another",
                caller_address,
            )
        raise ApiError(403, "Access denied.")
