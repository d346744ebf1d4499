"""Routes requests to views, and gives responses and errors the shape of the protocol."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import flask
import orjson
from werkzeug.exceptions import MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect, Rule

from cometbot import errors
from cometbot.channels.platform.errors import ApiError, chat_not_found
from cometbot.channels.platform.views.access import Access, Authenticator, Sessions, client_address
from cometbot.chat import ChatUser
from cometbot.http.errors import HttpError, quote_value, to_http_error
from cometbot.http.origins import allow_origins, is_same_origin
from cometbot.http.rate_limiter import RateLimiter

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

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

    def __init__(
        self,
        routes: Iterable[Route],
        authenticator: Authenticator,
        sessions: Sessions,
        *,
        request_rates: RateLimiter,
        base_url: str,
        on_database_full: Callable[[], None],
    ) -> None:
        self._authenticator = authenticator
        self._sessions = sessions
        self._request_rates = request_rates
        self._own_host = urlsplit(base_url).netloc
        self._on_database_full = on_database_full
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
        caller: tuple[Any, ...] = ()
        try:
            route, values = self._match(path)
            self._check_origin(path)
            if path.startswith(_USER_API_PATHS):
                self._request_rates.check(client_address(), "Too many requests")
            caller = self._authenticator.authenticate(route.access)
            response = to_response(route.view(*caller, **values))
        except Exception as error:
            if isinstance(error, errors.StorageFull):
                self._on_database_full()
            elif not isinstance(error, HttpError | errors.StoreBusy | errors.NotFound):
                _log.exception("a view of the platform failed")
            # The chat server finds no conversation if another request deletes the chat after the view has found it.
            response = to_error_response(chat_not_found() if isinstance(error, errors.NotFound) else error)
        self._renew_cookie(response, caller)
        return response

    def _renew_cookie(self, response: flask.Response, caller: tuple[Any, ...]) -> None:
        """Renew the cookie of a logged-in user for a whole lifetime."""
        if caller and isinstance(caller[0], ChatUser) and "Set-Cookie" not in response.headers:
            self._sessions.log_in(response, caller[0])

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
            own_hosts = (request.headers.get("Host", ""), self._own_host)
            is_foreign = bool(origin) and not any(is_same_origin(origin, host) for host in own_hosts)
        if is_foreign:
            raise ApiError(403, "Pages of other sites may not do this.")


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


def _add_cors_headers(response: flask.Response) -> None:
    """Allow the origins in the protocol to read the response, without credentials."""
    preflight_headers = {"Allow-Methods": "GET,POST,HEAD,PUT,DELETE,PATCH"}
    requested_headers = flask.request.headers.get("Access-Control-Request-Headers", "")
    if requested_headers and requested_headers.isprintable():
        preflight_headers["Allow-Headers"] = requested_headers
    allow_origins(response, _CORS_ORIGINS, preflight_headers=preflight_headers)
