"""The simulator's Flask application: the REST views with API keys, rate limits, misbehaviour and the request log."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask, Response, g, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException

from cometbot.http.json_response import json_response
from cometbot.json_depth import MAX_DEPTH, limit_depth, may_be_too_deep
from cometbot.simulator.errors import Refusal, bad_request, error_json
from cometbot.simulator.journal import MASK, mask_headers, mask_secrets
from cometbot.simulator.misbehaviour import Misbehaviour, Rule
from cometbot.simulator.rate_limits import RateLimits, RateLimitState, rate_limit_headers
from cometbot.simulator.records import APP_SYSTEM
from cometbot.simulator.rest import (
    agents,
    auth_tokens,
    bots,
    conversations,
    friends,
    groups,
    messages,
    moderation,
    users,
)
from cometbot.simulator.rest.routes import ApiCall, Envelope, PlainBody, Route
from cometbot.simulator.world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

PREFIX = "/v3"
_LEGACY_PREFIX = "/v3.0"
FULL_ACCESS, AUTH_ONLY = "fullAccess", "authOnly"

_VERSIONED_PATH_PATTERN = re.compile(r"/v\d+(\.\d+)?(/|$)")
_ROUTES: Sequence[Route] = [
    *users.routes,
    *auth_tokens.routes,
    *friends.routes,
    *groups.routes,
    *bots.routes,
    *agents.routes,
    *messages.routes,
    *conversations.routes,
    *moderation.routes,
]
_SECRET_PATH_PATTERN = re.compile(r"/(bots|users|groups|agents)(/[^/]+)?(/auth_tokens(/[^/]+)?)?/?$")
_TOKEN_IN_PATH_PATTERN = re.compile(r"(/auth_tokens/)[^/]+")


@dataclass(slots=True)
class RestCall:
    """The state of one REST call in progress, as it will be logged."""

    at: float
    started: float
    path: str
    allowance: RateLimitState
    rules: list[Rule] = field(default_factory=list)
    body: Any = None
    answer: Any = None


class RestApi:
    """CometChat's REST API over a world. ``keys`` maps each API key to its scope."""

    def __init__(self, world: World, misbehaviour: Misbehaviour, keys: Mapping[str, str]) -> None:
        self._world = world
        self._misbehaviour = misbehaviour
        self._keys = keys
        self._limits = RateLimits(world)
        self._routes: dict[str, dict[str, Route]] = {}
        self.stopping = threading.Event()

    def register(self, app: Flask) -> None:
        """Register the routes on ``app``, with the checks and the log around them.

        Each path gets a single URL rule for all its methods, because creating rules dominates the start-up time of a
        simulator.
        """
        for route in _ROUTES:
            self._routes.setdefault(f"{PREFIX}{route.rule}", {})[route.method] = route
        for rule, methods in self._routes.items():
            app.add_url_rule(
                rule, rule, self._endpoint(methods), methods=list(methods), provide_automatic_options=False
            )
        app.before_request(self._before_request)
        app.after_request(self._after_request)

    def _endpoint(self, methods: Mapping[str, Route]) -> Callable[..., Response]:
        def endpoint(**path: str) -> Response:
            route = methods["GET" if request.method == "HEAD" else request.method]
            g.exchange.body = body = _read_body()
            query = {name: request.args.getlist(name) for name in request.args}
            with self._world.condition:
                call = ApiCall(self._world, query, body, self._get_acting_uid(route))
                answer = route.view(call, **path)
            if isinstance(answer, PlainBody):
                return _json_response(answer.value, answer.status)
            return _json_response(answer if isinstance(answer, Envelope) else {"data": answer})

        return endpoint

    def _before_request(self) -> Response | None:
        if not _VERSIONED_PATH_PATTERN.match(request.path):
            return None
        route = self._routes.get(request.endpoint or "", {}).get(request.method)
        with self._world.condition:
            allowance = self._limits.count_request(route.group if route else "standard")
        path = "/" + request.path.lstrip("/").partition("/")[2]
        g.exchange = exchange = RestCall(self._world.clock(), time.perf_counter(), path, allowance)
        self._check_key(route)
        if allowance.retry_after:
            raise _too_many_requests()
        exchange.rules = self._misbehaviour.select_rules(request.method, path)
        return self._apply_rules_before(exchange)

    def _check_key(self, route: Route | None) -> None:
        app_id = request.headers.get("appId")
        if app_id is not None and app_id != self._world.app_id:
            raise Refusal("AUTH_ERR_INVALID_APPID", "The app id does not belong to this host.")
        key = request.headers.get("apikey", "")
        if not key:
            raise Refusal("AUTH_ERR_EMPTY_APIKEY", "The apikey header is missing.")
        if key not in self._keys:
            raise Refusal("AUTH_ERR_APIKEY_NOT_FOUND", "The API key does not exist.")
        if self._keys[key] != FULL_ACCESS and not (route and route.auth_only):
            raise Refusal("AUTH_ERR_NO_ACCESS", "The API key does not have the scope for this operation.")

    def _apply_rules_before(self, exchange: RestCall) -> Response | None:
        for rule in exchange.rules:
            if rule.kind == "slow" and self.stopping.wait(rule.seconds):
                raise self._drop_connection(exchange)
            if rule.kind == "rate_limit":
                return _rate_limited_response(rule, self._world.now())
            if rule.kind == "fail" and not rule.after:
                return _failure_response(rule)
            if rule.kind == "drop" and not rule.after:
                raise self._drop_connection(exchange)
        return None

    def _drop_connection(self, exchange: RestCall) -> ConnectionResetError:
        """Log the call without a status and return the exception that makes the server close the connection."""
        if exchange.body is None:
            exchange.body = request.get_json(silent=True)
        exchange.answer = None
        self._log_call(exchange, 0)
        return ConnectionResetError("a rule of misbehaviour closed the connection")

    def _get_acting_uid(self, route: Route) -> str:
        """Return the uid that the request acts for. Must be called with the world's lock held."""
        named = request.headers.get("onBehalfOf", "")
        if route.acting == "must" and not named:
            raise bad_request("onBehalfOf", "The onBehalfOf header is required.")
        return self._world.directory.user(named).uid if named and route.acting != "no" else APP_SYSTEM

    def _after_request(self, response: Response) -> Response:
        exchange: RestCall | None = g.get("exchange")
        if exchange is None:
            return response
        if exchange.body is None and request.content_length:
            exchange.body = request.get_json(silent=True)
        for rule in exchange.rules:
            if rule.after and rule.kind == "fail":
                response = _failure_response(rule)
            elif rule.after and rule.kind == "drop":
                raise self._drop_connection(exchange)
        for name, value in exchange.allowance.headers().items():
            response.headers.setdefault(name, value)
        self._log_call(exchange, response.status_code)
        return response

    def _log_call(self, exchange: RestCall, status: int) -> None:
        clean = mask_secrets if _SECRET_PATH_PATTERN.search(exchange.path) else _identity
        self._world.journal.add_request(
            exchange.at,
            method=request.method,
            path=_TOKEN_IN_PATH_PATTERN.sub(rf"\1{MASK}", request.path),
            query=request.args.to_dict(),
            headers=mask_headers(dict(request.headers)),
            body=clean(exchange.body),
            status=status,
            answer=clean(exchange.answer),
            seconds=time.perf_counter() - exchange.started,
            misbehaviour=tuple(rule.kind for rule in exchange.rules),
        )


