"""Slack Bolt behind its Flask adapter: the signature is checked, one listener is called, nothing is stored."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request
from slack_bolt import App
from slack_bolt.adapter.flask import SlackRequestHandler
from slack_bolt.authorization import AuthorizeResult

from benchmarks.payloads import SIGNING_SECRET


def _authorize(**_: Any) -> AuthorizeResult:
    """Known without asking Slack, which no benchmark should do."""
    return AuthorizeResult(enterprise_id=None, team_id="T0BENCH", bot_token="xoxb-benchmark", bot_user_id="U0BOT")


bolt = App(signing_secret=SIGNING_SECRET, authorize=_authorize)
handler = SlackRequestHandler(bolt)
app = Flask(__name__)


@bolt.event("message")
def on_message(event: dict[str, Any]) -> None:
    """The one listener."""


@app.post("/events")
def events() -> Response:
    return handler.handle(request)
