"""The views of the Chat API, which parse a request, check it in the documented order, run it and respond."""

from __future__ import annotations

import base64
import hashlib
import logging
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import flask
import orjson
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from cometbot.channels.base import DeliveryService
from cometbot.channels.chat_api import openapi, routing, schemas, serializers
from cometbot.channels.chat_api.keys import NO_KEY, UserKey
from cometbot.channels.chat_api.operations import ApiRequest, Operations
from cometbot.channels.chat_api.routes import ERROR_TYPES, Route
from cometbot.channels.chat_api.settings import ChatApiSettings
from cometbot.chat import CONVERSATION_DELETED, PARTICIPANT_REMOVED, Feed, Listener, Signal, Topic
from cometbot.errors import NotFound, PayloadError, StorageFull, StoreBusy
from cometbot.http import sse
from cometbot.http.addresses import rate_limit_address
from cometbot.http.errors import HttpError, quote_value, to_http_error
from cometbot.http.json_response import json_response
from cometbot.http.limits import read_body
from cometbot.http.origins import allow_origins
from cometbot.http.rate_limiter import RateLimiter

if TYPE_CHECKING:
    from cometbot.channels.chat_api.channel import ChatApiChannel

_log = logging.getLogger(__name__)

_INCOMING_ROUTES = frozenset({"createMessage", "createEvent"})
_MAX_DEPTH = 100
_PING_INTERVAL = 30.0
_SSE_EVENT = "message"
_MINUTE = 60.0
_HOUR = 3600.0
_PREFLIGHT_HEADERS = {
    "Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Allow-Headers": "content-type, x-user-key, cache-control, accept",
    "Max-Age": "600",
}
_HELLO = "Hello from cometbot: this is a Chat API.\n"
_CLOSED_DIRECTIVES = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def make_blueprint(channel: ChatApiChannel, delivery: DeliveryService) -> flask.Blueprint:
    """Return the blueprint for ``/chat/<bot>`` and all paths below it."""
    operations = {name: channel.operations(bot, delivery) for name, bot in delivery.bots.items()}
    views = ChatApiViews(operations, channel.chat.feed, channel.settings, channel.observe, channel.on_database_full)
    blueprint = flask.Blueprint("chat_api", __name__, template_folder="templates")

    def add_rules(state: Any) -> None:
        """Add rules without methods, so that requests with unknown methods also get an error in the API's format."""
        state.app.url_map.converters.update(chat_api_rest=routing.RestConverter)
        for name, path in (("root", "/chat/<bot>"), ("operation", "/chat/<bot>/<chat_api_rest:rest>")):
            endpoint = f"{blueprint.name}.{name}"
            state.app.view_functions[endpoint] = views.handle_request
            state.app.url_map.add(Rule(path, endpoint=endpoint, strict_slashes=False, merge_slashes=False))

    blueprint.record(add_rules)
    for kind in (HttpError, PayloadError, StoreBusy, StorageFull, NotFound, HTTPException):
        blueprint.register_error_handler(kind, views.error_response)
    blueprint.after_request(views.finish_response)
    return blueprint


