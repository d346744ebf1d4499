"""Serves the assistant of Bolt with its own server, at the stand-in for Slack: ``serve_bolt.py PORT``."""

import os
import sys

from slack_sdk.web import base_client

_init = base_client.BaseClient.__init__
_init.__defaults__ = tuple(
    os.environ["SLACK_API_URL"] if value == base_client.BaseClient.BASE_URL else value for value in _init.__defaults__
)

from assistant_bolt import app  # noqa: E402 - it makes a client

app.start(port=int(sys.argv[1]))
