"""Routes requests to views: paths, credentials, rate limits, and the shape of errors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import flask
import orjson
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect, Rule

from cometbot.channels.platform import cookies, keys
from cometbot.channels.platform.directory import ListedBot
from cometbot.channels.platform.errors import ApiError, unauthorized
from cometbot.channels.platform.ids import ALL_BOTS
from cometbot.channels.platform.platform import Platform
from cometbot.chat import ChatUser
from cometbot.errors import StorageFull, StoreBusy
from cometbot.http.addresses import rate_limit_address
from cometbot.http.errors import HttpError, quote_value, to_http_error, too_many_requests
from cometbot.http.origins import allow_origins, is_same_origin

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

Access = Literal["nobody", "guest", "user", "account", "bot", "admin"]
"""The caller that a view requires.

``nobody``: anyone. ``guest``: anyone; the view receives the user if one is logged in. ``user``: a user. ``account``: a
user; a deleted one gets a 404. ``bot``: a bot, by its key. ``admin``: the admin.
"""

View = Callable[..., Any]

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_CORS_ORIGINS = ("http://localhost", "http://127.0.0.1")
_USER_API_PATHS = ("client-api", "page-api")
_JSON_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_ESCAPES = ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"))

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """An operation of the platform.

    Its view receives the user or bot that ``access`` requires, if any, and then the values in the path.
    """

    method: str
    path: str
    view: View
    access: Access = "nobody"


class Router:
    """Handles all paths below ``/v1``. They match regardless of case, with or without a trailing slash.

    A view returns a JSON value, a JSON value and a status, or a Flask response.
    """

    def __init__(self, platform: Platform, routes: Iterable[Route]) -> None:
        self._platform = platform
        self._map = Map(
            [Rule(f"/{route.path}", endpoint=route, methods=[route.method]) for route in routes],
            strict_slashes=False,
            merge_slashes=False,
        )

    def dispatch(self, rest: str) -> flask.Response:
        """Return the response to the request for ``/v1/`` and ``rest``."""
        path = rest.lower().removesuffix("/")
        is_preflight = flask.request.method == "OPTIONS"
        response = flask.Response(status=204) if is_preflight else self._dispatch(path)
        _add_cors_headers(response)
        return response

    def _dispatch(self, path: str) -> flask.Response:
        context = _RequestContext(self._platform)
        try:
            route, values = self._match(path)
            self._check_origin(path)
            context.check_rate(path)
            response = to_response(route.view(*context.authenticate(route.access), **values))
        except Exception as error:
            if isinstance(error, StorageFull):
                self._platform.on_database_full()
            elif not isinstance(error, HttpError | StoreBusy):
                _log.exception("a view of the platform failed")
            response = to_error_response(error)
        context.renew_cookie(response)
        return response

    def _match(self, path: str) -> tuple[Route, dict[str, Any]]:
        adapter = self._map.bind("platform")
        method = flask.request.method
        if any(character < " " or character == "\x7f" for character in path):
            raise ApiError(404, "There is nothing at a path with control characters.")
        try:
            route, values = adapter.match(f"/{path}", method)
        except MethodNotAllowed as error:
            allowed = ", ".join(sorted(error.valid_methods or ()))
            raise ApiError(405, "Method Not Allowed", {"Allow": allowed}) from None
        except (NotFound, RequestRedirect):
            raise ApiError(404, f"Cannot {method} {quote_value(flask.request.path)[1:-1]}") from None
        return route, dict(values)

    def _check_origin(self, path: str) -> None:
        """Raise :class:`ApiError` if another site's page makes a browser change something with its user's cookie.

        Browsers send ``Sec-Fetch-Site``. Old ones, and those without HTTPS, at least send ``Origin``.
        """
        request = flask.request
        if request.method in _SAFE_METHODS or not path.startswith(_USER_API_PATHS):
            return
        if site := request.headers.get("Sec-Fetch-Site", ""):
            is_foreign = site not in ("same-origin", "none")
        else:
            origin = request.headers.get("Origin", "")
            own_hosts = (request.headers.get("Host", ""), urlsplit(self._platform.settings.base_url).netloc)
            is_foreign = bool(origin) and not any(is_same_origin(origin, host) for host in own_hosts)
        if is_foreign:
            raise ApiError(403, "Pages of other sites may not do this.")


class _RequestContext:
    """The caller of one request, and the cookie that the response renews."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._user: ChatUser | None = None

    def check_rate(self, path: str) -> None:
        """Raise :class:`ApiError` if an address sends more requests than it may."""
        if path.startswith(_USER_API_PATHS):
            self._platform.request_rates.check(client_address(), "Too many requests")

    def authenticate(self, access: Access) -> tuple[Any, ...]:
        """Return the arguments that precede the path's values. Raises :class:`ApiError` for a caller without access."""
        if access == "nobody":
            return ()
        if access == "admin":
            self._check_admin()
            return ()
        if access == "bot":
            return (self._find_bot(),)
        user = self._find_user(reports_deleted=access == "account")
        if user is None and access != "guest":
            raise unauthorized()
        self._user = user
        return (user,)

    def renew_cookie(self, response: flask.Response) -> None:
        """Renew the cookie of a logged-in user for a whole lifetime."""
        if self._user is not None and "Set-Cookie" not in response.headers:
            set_cookies(self._platform, response, self._user)

    def _find_user(self, *, reports_deleted: bool) -> ChatUser | None:
        """Return the user of the first cookie that identifies one.

        For requests of the web chat this server's own cookie comes first, for other clients the protocol's.
        """
        names = _cookie_names(self._platform)
        is_page = flask.request.path.lower().startswith("/v1/page-api")
        user_ids = [_read_cookie(self._platform, name) for name in (reversed(names) if is_page else names)]
        for user_id in filter(None, user_ids):
            with self._platform.database.read() as connection:
                user = self._platform.chat.users.get(connection, ALL_BOTS, user_id)
            if user is not None:
                return user
        if reports_deleted and any(user_ids):
            raise ApiError(404, "User not found.")
        return None

    def _find_bot(self) -> ListedBot:
        header = flask.request.headers.get("Authorization", "")
        if not header:
            raise ApiError(403, "Bot key is required.")
        parts = keys.split_key(header)
        if parts is not None:
            with self._platform.database.read() as connection:
                bot = self._platform.directory.find(connection, parts[0])
            if keys.is_valid_token(parts[1], bot.key if bot else None) and bot is not None:
                return bot
        raise self._wrong_key_error("Invalid bot key.")

    def _check_admin(self) -> None:
        header = flask.request.headers.get("Authorization", "")
        if not header:
            raise ApiError(403, "Admin key is required.")
        caller_address = client_address()
        if (retry_after := self._platform.admin_key_guesses.get_wait(caller_address)) > 0:
            raise too_many_requests("Too many wrong keys", retry_after)
        if not keys.is_admin_secret(header, self._platform.settings.admin_secret):
            self._platform.report_wrong_admin_key(caller_address)
            raise ApiError(403, "Access denied.")

    def _wrong_key_error(self, message: str) -> HttpError:
        """Return the error for a bot's wrong key. After many from one address, it has a Retry-After header.

        These keys are long and random, so each is compared: a wrong one locks out no bot behind the same address.
        """
        retry_after = self._platform.wrong_key_rates.acquire(client_address())
        return too_many_requests("Too many wrong keys", retry_after) if retry_after > 0 else ApiError(403, message)


