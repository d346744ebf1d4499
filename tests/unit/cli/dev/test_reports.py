"""What the bot's process reports to its parent, also of its calls to and from the real CometChat."""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from cometbot.author_error import ErrorReport
from cometbot.channels.cometchat import client as client_module
from cometbot.cli.dev.reports import (
    CLIENT_LOGGER,
    BotInfo,
    CallbackReporter,
    CommandInfo,
    Failed,
    HttpCall,
    Logged,
    Printed,
    Ready,
    Report,
    Reporter,
    RestCallReporter,
    describe_callback,
    read_report,
)


@pytest.mark.parametrize(
    "report",
    [
        Ready(
            (BotInfo("shop", "shop-uid", (CommandInfo("/track", "/track NUMBER", "Where is it?"),)),),
            ("/home/me/shop.py",),
        ),
        Failed(ErrorReport("NameError: x", "shop.py, line 3", "x()", "Traceback …"), files=("/home/me/shop.py",)),
        Failed(ErrorReport("set COMETBOT_BOT"), is_configuration_error=True),
        Logged(30, "shop", "low on shoes"),
        Logged(40, "shop", "failed", ErrorReport("ValueError: \ud800 ünd")),
        Printed("hello"),
        HttpCall("callback", 200, 0.01, "POST /cometchat/shop", "maria: hi"),
    ],
)
def test_a_report_that_is_written_is_read_as_it_was(report: Report) -> None:
    reading, writing = os.pipe()
    reporter = Reporter(writing)
    reporter.report(report)
    reporter._file.close()
    with os.fdopen(reading, encoding="utf-8") as source:
        assert [read_report(line) for line in source] == [report]


def test_a_report_to_a_parent_that_has_gone_is_dropped() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    reporter = Reporter(writing)
    reporter.report(Printed("anybody there?"))
    with pytest.raises(BrokenPipeError):
        reporter._file.close()


def test_log_record_names_the_line_that_raised(capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    reporter = Reporter(writing)
    logger = logging.Logger("shop")
    logger.addHandler(reporter)
    try:
        raise ZeroDivisionError("no shoes")
    except ZeroDivisionError:
        logger.exception("failed on %s", "shoes")
    reporter._file.close()
    with os.fdopen(reading, encoding="utf-8") as source:
        report = read_report(source.readline())
    assert isinstance(report, Logged)
    assert (report.level, report.text) == (logging.ERROR, "failed on shoes")
    assert report.fault is not None
    assert report.fault.text == "ZeroDivisionError: no shoes"
    assert report.fault.code == 'raise ZeroDivisionError("no shoes")'
    assert "test_reports.py, line " in report.fault.place
    assert report.fault.trace.startswith("Traceback")


MESSAGE = {"trigger": "after_message", "data": {"sender": "maria", "type": "text", "data": {"text": "hi"}}}


@Request.application
def application(request: Request) -> Response:
    """Reads what it is sent, as the callback's view does."""
    size = len(request.environ["wsgi.input"].read(int(request.environ.get("CONTENT_LENGTH") or 0)))
    return Response(f"{size} bytes", 401 if "refuse" in request.path else 200)


def test_callback_is_reported_and_passed_on() -> None:
    reports: list[Report] = []
    answer = Client(CallbackReporter(application, reports.append)).post("/cometchat/shop", json=MESSAGE)
    assert answer.text == f"{len(json.dumps(MESSAGE))} bytes"
    [called] = reports
    assert isinstance(called, HttpCall)
    assert (called.kind, called.status, called.what, called.text) == (
        "callback", 200, "POST /cometchat/shop", "maria: hi",
    )  # fmt: skip
    assert 0 <= called.seconds < 10


def test_a_refused_callback_is_reported_with_its_status() -> None:
    reports: list[Report] = []
    Client(CallbackReporter(application, reports.append)).post("/refuse", data=b"\xff\x00")
    [called] = reports
    assert isinstance(called, HttpCall)
    assert (called.status, called.text) == (401, "")


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (MESSAGE, "maria: hi"),
        ({"data": {"sender": "maria", "type": "image", "data": {}}}, "maria: image"),
        ({"data": {"sender": "maria", "type": "custom"}}, "maria: custom"),
        ({"data": {"no": "sender"}}, ""),
        ({"data": []}, ""),
        ([], ""),
        ("text", ""),
    ],
)
def test_a_body_is_described_by_who_wrote_what(payload: Any, text: str) -> None:
    assert describe_callback(json.dumps(payload).encode()) == text


@pytest.mark.parametrize("body", [b"", b"{", b"\xff"])
def test_what_is_no_json_is_described_by_nothing(body: bytes) -> None:
    assert describe_callback(body) == ""


def test_a_rest_call_is_reported_as_the_client_logs_it() -> None:
    assert client_module.__name__ == CLIENT_LOGGER
    reports: list[Report] = []
    logger = logging.Logger("client")
    logger.addHandler(RestCallReporter(reports.append))
    logger.debug("asked CometChat: %s answered %s in %.0f ms", "POST /messages", 200, 12.0)
    logger.debug("something else")
    assert reports == [HttpCall("REST", 200, 0.012, "POST /messages")]
