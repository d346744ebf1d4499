from __future__ import annotations

import io
import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest
from gunicorn.config import Config

from cometbot.web.logs import configure_logging, gunicorn_logger, make_formatter


def record(text: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("cometbot.shop").makeRecord(
        "cometbot.shop", logging.WARNING, "shop.py", 7, text, args, None
    )
    vars(made).update(extra)
    return made


@contextmanager
def root_logger(*handlers: logging.Handler) -> Iterator[logging.Logger]:
    """The root logger with these handlers only, put back as it was. (pytest adds its own when a test's body begins.)"""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = handlers
    try:
        yield root
    finally:
        root.handlers[:] = before
        root.setLevel(level)


def test_text_record_is_one_line_with_its_ids() -> None:
    line = make_formatter("text").format(record("handled %s", "it", event="message:7", conversation="cometchat/a/b/c"))
    assert line.endswith("WARNING cometbot.shop: handled it event=message:7 conversation=cometchat/a/b/c")


def test_text_record_escapes_line_breaks() -> None:
    line = make_formatter("text").format(record("got %s", "a\n2026 ERROR b\r\x1b[2J", event="x\ny"))
    assert "\n" not in line
    assert "\x1b" not in line
    assert line.endswith(r"got a\n2026 ERROR b\r\x1b[2J event=x\ny")


def test_a_text_records_traceback_keeps_its_lines() -> None:
    failed = record("failed")
    try:
        raise ValueError("broken")
    except ValueError as error:
        failed.exc_info = (ValueError, error, error.__traceback__)
    lines = make_formatter("text").format(failed).splitlines()
    assert lines[0].endswith("failed")
    assert lines[-1] == "ValueError: broken"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_error_text_is_truncated_and_encodable(log_format: str) -> None:
    failed = record("failed \ud800")
    try:
        raise ValueError("\ud800 begin " + "x" * 1_000_000 + " end")
    except ValueError as error:
        failed.exc_info = (ValueError, error, error.__traceback__)
    line = make_formatter(log_format).format(failed)
    assert len(line) < 25_000
    assert line.encode()
    assert all(part in line for part in ("failed \\ud800", "Traceback", "begin xxx", "more characters", "xxx end"))


def test_json_record_is_one_object_with_its_fields() -> None:
    line = make_formatter("json").format(record("handled %s", "a\nb", event="message:7", conversation="c"))
    assert "\n" not in line
    read = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", read["time"])
    assert datetime.fromisoformat(read.pop("time").replace("Z", "+00:00")).timestamp() == pytest.approx(
        time.time(), abs=60
    )
    assert read == {
        "level": "WARNING",
        "logger": "cometbot.shop",
        "message": "handled a\nb",
        "event": "message:7",
        "conversation": "c",
    }


def test_logging_is_set_up_where_nobody_has(capsys: pytest.CaptureFixture[str]) -> None:
    with root_logger():
        configure_logging("json", "warning")
        logging.getLogger("shop").info("unseen")
        logging.getLogger("shop").warning("seen")
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["seen"]


def test_logging_is_left_alone_where_somebody_has_set_it_up() -> None:
    theirs = logging.NullHandler()
    with root_logger(theirs) as root:
        root.setLevel("ERROR")
        configure_logging("text", "debug")
        assert root.handlers == [theirs]
        assert root.level == logging.ERROR


def test_gunicorns_own_records_have_the_same_shape() -> None:
    logger = gunicorn_logger("json")(Config())
    (handler,) = logger.error_log.handlers
    assert isinstance(handler, logging.StreamHandler)
    written = handler.setStream(io.StringIO())
    try:
        logger.info("booting %s", "worker")
        text = handler.stream.getvalue()
    finally:
        handler.setStream(written)
    assert json.loads(text)["message"] == "booting worker"


def levels_of_libraries(level: str) -> dict[str, int]:
    """Return the levels of the libraries' loggers at the log level ``level``."""
    loggers = [logging.getLogger(name) for name in ("alembic", "procrastinate", "sqlalchemy", "urllib3", "websockets")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.NOTSET)
    try:
        with root_logger():
            configure_logging("text", level)
        return {logger.name: logger.level for logger in loggers}
    finally:
        for logger, its in zip(loggers, before, strict=True):
            logger.setLevel(its)


def test_libraries_log_warnings_only_by_default() -> None:
    assert set(levels_of_libraries("info").values()) == {logging.WARNING}
    assert set(levels_of_libraries("error").values()) == {logging.ERROR}
    assert set(levels_of_libraries("debug").values()) == {logging.NOTSET}
