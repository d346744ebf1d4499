"""The routes of the Chat API: each request is read, checked in the documented order, carried out and answered."""

from __future__ import annotations

import base64
import hashlib
import logging
import math
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import flask
import orjson
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from cometbot.channels.base import Intake
from cometbot.channels.botpress import openapi, routing, schemas, wire
from cometbot.channels.botpress.keys import NO_KEY
from cometbot.channels.botpress.operations import Call, Operations
from cometbot.channels.botpress.routes import TYPES, Route
from cometbot.chat import CONVERSATION_DELETED, PARTICIPANT_REMOVED, Listener, Signal, Topic
from cometbot.errors import Missing, PayloadError, StorageFull, StoreBusy, StoreUnavailable
from cometbot.http import sse
from cometbot.http.addresses import counted_address
from cometbot.http.errors import HttpError, echo, unavailable
from cometbot.http.limits import read_body
from cometbot.http.rates import Rates

if TYPE_CHECKING:
    from cometbot.channels.botpress.channel import BotpressChannel

_log = logging.getLogger(__name__)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_HEARD = frozenset({"createMessage", "createEvent"})
_DEEPEST = 100
_PING_EVERY = 30.0
_EVENT = "message"
_MINUTE = 60.0
_HOUR = 3600.0
_HELLO = "Hello from cometbot: this is a Chat API.\n"
_NOTHING_ELSE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_SNAKE = re.compile(r"(?<=[a-z])(?=[A-Z])")


def make_blueprint(channel: BotpressChannel, intake: Intake) -> flask.Blueprint:
    """The routes ``/botpress/<bot>`` and all below it."""
    views = ChatApiViews(channel, intake)
    blueprint = flask.Blueprint("botpress", __name__, template_folder="templates")
    options: dict[str, Any] = {
        "methods": _METHODS,
        "provide_automatic_options": False,
        "strict_slashes": False,
        "merge_slashes": False,
    }
    # Before the rules, which are made when the blueprint is registered.
    blueprint.record(lambda state: state.app.url_map.converters.update(botpress_rest=routing.Rest))
    blueprint.add_url_rule("/botpress/<bot>", "root", views.take, **options)
    blueprint.add_url_rule("/botpress/<bot>/<botpress_rest:rest>", "operation", views.take, **options)
    blueprint.record(_take_all_methods)
    blueprint.register_error_handler(HttpError, views.refuse)
    blueprint.register_error_handler(PayloadError, views.refuse_payload)
    blueprint.register_error_handler(StoreBusy, views.refuse_busy)
    blueprint.register_error_handler(StorageFull, views.refuse_full)
    blueprint.register_error_handler(Missing, views.refuse_missing)
    blueprint.register_error_handler(HTTPException, views.refuse_http)
    blueprint.after_request(views.finish)
    return blueprint


