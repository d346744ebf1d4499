"""What goes over the wire between the bot's process and the real CometChat, reported as it happens."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from cometbot.cli.dev.reports import HttpCall, Report

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CLIENT_LOGGER = "cometbot.channels.cometchat.client"
"""The logger that is told of each REST call."""

_MAX_BODY_BYTES = 64 * 1024


class CallbackReporter:
    """``application``, which tells ``report`` of each callback: its path, status and time, who wrote, and what."""

    def __init__(self, application: WSGIApplication, report: Callable[[Report], None]) -> None:
        self._application = application
        self._report = report

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began = time.perf_counter()
        statuses: list[str] = []
        body = environ["wsgi.input"] = _RecordingInput(environ["wsgi.input"])

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            statuses.append(status)
            return start_response(status, headers, exc_info)

        answer = self._application(environ, start)
        seconds = time.perf_counter() - began
        what = f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '')}"
        status = int(statuses[0].split()[0]) if statuses else 0
        self._report(HttpCall("callback", status, seconds, what, describe_callback(body.body)))
        return answer


class RestCallReporter(logging.Handler):
    """Tells ``report`` of each REST call that the client logs."""

    def __init__(self, report: Callable[[Report], None]) -> None:
        super().__init__()
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of one call, which the record carries as its arguments."""
        if isinstance(record.args, tuple) and len(record.args) == 3:
            what, status, milliseconds = record.args
            self._report(HttpCall("REST", int(str(status)), float(str(milliseconds)) / 1000, str(what)))


def describe_callback(body: bytes) -> str:
    """Who wrote what, as a callback's body says; empty where it does not."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    message = payload.get("data") if isinstance(payload, Mapping) else None
    if not isinstance(message, Mapping) or "sender" not in message:
        return ""
    content = message.get("data")
    text = content.get("text") if isinstance(content, Mapping) else None
    return f"{message['sender']}: {text or message.get('type', '')}"


class _RecordingInput:
    """A body that remembers how it begins while it is read."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._recorded = io.BytesIO()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def read(self, *size: int) -> bytes:
        """As of the body."""
        piece: bytes = self._source.read(*size)
        if self._recorded.tell() < _MAX_BODY_BYTES:
            self._recorded.write(piece)
        return piece

    @property
    def body(self) -> bytes:
        """What was read so far."""
        return self._recorded.getvalue()