class ChatApiViews:
    """The handling of one request: operation, body, schema, key, rate, rights.

    Error responses have the Chat API's own body.
    """

    def __init__(
        self,
        operations: Mapping[str, Operations],
        feed: Feed,
        settings: ChatApiSettings,
        observe: Callable[[str, str], None],
        on_database_full: Callable[[], None],
    ) -> None:
        self._operations = operations
        self._feed = feed
        self._settings = settings
        self._observe = observe
        self._on_database_full = on_database_full
        self._request_rates = RateLimiter(settings.request_rate, _MINUTE)
        self._signup_rates = RateLimiter(settings.signup_rate, _HOUR)

    def handle_request(self, bot: str, rest: str = "") -> flask.Response:
        """Return the response to any request below a bot's URL."""
        request = flask.request
        operations = self._operations.get(bot)
        if operations is None:
            raise HttpError(404, "ResourceNotFound", f"No bot {quote_value(bot)} is served here")
        if request.method == "OPTIONS":
            return flask.Response("", 200)
        if keyless_response := self._keyless_response(bot, rest):
            return keyless_response
        path = routing.raw_path(request.environ, f"{request.script_root}/chat/{bot}", rest)
        route, ids = routing.match_route(path, request.method)
        body = self._read_body(route)
        key = operations.keys.verify(self._read_user_key()) if route.requires_key else NO_KEY
        self._check_rates(bot, operations, key)
        api_request = ApiRequest(key, ids, body, request.args.get("nextToken", "") if route.is_paged else "")
        if route.is_stream:
            return self._stream_response(bot, operations, api_request)
        operation: Callable[[ApiRequest], Mapping[str, Any]] = getattr(operations, route.function_name)
        response = operation(api_request)
        if route.name in _INCOMING_ROUTES:
            self._observe(bot, "received")
        return json_response(response, route.status)

    def error_response(self, refusal: Exception) -> flask.Response:
        """Return the response to a request that is refused, or whose view failed."""
        if isinstance(refusal, StorageFull):
            self._on_database_full()
        if isinstance(refusal, NotFound):
            refusal = HttpError(404, "ResourceNotFound", "It was deleted during the request")
        error = to_http_error(refusal)
        status = 400 if error.status in (408, 411) else error.status
        default_kind = ERROR_TYPES.get(status, "Internal" if status >= 500 else "Unknown")
        kind = default_kind if error.code.startswith("ERR_") else error.code
        bot = str((flask.request.view_args or {}).get("bot", ""))
        self._observe(bot if bot in self._operations else "", "refused")
        _log.info("refused a request: status %s, type %s", status, kind)
        body = serializers.to_error_body(status, kind, error.message, datetime.now(timezone.utc))
        response = json_response(body, status)
        response.headers.extend(error.headers)
        if status == 429 and "Retry-After" in error.headers:
            response.headers["RateLimit-Limit"] = str(self._settings.request_rate)
            response.headers["RateLimit-Remaining"] = "0"
            response.headers["RateLimit-Reset"] = error.headers["Retry-After"]
        return response

    def finish_response(self, response: flask.Response) -> flask.Response:
        """Return ``response`` with the headers that browsers and Node need.

        Node's client would open a stream on a connection that an ordinary call used before, and its own pool closes
        that connection after some idle seconds. So ordinary responses close their connection.
        """
        if response.mimetype != "text/event-stream":
            response.headers["Connection"] = "close"
            response.headers["Cache-Control"] = "no-store"
        allow_origins(response, self._settings.origins, preflight_headers=_PREFLIGHT_HEADERS, with_credentials=True)
        return response

    def _keyless_response(self, bot: str, rest: str) -> flask.Response | None:
        """Return the response for the paths that are not operations and require no key; None for other requests."""
        name = rest.strip("/")
        if flask.request.method not in ("GET", "HEAD") or name not in ("hello", "openapi.json", "redoc"):
            return None
        if name == "hello":
            return flask.Response(_HELLO, content_type="text/plain; charset=utf-8")
        base = self._settings.public_url or flask.request.root_url
        url = f"{base.rstrip('/')}/chat/{bot}"
        document = openapi.build_document(url)
        if name == "openapi.json":
            return json_response(document, 200)
        page = flask.render_template("chat_api/reference.html", document=document, bot=bot)
        return flask.Response(page, content_type="text/html; charset=utf-8", headers=_page_headers(page))

    def _read_body(self, route: Route) -> dict[str, Any]:
        """Return the body as the operation expects it; a body of an operation without one is discarded."""
        environ = flask.request.environ
        length = environ.get("CONTENT_LENGTH") or ""
        if route.body is None and not environ.get("HTTP_TRANSFER_ENCODING") and length in ("", "0"):
            return {}
        if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("identity", ""):
            raise HttpError(415, "UnsupportedMediaType", "Send the body without a Content-Encoding")
        if route.body is not None and flask.request.mimetype not in ("", "application/json"):
            raise HttpError(415, "UnsupportedMediaType", "Send the body as application/json in UTF-8")
        try:
            body = read_body(environ, limit=self._settings.max_body_size, timeout=self._settings.body_timeout)
        except HttpError as error:
            if error.code == "ERR_EMPTY_BODY" and route.body is None:
                return {}
            raise
        value = _read_json(body)
        return {} if route.body is None else dict(schemas.load(route.body, value))

    def _read_user_key(self) -> str:
        key = flask.request.headers.get("x-user-key", "")
        if not key:
            raise HttpError(400, "InvalidPayload", "The header x-user-key is missing: send the user's key in it")
        return key

    def _check_rates(self, bot: str, operations: Operations, key: UserKey) -> None:
        """Raise :class:`HttpError` with 429 for more requests of a user, or new users of an address, than allowed.

        All bots of the server share the limit on new users, since a new user costs the same with each.
        """
        address = rate_limit_address(flask.request.remote_addr)
        rate_key = f"address/{address}" if key is NO_KEY else f"{bot}/{key.user_id}"
        self._request_rates.check(rate_key, f"More than {self._settings.request_rate} requests in a minute")
        if key is NO_KEY and operations.keys.can_issue:
            self._signup_rates.check(
                address, f"More than {self._settings.signup_rate} new users of this address in an hour"
            )

    def _stream_response(self, bot: str, operations: Operations, api_request: ApiRequest) -> flask.Response:
        """Return a stream of a conversation's signals for a participant; it ends when the key expires."""
        conversation_id = api_request.ids["id"]
        operations.check_can_listen(api_request)

        def listen() -> Listener:
            """Listen, then check the right again: a user who is removed at this moment must receive nothing more."""
            listener = self._feed.listen(Topic(operations.scope.channel, operations.scope.bot, conversation_id))
            try:
                operations.check_can_listen(api_request)
            except BaseException:
                listener.close()
                raise
            return listener

        return sse.stream(
            listen,
            lambda signal: _to_frames(signal, api_request.user_id),
            limits={f"chat_api/{bot}/{api_request.user_id}": self._settings.max_streams},
            ping=sse.frame(b"ping", event=_SSE_EVENT),
            interval=_PING_INTERVAL,
            lifetime=api_request.key.lifetime,
        )


