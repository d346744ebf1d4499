"""The reports from the bot's process to its parent: JSON lines through a pipe, also about its HTTP calls."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import orjson

from cometbot.author_error import ErrorReport

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CLIENT_LOGGER = "cometbot.channels.cometchat.client"
"""The logger that receives a record for each REST call."""

_MAX_BODY_BYTES = 64 * 1024


@dataclass(frozen=True)
class CommandInfo:
    """A bot command for menus: ``name`` with its slash, ``usage`` with its arguments."""

    name: str
    usage: str = ""
    description: str = ""


@dataclass(frozen=True)
class BotInfo:
    """A bot that the process serves.

    It has the bot's name, its CometChat UID, its commands, the group messages that its handlers need, and whether it
    has a function for moderation.
    """

    name: str
    uid: str
    commands: tuple[CommandInfo, ...] = ()
    group_setting: str = "none"
    moderates: bool = False


@dataclass(frozen=True)
class Ready:
    """The process serves these bots. ``files`` are the files of the author's code."""

    bots: tuple[BotInfo, ...]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """The process could not start. If ``is_configuration_error``, the fault's text is a sentence for the user."""

    fault: ErrorReport
    is_configuration_error: bool = False
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Logged:
    """A log record."""

    level: int
    logger: str
    text: str
    fault: ErrorReport | None = None


@dataclass(frozen=True)
class Printed:
    """A line of the process's output."""

    text: str


@dataclass(frozen=True)
class HttpCall:
    """An HTTP call: an incoming ``callback`` or an outgoing ``REST`` call.

    ``text`` describes the content. ``status`` is 0 if there was no response.
    """

    kind: str
    status: int
    seconds: float
    what: str
    text: str = ""


Report = Ready | Failed | Logged | Printed | HttpCall
_REPORT_CLASSES: dict[str, type[Any]] = {kind.__name__: kind for kind in (Ready, Failed, Logged, Printed, HttpCall)}


class Reporter(logging.Handler):
    """Writes reports, and each log record as a report, to a file descriptor. Thread-safe."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
        self._lock = threading.Lock()

    def report(self, report: Report) -> None:
        """Send a report. Does nothing if the parent is gone."""
        line = json.dumps({"report": type(report).__name__, **asdict(report)})
        try:
            with self._lock:
                self._file.write(line + "\n")
                self._file.flush()
        except (OSError, ValueError):
            return

    def emit(self, record: logging.LogRecord) -> None:
        """Send a log record as a report."""
        try:
            error = record.exc_info[1] if record.exc_info else None
            fault = ErrorReport.from_exception(error) if error else None
            self.report(Logged(record.levelno, record.name, record.getMessage(), fault))
        except Exception:
            self.handleError(record)


def read_report(line: str) -> Report:
    """Parse a report that a :class:`Reporter` wrote as ``line``."""
    values: dict[str, Any] = json.loads(line)
    kind = _REPORT_CLASSES[values.pop("report")]
    if values.get("fault"):
        values["fault"] = ErrorReport(**values["fault"])
    if "files" in values:
        values["files"] = tuple(values["files"])
    if "bots" in values:
        values["bots"] = tuple(map(_read_bot, values["bots"]))
    report: Report = kind(**values)
    return report


def _read_bot(values: Mapping[str, Any]) -> BotInfo:
    return BotInfo(**{**values, "commands": tuple(CommandInfo(**command) for command in values["commands"])})


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