def create_app(api: RestApi) -> Flask:
    """Return the application with the REST API. Other parts register their own routes on it."""
    app = Flask(__name__, static_folder=None)
    app.json = _JSONProvider(app)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.url_map.strict_slashes = False
    app.register_error_handler(Refusal, _handle_refusal)
    app.register_error_handler(HTTPException, _handle_http_error)
    app.register_error_handler(Exception, _handle_unexpected_error)
    api.register(app)
    app.wsgi_app = _with_legacy_prefix(app.wsgi_app)  # type: ignore[method-assign, assignment]
    return app


def _with_legacy_prefix(wsgi_app: WSGIApplication) -> WSGIApplication:
    """Wrap ``wsgi_app`` so that it also answers under ``/v3.0``, the prefix in older samples."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(f"{_LEGACY_PREFIX}/"):
            environ["PATH_INFO"] = PREFIX + path[len(_LEGACY_PREFIX) :]
        return wsgi_app(environ, start_response)

    return application


def _handle_refusal(refusal: Refusal) -> Response:
    return _json_response({"error": refusal.to_json()}, refusal.status)


def _handle_http_error(error: HTTPException) -> Response:
    if not _VERSIONED_PATH_PATTERN.match(request.path):
        return _json_response({"error": error_json("ERR_API_NOT_FOUND", str(error.description))}, error.code or 500)
    if not request.path.startswith(f"{PREFIX}/"):
        return _handle_refusal(Refusal("ERR_INVALID_API_VERSION", "This version of the API does not exist."))
    if error.code in (404, 405):
        return _handle_refusal(Refusal("ERR_API_NOT_FOUND", f"{request.method} {request.path} does not exist."))
    return _json_response({"error": error_json("ERR_BAD_REQUEST", str(error.description))}, error.code or 500)


def _handle_unexpected_error(error: Exception) -> Response:
    if isinstance(error, ConnectionResetError):
        raise error
    log.error("failed to answer a request", exc_info=error)
    return _json_response({"error": error_json("ERR_EXCEPTION", "The simulator itself failed; its log says why.")}, 500)


def _too_many_requests() -> Refusal:
    return Refusal("ERR_TOO_MANY_REQUESTS", "Too many requests: wait for as long as Retry-After says.")


def _rate_limited_response(rule: Rule, now: int) -> Response:
    response = _handle_refusal(_too_many_requests())
    response.headers.update(rate_limit_headers(rule.retry_after, rule.reset, now))
    return response


def _failure_response(rule: Rule) -> Response:
    return _json_response({"error": error_json(rule.code, "A rule of misbehaviour applies.")}, rule.status)


def _json_response(answer: Any, status: int = 200) -> Response:
    exchange = g.get("exchange")
    if exchange is not None:
        exchange.answer = answer
    return json_response(answer, status)


class _JSONProvider(DefaultJSONProvider):
    """Makes ``request.get_json`` parse JSON with the same parser as the API."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse the JSON in ``s``. Raises ValueError if it is invalid or nested too deeply."""
        return _read_json(s.encode() if isinstance(s, str) else s)


def _read_json(body: bytes) -> Any:
    if may_be_too_deep(body) and limit_depth(text := body.decode()) != text:
        raise ValueError(f"expected at most {MAX_DEPTH} levels of nesting, got more")
    return orjson.loads(body)


def _read_body() -> dict[str, Any]:
    raw = request.get_data()
    if not raw:
        return {}
    try:
        body = _read_json(raw)
    except ValueError as error:
        raise bad_request("body", f"The body is not JSON: {error}.") from None
    if not request.is_json:
        raise bad_request("Content-Type", "The body must be application/json.")
    if not isinstance(body, dict):
        raise bad_request("body", "The body must be a JSON object.")
    return body


def _identity(value: Any) -> Any:
    return value
