"""A bot of the platform that runs elsewhere, with nothing but Python's standard library: webhook in, POST out.

``PLATFORM=https://chat.example.com BOT_KEY=… WEBHOOK=https://bot.example.com/ python outside_bot.py 8080``
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.request import Request, urlopen

PLATFORM, KEY, WEBHOOK = (os.environ.get(name, "") for name in ("PLATFORM", "BOT_KEY", "WEBHOOK"))
SECRET = secrets.token_urlsafe(32)
COMMANDS = [{"alias": "shout", "description": "Says it loudly"}]


def call(path: str, body: Any) -> Any:
    """What the Bot API answers."""
    headers = {"Authorization": KEY, "Content-Type": "application/json"}
    request = Request(f"{PLATFORM}/v1/bot-api/{path}", json.dumps(body).encode(), headers)
    with urlopen(request, timeout=10) as answer:
        return json.load(answer)


def reply(text: str) -> str:
    """What the bot answers."""
    command, _, rest = text.partition(" ")
    return f"{rest.upper()}!" if command == "/shout" else f"You said: {text}"


class Webhook(BaseHTTPRequestHandler):
    """Takes messages of people in; whoever does not know the secret is not the platform."""

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_ours = hmac.compare_digest(self.headers.get("Authorization", "").encode(), SECRET.encode())
        if is_ours:
            call("chat/message", {"chatId": message["chatId"], "body": reply(message["body"])})
        self.send_response(200 if is_ours else 403)
        self.end_headers()


if __name__ == "__main__":
    if not (PLATFORM and KEY and WEBHOOK and sys.argv[1:]):
        sys.exit("Set PLATFORM, BOT_KEY and WEBHOOK, and say at which port to listen: python outside_bot.py 8080")
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Webhook)
    call("bot/webhook", {"url": WEBHOOK, "secret": SECRET})
    call("bot/commands", COMMANDS)
    server.serve_forever()
