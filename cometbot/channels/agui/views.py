"""The route ``POST /agui/<bot>``: a request is stored, and its answer streamed."""

from __future__ import annotations

import logging
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import flask
from werkzeug.exceptions import HTTPException

from cometbot.channels.agui.answer import AnswerWriter
from cometbot.channels.agui.channel import AguiChannel
from cometbot.channels.agui.ids import scope_of, to_plain_id
from cometbot.channels.agui.run_source import RunItem, RunSource, Stopped
from cometbot.channels.agui.runs import Run, begin_run
from cometbot.channels.agui.schemas import drop_earlier_messages, read_input
from cometbot.channels.base import DeliveryService
from cometbot.chat import ChatMessage, new_id
from cometbot.errors import PayloadError, StorageFull, StoreBusy
from cometbot.http import sse
from cometbot.http.auth import BearerTokens
from cometbot.http.errors import HttpError, quote_value, to_http_error
from cometbot.http.json_response import json_response
from cometbot.http.limits import read_body
from cometbot.lenient_json import load_json

_log = logging.getLogger(__name__)

_PING = b": ping\n\n"
_MAX_USER_LENGTH = 200
_STOPPED_TEXTS = {
    Stopped.CLOSED: ("INTERRUPTED", "The server closed the stream. Send the same request again for the rest."),
    Stopped.LATE: ("TIMEOUT", "The answer is not complete yet. Send the same request again for the rest."),
}


def make_blueprint(channel: AguiChannel, delivery: DeliveryService) -> flask.Blueprint:
    """Return the blueprint of ``/agui/<bot>``."""
    views = AguiViews(channel, delivery)
    blueprint = flask.Blueprint("agui", __name__)
    blueprint.add_url_rule("/agui/<bot>", view_func=views.handle_run, methods=["POST"])
    for kind in (HttpError, PayloadError, StoreBusy, StorageFull, HTTPException):
        blueprint.register_error_handler(kind, views.error_response)
    return blueprint


class AguiViews:
    """The handling of one request: token, body, event, stream. What is wrong before the stream is answered as JSON."""

    def __init__(self, channel: AguiChannel, delivery: DeliveryService) -> None:
        self._channel = channel
        self._delivery = delivery
        self._settings = channel.settings
        self._tokens = BearerTokens(token.reveal() for token in channel.settings.tokens)

    def handle_run(self, bot: str) -> flask.Response:
        """Store a request, and return the stream of its answer."""
        if not self._is_authorized():
            text = "expected a token of AGUI_TOKEN, as `Authorization: Bearer <token>` or `X-API-Key: <token>`"
            raise HttpError(401, "ERR_UNAUTHORIZED", text, headers={"WWW-Authenticate": "Bearer"})
        if bot not in self._delivery.bots:
            raise HttpError(404, "ERR_BOT_NOT_FOUND", f"no bot {quote_value(bot)} is served here")
        raw = self._read_body()
        given = read_input(raw)
        run_input = replace(given, thread_id=to_plain_id(given.thread_id or new_id()), run_id=given.run_id or new_id())
        user = self._read_user(run_input.thread_id)
        writer = AnswerWriter(
            given.thread_id or run_input.thread_id,
            run_input.run_id,
            is_versioned=run_input.is_versioned,
            shows_custom=self._settings.shows_custom,
        )
        if run_input.kind is None:
            return _refuse(writer)
        raw = {**drop_earlier_messages(raw), "threadId": run_input.thread_id, "runId": run_input.run_id}

        def begin() -> RunSource:
            """Store the request, now that there is room for its stream."""
            run = begin_run(self._channel.chat, self._delivery, scope_of(bot), run_input, user, raw)
            self._channel.observe(bot, "received" if run.is_new else "duplicate")
            writer.follow(run.key, run.pending)
            return self._listen(run)

        return _stream(begin, writer, {f"agui/{bot}/{user}": self._settings.max_streams})

    def error_response(self, refusal: Exception) -> flask.Response:
        """Return the response to a request that is refused before its stream begins."""
        if isinstance(refusal, StorageFull):
            self._channel.on_database_full()
        error = to_http_error(refusal)
        bot = str((flask.request.view_args or {}).get("bot", ""))
        self._channel.observe(bot if bot in self._delivery.bots else "", "refused")
        _log.info("refused a request: status %s, code %s", error.status, error.code)
        return json_response({"error": {"code": error.code, "message": error.message}}, error.status, error.headers)

    def _is_authorized(self) -> bool:
        headers = flask.request.headers
        return self._tokens.matches(headers.get("Authorization", ""), headers.get("X-API-Key", ""))

    def _read_body(self) -> dict[str, Any]:
        environ = flask.request.environ
        if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() not in ("identity", ""):
            raise HttpError(415, "ERR_UNSUPPORTED_ENCODING", "send the body without a Content-Encoding")
        if flask.request.mimetype not in ("", "application/json"):
            raise HttpError(415, "ERR_UNSUPPORTED_MEDIA_TYPE", "send the body as application/json")
        body = read_body(environ, limit=self._settings.max_body_size, timeout=self._settings.body_timeout)
        try:
            value = load_json(body.removeprefix(BOM_UTF8))
        except ValueError as error:
            raise HttpError(400, "ERR_BAD_REQUEST", f"expected JSON, got something else: {error}") from None
        if not isinstance(value, dict):
            raise HttpError(400, "ERR_BAD_REQUEST", f"expected a RunAgentInput object, got {type(value).__name__}")
        return value

    def _read_user(self, thread: str) -> str:
        """Return the user: the one in the trusted header, else the thread."""
        name = self._settings.user_header
        if not name:
            return thread
        user = _read_utf8(flask.request.headers.get(name, "")).strip()
        if not user or len(user) > _MAX_USER_LENGTH or not user.isprintable():
            raise HttpError(
                400,
                "ERR_BAD_REQUEST",
                f"expected the header {name} with the user, of 1 to {_MAX_USER_LENGTH} printable characters, got "
                f"{quote_value(user) if user else 'none'}",
            )
        return user

    def _listen(self, run: Run) -> RunSource:
        """Return the source of an answer, and then have the request handled, so that no piece of it is missed."""
        try:
            return RunSource(self._channel.chat, run, lifetime=self._settings.lifetime)
        finally:
            if run.to_notify:
                self._delivery.notify(run.to_notify)


def _stream(
    begin: Callable[[], sse.ItemSource[RunItem]], writer: AnswerWriter, limits: Mapping[str, int]
) -> flask.Response:
    """Return the answer, whose source ``begin`` returns. ``limits`` are those of :func:`cometbot.http.sse.stream`."""

    def to_frames(item: RunItem) -> Iterable[bytes]:
        if isinstance(item, Stopped):
            return writer.fail(*_STOPPED_TEXTS[item])
        return writer.write_row(item) if isinstance(item, ChatMessage) else writer.write(item)

    # Servers such as CometChat's call from few addresses for all of their users.
    return sse.stream(begin, to_frames, limits=limits, ping=_PING, first=writer.start(), counts_address=False)


def _refuse(writer: AnswerWriter) -> flask.Response:
    """Return the answer to a request that asks nothing. It needs no slot of a stream."""
    text = "The request has no message of a user, no result of a tool and no answer to an interrupt. Send one of them."
    frames = [writer.start(), *writer.fail("NO_MESSAGE", text)]
    return flask.Response(b"".join(frames), headers=sse.HEADERS, content_type="text/event-stream")


def _read_utf8(header: str) -> str:
    """Return a header as its sender meant it: WSGI reads every byte as a character, but most send UTF-8."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header
