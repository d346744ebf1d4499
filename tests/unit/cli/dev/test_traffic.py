"""What goes between a bot's process and the real CometChat, as it is reported."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from cometbot.channels.cometchat import client as client_module
from cometbot.cli.dev.reports import HttpCall, Report
from cometbot.cli.dev.traffic import CLIENT_LOGGER, CallbackReporter, RestCallReporter, describe_callback

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