class ChatApiViews:
    """What happens to one request: operation, body, shape, key, rate, rights. Refusals have the Chat API's own body."""

    def __init__(self, channel: BotpressChannel, intake: Intake) -> None:
        self._chat = channel.chat
        self._settings = channel.settings
        self._observe = channel.observe
        self._on_full = channel.on_full
        self._operations = {name: channel.operations(bot, intake) for name, bot in intake.bots.items()}
        self._rates = Rates(channel.settings.requests, _MINUTE)
        self._signups = Rates(channel.settings.signups, _HOUR)

    def take(self, bot: str, rest: str = "") -> flask.Response:
        """The answer to any request below a bot's URL."""
        request = flask.request
        operations = self._operations.get(bot)
        if operations is None:
            raise HttpError(404, "ResourceNotFound", f"No bot {echo(bot)} is served here")
        if request.method == "OPTIONS":
            return self._preflight()
        if plain := self._plain(bot, rest):
            return plain
        path = routing.raw_path(request.environ, f"{request.script_root}/botpress/{bot}", rest)
        route, ids = routing.find(path, request.method)
        body = self._read(route)
        key = operations.keys.read(self._key()) if route.has_key else NO_KEY
        self._check_rate(f"{bot}/{key.user}" if route.has_key else f"address/{counted_address(request.remote_addr)}")
        if not route.has_key:
            self._check_signups(operations)
        call = Call(key, ids, body, request.args.get("nextToken", "") if route.paged else "")
        if route.is_stream:
            return self._listen(bot, operations, call)
        answer = _method(operations, route)(call)
        if route.name in _HEARD:
            self._observe(bot, "received")
        return _json(answer, route.status)

    def refuse(self, error: HttpError) -> flask.Response:
        """The answer to a request that is not carried out."""
        status = 400 if error.status in (408, 411) else error.status
        kind = error.code if error.code and not error.code.startswith("ERR_") else TYPES.get(status, "Unknown")
        bot = str((flask.request.view_args or {}).get("bot", ""))
        self._observe(bot if bot in self._operations else "", "refused")
        _log.info("refused a request with %s %s", status, kind)
        body = wire.to_refusal(status, kind, error.message, datetime.now(timezone.utc))
        answer = _json(body, status)
        answer.headers.extend(error.headers)
        if status == 429 and "Retry-After" in error.headers:
            answer.headers["RateLimit-Limit"] = str(self._settings.requests)
            answer.headers["RateLimit-Remaining"] = "0"
            answer.headers["RateLimit-Reset"] = error.headers["Retry-After"]
        return answer

    def refuse_payload(self, error: PayloadError) -> flask.Response:
        """The answer to a body that has not the shape that it must have."""
        return self.refuse(HttpError(400, "InvalidPayload", str(error)))

    def refuse_missing(self, error: Missing) -> flask.Response:
        """The answer where something was removed while it was asked for."""
        return self.refuse(HttpError(404, "ResourceNotFound", "It was removed at this moment"))

    def refuse_http(self, error: HTTPException) -> flask.Response:
        """The answer to what Flask refuses, and to what failed here in an unforeseen way and is in the log."""
        status = error.code or 500
        text = "Something went wrong here; the log says what" if status >= 500 else str(error.description)
        return self.refuse(HttpError(status, "Internal" if status >= 500 else "", text))

    def refuse_busy(self, error: StoreBusy) -> flask.Response:
        """Return the answer where the database did not store it; a client that asks again loses nothing."""
        if isinstance(error, StoreUnavailable):
            refusal = unavailable(error)
            return self.refuse(HttpError(refusal.status, "Internal", refusal.message, headers=refusal.headers))
        text = "The database is busy. Send the request again."
        return self.refuse(HttpError(503, "Internal", text, headers={"Retry-After": "1"}))

    def refuse_full(self, error: StorageFull) -> flask.Response:
        """Return the answer where users may store nothing more, and count it."""
        self._on_full()
        return self.refuse(HttpError(507, "Internal", "There is no room to store this; delete something first"))

    def finish(self, answer: flask.Response) -> flask.Response:
        """``answer`` as browsers and Node need it.

        Node's client would open a stream on a connection that an ordinary call used before, and that its own pool then
        cuts after some seconds of silence; so ordinary answers end their connection.
        """
        if answer.mimetype != "text/event-stream":
            answer.headers["Connection"] = "close"
            answer.headers["Cache-Control"] = "no-store"
        origin = flask.request.headers.get("Origin", "")
        if self._settings.origins:
            answer.vary.add("Origin")
        if origin and (origin in self._settings.origins or "*" in self._settings.origins):
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Allow-Credentials"] = "true"
        return answer

    def _preflight(self) -> flask.Response:
        answer = flask.Response("", 200)
        if self._settings.origins:
            answer.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, DELETE, OPTIONS"
            answer.headers["Access-Control-Allow-Headers"] = "content-type, x-user-key, cache-control, accept"
            answer.headers["Access-Control-Max-Age"] = "600"
        return answer

    def _plain(self, bot: str, rest: str) -> flask.Response | None:
        """The answer where no key is needed, and where the paths are not those of operations."""
        name = rest.strip("/")
        if flask.request.method not in ("GET", "HEAD") or name not in ("hello", "openapi.json", "redoc"):
            return None
        if name == "hello":
            return flask.Response(_HELLO, content_type="text/plain; charset=utf-8")
        base = self._settings.public_url or flask.request.root_url
        url = f"{base.rstrip('/')}/botpress/{bot}"
        document = openapi.document(url)
        if name == "openapi.json":
            return _json(document, 200)
        page = flask.render_template("botpress/reference.html", document=document, bot=bot)
        return flask.Response(page, content_type="text/html; charset=utf-8", headers=_page_headers(page))

    def _read(self, route: Route) -> dict[str, Any]:
        """The body as the operation takes it; what stands in the body of one that takes none is thrown away."""
        environ = flask.request.environ
        length = environ.get("CONTENT_LENGTH") or ""
        if route.body is None and not environ.get("HTTP_TRANSFER_ENCODING") and length in ("", "0"):
            return {}
        if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("identity", ""):
            raise HttpError(415, "UnsupportedMediaType", "Send the body without a Content-Encoding")
        if route.body is not None and flask.request.mimetype not in ("", "application/json"):
            raise HttpError(415, "UnsupportedMediaType", "Send the body as application/json in UTF-8")
        try:
            body = read_body(environ, limit=self._settings.body_limit, timeout=self._settings.body_timeout)
        except HttpError as error:
            if error.code == "ERR_EMPTY_BODY" and route.body is None:
                return {}
            raise
        value = _read_json(body)
        return {} if route.body is None else dict(schemas.load(route.body, value))

    def _key(self) -> str:
        key = flask.request.headers.get("x-user-key", "")
        if not key:
            raise HttpError(400, "InvalidPayload", "The header x-user-key is missing: send the user's key in it")
        return key

    def _check_rate(self, who: str) -> None:
        if wait := self._rates.wait(who):
            raise _too_many(f"More than {self._settings.requests} requests in a minute", wait)

    def _check_signups(self, operations: Operations) -> None:
        """Raise :class:`HttpError` with 429 where one address creates more users than it may.

        All bots of the server count together: a new user costs the same with each.
        """
        if not operations.keys.issues:
            return
        if wait := self._signups.wait(counted_address(flask.request.remote_addr)):
            raise _too_many(f"More than {self._settings.signups} new users of this address in an hour", wait)

    def _listen(self, bot: str, operations: Operations, call: Call) -> flask.Response:
        """A stream of what happens in a conversation, for one who takes part in it, for as long as the key opens."""
        here = call.ids["id"]
        operations.check_listener(call)

        def listen() -> Listener:
            """The ear is open before the right is checked, so that who is removed at that moment hears nothing more."""
            listener = self._chat.feed.listen(Topic(operations.scope.channel, operations.scope.bot, here))
            try:
                operations.check_listener(call)
            except BaseException:
                listener.close()
                raise
            return listener

        return sse.stream(
            listen,
            lambda signal: _frames(signal, call.user),
            limits={f"botpress/{bot}/{call.user}": self._settings.streams},
            ping=sse.frame(b"ping", event=_EVENT),
            interval=_PING_EVERY,
            lifetime=call.key.lifetime,
        )


