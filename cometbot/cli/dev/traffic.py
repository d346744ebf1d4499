"""Reports of the HTTP calls between the bot's process and the real CometChat."""

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
"""The logger that receives a record for each REST call."""

_MAX_BODY_BYTES = 64 * 1024


class CallbackReporter:
    """A WSGI middleware that reports each callback: its path, status, duration, sender and text."""

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
    """Reports each REST call that the client logs."""

    def __init__(self, report: Callable[[Report], None]) -> None:
        super().__init__()
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Report one call from the arguments of its log record."""
        if isinstance(record.args, tuple) and len(record.args) == 3:
            what, status, milliseconds = record.args
            self._report(HttpCall("REST", int(str(status)), float(str(milliseconds)) / 1000, str(what)))


def describe_callback(body: bytes) -> str:
    """Return the sender and the text in a callback's body, or "" if it has none."""
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
    """A request body that records its beginning while it is read."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._recorded = io.BytesIO()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def read(self, *size: int) -> bytes:
        """Read like the request body."""
        piece: bytes = self._source.read(*size)
        if self._recorded.tell() < _MAX_BODY_BYTES:
            self._recorded.write(piece)
        return piece

    @property
    def body(self) -> bytes:
        """Return the recorded beginning."""
        return self._recorded.getvalue()
