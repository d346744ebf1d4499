"""The simulator's Flask application: keys, limits, misbehaviour and the log around the REST views."""

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

from cometbot.json_depth import MAX_DEPTH, limit_depth, may_be_too_deep
from cometbot.simulator.journal import mask_headers, mask_secrets
from cometbot.simulator.limits import Allowance, RateLimits, limit_headers
from cometbot.simulator.misbehaviour import Misbehaviour, Rule
from cometbot.simulator.records import APP_SYSTEM
from cometbot.simulator.refusals import Refusal, bad_request, error_json
from cometbot.simulator.rest import bots, conversations, groups, messages, users
from cometbot.simulator.rest.routes import Call, Route
from cometbot.simulator.world import World

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

PREFIX = "/v3"
_OLD_PREFIX = "/v3.0"
FULL_ACCESS, AUTH_ONLY = "fullAccess", "authOnly"

_VERSIONED = re.compile(r"/v\d+(\.\d+)?(/|$)")
_ROUTES: Sequence[Route] = [
    *users.routes,
    *groups.routes,
    *bots.routes,
    *messages.routes,
    *conversations.routes,
]
_KEEP_SECRETS = re.compile(r"/(bots|users|groups)(/[^/]+)?(/auth_tokens)?/?$")


@dataclass(slots=True)
class Exchange:
    """One REST call on its way: what the log will say of it."""

    at: float
    started: float
    path: str
    allowance: Allowance
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

    def is_full_key(self, key: str) -> bool:
        """Whether this API key may do everything."""
        return self._keys.get(key) == FULL_ACCESS

    def install(self, app: Flask) -> None:
        """Give ``app`` the routes, and the checks and the log around them.

        One URL rule a path, whatever its methods: making rules is most of what starting a simulator costs.
        """
        for route in _ROUTES:
            self._routes.setdefault(f"{PREFIX}{route.rule}", {})[route.method] = route
        for rule, methods in self._routes.items():
            app.add_url_rule(
                rule, rule, self._endpoint(methods), methods=list(methods), provide_automatic_options=False
            )
        app.before_request(self._begin)
        app.after_request(self._finish)

    def _endpoint(self, methods: Mapping[str, Route]) -> Callable[..., Response]:
        def endpoint(**path: str) -> Response:
            route = methods["GET" if request.method == "HEAD" else request.method]
            g.exchange.body = body = _read_body()
            query = {name: request.args.getlist(name) for name in request.args}
            with self._world.changed:
                call = Call(self._world, query, body, self._acting(route))
                answer = route.view(call, **path)
            return _reply(answer)

        return endpoint

    def _begin(self) -> Response | None:
        if not _VERSIONED.match(request.path):
            return None
        route = self._routes.get(request.endpoint or "", {}).get(request.method)
        with self._world.changed:
            allowance = self._limits.spend(route.group if route else "standard")
        path = "/" + request.path.lstrip("/").partition("/")[2]
        g.exchange = exchange = Exchange(self._world.clock(), time.perf_counter(), path, allowance)
        self._check_key(route)
        if allowance.retry_after:
            raise _too_many()
        exchange.rules = self._misbehaviour.strike(request.method, path)
        return self._misbehave_before(exchange)

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

    def _misbehave_before(self, exchange: Exchange) -> Response | None:
        for rule in exchange.rules:
            if rule.kind == "slow" and self.stopping.wait(rule.seconds):
                raise self._dropped(exchange)
            if rule.kind == "rate_limit":
                return _reply_limited(rule, self._world.now())
            if rule.kind == "fail" and not rule.after:
                return _reply_failure(rule)
            if rule.kind == "drop" and not rule.after:
                raise self._dropped(exchange)
        return None

    def _dropped(self, exchange: Exchange) -> ConnectionResetError:
        """What the server takes as the wish to hang up; the call is in the log without a status."""
        if exchange.body is None:
            exchange.body = request.get_json(silent=True)
        exchange.answer = None
        self._record(exchange, 0)
        return ConnectionResetError("the simulator closed the connection, as it was told to")

    def _acting(self, route: Route) -> str:
        """The uid that the request acts for. Called with the world's lock held."""
        named = request.headers.get("onBehalfOf", "")
        if route.acting == "must" and not named:
            raise bad_request("onBehalfOf", "The onBehalfOf header is required.")
        return self._world.directory.user(named).uid if named and route.acting != "no" else APP_SYSTEM

    def _finish(self, response: Response) -> Response:
        exchange: Exchange | None = g.get("exchange")
        if exchange is None:
            return response
        if exchange.body is None and request.content_length:
            exchange.body = request.get_json(silent=True)
        for rule in exchange.rules:
            if rule.after and rule.kind == "fail":
                response = _reply_failure(rule)
            elif rule.after and rule.kind == "drop":
                raise self._dropped(exchange)
        for name, value in exchange.allowance.headers().items():
            response.headers.setdefault(name, value)
        self._record(exchange, response.status_code)
        return response

    def _record(self, exchange: Exchange, status: int) -> None:
        clean = mask_secrets if _KEEP_SECRETS.search(exchange.path) else _unchanged
        self._world.journal.note_request(
            exchange.at,
            method=request.method,
            path=request.path,
            query=request.args.to_dict(),
            headers=mask_headers(dict(request.headers)),
            body=clean(exchange.body),
            status=status,
            answer=clean(exchange.answer),
            seconds=time.perf_counter() - exchange.started,
            misbehaviour=tuple(rule.kind for rule in exchange.rules),
        )