def _take_all_methods(state: Any) -> None:
    """Let methods that nobody has listed be refused in the API's words too."""
    for path, name in (("/botpress/<bot>", "root"), ("/botpress/<bot>/<botpress_rest:rest>", "operation")):
        rule = Rule(path, endpoint=f"botpress.{name}", strict_slashes=False, merge_slashes=False)
        state.app.url_map.add(rule)


def _frames(signal: Signal, user: str) -> Iterator[Any]:
    """What a listener reads of ``signal``; the end where the conversation is gone, or ``user`` takes part no more."""
    for told in wire.to_signals(signal):
        yield sse.frame(orjson.dumps(told), event=_EVENT)
    is_out = signal.kind == PARTICIPANT_REMOVED and signal.data["user"] == user
    if is_out or signal.kind == CONVERSATION_DELETED:
        yield sse.END


def _method(operations: Operations, route: Route) -> Callable[[Call], Mapping[str, Any]]:
    """What carries out the operation: ``getUser`` is ``get_user``."""
    found: Callable[[Call], Mapping[str, Any]] = getattr(operations, _SNAKE.sub("_", route.name).lower())
    return found


def _too_many(what: str, wait: float) -> HttpError:
    seconds = str(math.ceil(wait))
    return HttpError(429, "RateLimited", f"{what}; wait {seconds} seconds", headers={"Retry-After": seconds})


def _json(value: Any, status: int) -> flask.Response:
    return flask.Response(orjson.dumps(value), status, content_type="application/json")


def _read_json(body: bytes) -> Any:
    """Return the JSON in ``body``, which may begin with a byte order mark.

    Raises :class:`HttpError` for a body that is not JSON or is nested too deeply.
    """
    try:
        value = orjson.loads(body.removeprefix(BOM_UTF8))
    except ValueError as error:
        raise HttpError(400, "InvalidPayload", f"Invalid JSON body: {error}") from None
    level = [value]
    for _ in range(_DEEPEST):
        level = [item for outer in level if isinstance(outer, list | dict) for item in _items(outer)]
        if not level:
            return value
    raise HttpError(400, "InvalidPayload", f"The body is nested more than {_DEEPEST} levels deep")


def _items(outer: list[Any] | dict[str, Any]) -> Any:
    return outer.values() if isinstance(outer, dict) else outer


def _page_headers(page: str) -> dict[str, str]:
    """Headers that let nothing but the style in ``page`` have an effect."""
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = hashlib.sha256(style.encode()).digest()
    policy = f"default-src 'none'; style-src 'sha256-{base64.b64encode(digest).decode()}'; {_NOTHING_ELSE}"
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
