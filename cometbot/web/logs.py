"""Log formats: text lines for people, JSON for machines; both with the ids of events and conversations."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger
from pythonjsonlogger.json import JsonFormatter

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_MAX_TRACEBACK_LENGTH = 20_000
"""Characters of a logged traceback: an error's text may be of any length."""

_LIBRARY_LEVELS = {
    **dict.fromkeys(("alembic", "procrastinate", "sqlalchemy", "urllib3", "websockets"), logging.WARNING),
    "psycopg.pool": logging.ERROR,  # it warns of each failed attempt to connect, which the engine reports itself
}
"""The libraries' loggers, and the lowest level at which an operator can act on their records."""

_LINE_BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r", "\x1b": "\\x1b"})


class TextFormatter(logging.Formatter):
    """Formats a record as one line: time, level, logger, text, then the ``extra`` values as ``name=value``.

    Line breaks in the text are escaped, as a backslash and ``n``, so that a user's text cannot look like another
    record.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text that can be encoded in UTF-8: lone surrogates are escaped."""
        return super().format(record).encode("utf-8", "backslashreplace").decode()

    def formatException(self, ei: Any) -> str:
        """Return the traceback; only the beginning and the end of a very long one."""
        return _truncate(super().formatException(ei))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the record's first line."""
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
        words = [super().formatMessage(record), *(f"{name}={value}" for name, value in extra.items())]
        return " ".join(words).translate(_LINE_BREAKS)


class _JsonFormatter(JsonFormatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the record's time in RFC 3339 format, in UTC with milliseconds."""
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def formatException(self, ei: Any) -> str:
        return _truncate("".join(super().formatException(ei)))


def _truncate(traceback_text: str) -> str:
    if len(traceback_text) <= _MAX_TRACEBACK_LENGTH:
        return traceback_text
    half = _MAX_TRACEBACK_LENGTH // 2
    return f"{traceback_text[:half]}… ({len(traceback_text) - 2 * half} more characters) …{traceback_text[-half:]}"


def make_formatter(log_format: str) -> logging.Formatter:
    """Return the formatter for ``text`` or ``json``.

    A JSON record has ``time``, ``level``, ``logger``, ``message`` and the extras.
    """
    if log_format == "text":
        return TextFormatter()
    return _JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
    )


def configure_logging(log_format: str, level: str) -> None:
    """Log to standard error from ``level`` up, unless the root logger already has handlers.

    The loggers of noisy libraries stay at warnings or errors, except at the level ``debug``.
    """
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(make_formatter(log_format))
        root.addHandler(handler)
        root.setLevel(level.upper())
        if root.level > logging.DEBUG:
            for name, min_level in _LIBRARY_LEVELS.items():
                logging.getLogger(name).setLevel(max(root.level, min_level))


def gunicorn_logger(log_format: str) -> type[GunicornLogger]:
    """Return a logger class for gunicorn that uses the same format as all other records."""

    class Logger(GunicornLogger):  # type: ignore[misc]
        def setup(self, cfg: Any) -> None:
            super().setup(cfg)
            for handler in self.error_log.handlers:
                handler.setFormatter(make_formatter(log_format))

    return Logger