def create_app(api: RestApi) -> Flask:
    """The application with the REST API; other routes are added by their owners."""
    app = Flask(__name__, static_folder=None)
    app.json = _JSONProvider(app)
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.url_map.strict_slashes = False
    app.register_error_handler(Refusal, _answer_refusal)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_bug)
    api.install(app)
    app.wsgi_app = _with_old_prefix(app.wsgi_app)  # type: ignore[method-assign, assignment]
    return app


def _with_old_prefix(wsgi_app: WSGIApplication) -> WSGIApplication:
    """``wsgi_app``, which also answers under ``/v3.0``, as older samples write it."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(f"{_OLD_PREFIX}/"):
            environ["PATH_INFO"] = PREFIX + path[len(_OLD_PREFIX) :]
        return wsgi_app(environ, start_response)

    return application


def _answer_refusal(refusal: Refusal) -> Response:
    return _reply({"error": refusal.to_json()}, refusal.status)


def _answer_http(error: HTTPException) -> Response:
    if not _VERSIONED.match(request.path):
        return _reply({"error": error_json("ERR_API_NOT_FOUND", str(error.description))}, error.code or 500)
    if not request.path.startswith(f"{PREFIX}/"):
        return _answer_refusal(Refusal("ERR_INVALID_API_VERSION", "This version of the API does not exist."))
    if error.code in (404, 405):
        return _answer_refusal(Refusal("ERR_API_NOT_FOUND", f"{request.method} {request.path} does not exist."))
    return _reply({"error": error_json("ERR_BAD_REQUEST", str(error.description))}, error.code or 500)


def _answer_bug(error: Exception) -> Response:
    if isinstance(error, ConnectionResetError):
        raise error
    log.error("failed to answer a request", exc_info=error)
    return _reply({"error": error_json("ERR_EXCEPTION", "The simulator itself failed; its log says why.")}, 500)


def _too_many() -> Refusal:
    return Refusal("ERR_TOO_MANY_REQUESTS", "Too many requests: wait for as long as Retry-After says.")


def _reply_limited(rule: Rule, now: int) -> Response:
    response = _answer_refusal(_too_many())
    response.headers.update(limit_headers(rule.retry_after, rule.reset, now))
    return response


def _reply_failure(rule: Rule) -> Response:
    return _reply({"error": error_json(rule.code, "The simulator fails, as it was told to.")}, rule.status)


def _reply(answer: Mapping[str, Any], status: int = 200) -> Response:
    exchange = g.get("exchange")
    if exchange is not None:
        exchange.answer = answer
    return Response(orjson.dumps(answer), status, content_type="application/json")


class _JSONProvider(DefaultJSONProvider):
    """Makes ``request.get_json`` read what the API reads."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Return the JSON in ``s``. Raises ValueError for what is none, or nested too deeply."""
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


def _unchanged(value: Any) -> Any:
    return value