def to_response(value: Any, status: int = 200) -> flask.Response:
    """Return a view's result as a response."""
    if isinstance(value, flask.Response):
        return value
    if isinstance(value, tuple):
        value, status = value
    body = orjson.dumps(value)
    for character, escape in _ESCAPES:
        body = body.replace(character, escape)
    return flask.Response(body, status, _JSON_HEADERS, content_type="application/json")


def to_error_response(error: Exception) -> flask.Response:
    """Return the response to a request that is refused, or whose view failed."""
    refusal = to_http_error(error)
    response = to_response({"message": refusal.message}, refusal.status)
    response.headers.update(refusal.headers)
    return response


def set_cookies(platform: Platform, response: flask.Response, user: ChatUser) -> None:
    """Log the browser that receives ``response`` in as ``user``."""
    minutes = platform.config.current.user.auth_token_lifetime
    cookie = platform.token_signer.create(user.id, str(user.data.get("nickname", "")), minutes)
    for name in _cookie_names(platform):
        response.set_cookie(name, cookie.value, expires=cookie.expires, **_cookie_attributes(platform))


def delete_cookies(platform: Platform, response: flask.Response) -> None:
    """Log the browser that receives ``response`` out of this server; a ``token`` of another server stays."""
    for name in _cookie_names(platform):
        if name != cookies.TOKEN_COOKIE or _read_cookie(platform, name):
            response.delete_cookie(name, **_cookie_attributes(platform))


def _cookie_names(platform: Platform) -> list[str]:
    """Return the protocol's cookie name, and the one that only this server reads."""
    try:
        port = urlsplit(f"//{flask.request.host}").port
    except ValueError:
        port = None
    return [cookies.TOKEN_COOKIE, platform.token_signer.server_cookie_name(port)]


def _read_cookie(platform: Platform, name: str) -> str | None:
    token = flask.request.cookies.get(name, "")
    return platform.token_signer.verify(token) if token else None


def _cookie_attributes(platform: Platform) -> dict[str, Any]:
    is_secure = flask.request.is_secure or platform.settings.is_secure
    return {"path": "/", "secure": is_secure, "httponly": True, "samesite": "Lax"}


def client_address() -> str:
    """Return the address of the caller, in the form that rate limits count."""
    return rate_limit_address(flask.request.remote_addr)


def _add_cors_headers(response: flask.Response) -> None:
    """Allow the origins in the protocol to read the response, without credentials."""
    preflight_headers = {"Allow-Methods": "GET,POST,HEAD,PUT,DELETE,PATCH"}
    requested_headers = flask.request.headers.get("Access-Control-Request-Headers", "")
    if requested_headers and requested_headers.isprintable():
        preflight_headers["Allow-Headers"] = requested_headers
    allow_origins(response, _CORS_ORIGINS, preflight_headers=preflight_headers)
