"""Slack Bolt behind its Flask adapter, which answers each message with ``say`` after ``BENCH_WAIT`` seconds."""

from __future__ import annotations

import os
import time
from typing import Any

from flask import Flask, Response, request
from slack_bolt import App
from slack_bolt.adapter.flask import SlackRequestHandler
from slack_bolt.authorization import AuthorizeResult
from slack_sdk import WebClient

from benchmarks.payloads import SIGNING_SECRET

WAIT = float(os.environ.get("BENCH_WAIT", "0"))


def _authorize(**_: Any) -> AuthorizeResult:
    """Known without asking Slack, which no benchmark should do."""
    return AuthorizeResult(enterprise_id=None, team_id="T0BENCH", bot_token="xoxb-benchmark", bot_user_id="U0BOT")


client = WebClient(token="xoxb-benchmark", base_url=f"{os.environ['BENCH_API_URL']}/api/")
bolt = App(signing_secret=SIGNING_SECRET, authorize=_authorize, client=client)
handler = SlackRequestHandler(bolt)
app = Flask(__name__)


@bolt.event("message")
def on_message(event: dict[str, Any], say: Any) -> None:
    """Answer with the number of the message."""
    if WAIT:
        time.sleep(WAIT)
    say(f"answer to {event['text'].rpartition(' ')[2]}")


@app.post("/events")
def events() -> Response:
    return handler.handle(request)