def _to_frames(signal: Signal, user: str) -> Iterator[Any]:
    """Yield the frames of ``signal``; end the stream if the conversation is deleted or ``user`` is removed from it."""
    for payload in serializers.to_signal_payloads(signal):
        yield sse.frame(orjson.dumps(payload), event=_SSE_EVENT)
    is_removed = signal.kind == PARTICIPANT_REMOVED and signal.data["user"] == user
    if is_removed or signal.kind == CONVERSATION_DELETED:
        yield sse.END_OF_STREAM


def _read_json(body: bytes) -> Any:
    """Return the JSON in ``body``, which may begin with a byte order mark.

    Raises :class:`HttpError` for a body that is not JSON or is nested too deeply.
    """
    try:
        value = orjson.loads(body.removeprefix(BOM_UTF8))
    except ValueError as error:
        raise HttpError(400, "InvalidPayload", f"Invalid JSON body: {error}") from None
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [item for container in level if isinstance(container, list | dict) for item in _children(container)]
        if not level:
            return value
    raise HttpError(400, "InvalidPayload", f"The body is nested more than {_MAX_DEPTH} levels deep")


def _children(container: list[Any] | dict[str, Any]) -> Any:
    return container.values() if isinstance(container, dict) else container


def _page_headers(page: str) -> dict[str, str]:
    """Return headers that allow only the style in ``page`` to take effect."""
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = hashlib.sha256(style.encode()).digest()
    policy = f"default-src 'none'; style-src 'sha256-{base64.b64encode(digest).decode()}'; {_CLOSED_DIRECTIVES}"
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
