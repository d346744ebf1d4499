"""A stand-in for Slack: the methods of its Web API that an assistant calls, and the requests that it sends to a bot."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import time
import urllib.parse
import urllib.request
from contextlib import suppress
from typing import Any

from benchmarks.survival.local_server import JsonHandler, LocalServer

SIGNING_SECRET = "secret-of-trial"
_CHANNEL, _THREAD = "D1", "1699999999.000100"


class Slack(LocalServer):
    """A workspace with one thread. ``messages`` are those in it by ``ts``, with their texts and blocks now.

    Slack repeats an event if no 200 comes within three seconds, and no press. Bolt answers events before its listeners
    run, so nothing is repeated here.
    """

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        super().__init__(_Handler)

    @property
    def url(self) -> str:
        """The base URL of the Web API."""
        return f"{super().url}/api/"

    @property
    def texts(self) -> list[str]:
        """The texts of the bot's messages that are no cards."""
        return [item["text"] for item in self.messages.values() if "bot_id" in item and not item["is_card"]]

    @property
    def has_open_card(self) -> bool:
        """True if a card has buttons."""
        return any(item.get("blocks") for item in self.messages.values())

    def say(self, url: str, text: str) -> None:
        """Send a user's message to the bot at ``url``."""
        ts = self._make_ts()
        self.messages[ts] = {"ts": ts, "text": text, "user": "UMARIA", "is_card": False}
        event = {"type": "message", "channel_type": "im", "channel": _CHANNEL, "user": "UMARIA", "text": text, "ts": ts}
        body: dict[str, Any] = {"type": "event_callback", "team_id": "T1", "event_id": f"Ev{ts}", "event": event}
        event["thread_ts"] = _THREAD
        self._post(url, json.dumps(body), "application/json")

    def press(self, url: str) -> None:
        """Press the first button of the card as a manager, as it was shown at first."""
        card = next(item for item in self.messages.values() if item["is_card"])
        action = {**card["shown"][1]["elements"][0], "block_id": "b", "action_ts": "1"}
        place = {"type": "message", "channel_id": _CHANNEL, "message_ts": card["ts"], "thread_ts": _THREAD}
        body: dict[str, Any] = {
            "type": "block_actions",
            "user": {"id": "UTOM"},
            "team": {"id": "T1"},
            "container": place,
        }
        body |= {"actions": [action], "channel": {"id": _CHANNEL}, "trigger_id": "t"}
        self._post(url, f"payload={urllib.parse.quote(json.dumps(body))}", "application/x-www-form-urlencoded")

    def call(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Answer a call of the Web API."""
        if method == "auth.test":
            return {"ok": True, "team_id": "T1", "user_id": "UBOT", "bot_id": "BBOT", "user": "bot", "team": "t"}
        if method == "conversations.replies":
            return {"ok": True, "messages": list(self.messages.values())}
        if method in ("chat.postMessage", "chat.startStream"):
            ts, blocks = self._make_ts(), _to_json(arguments.get("blocks"))
            shown = {"ts": ts, "text": _text(arguments), "bot_id": "BBOT", "blocks": blocks, "shown": blocks}
            self.messages[ts] = {**shown, "is_card": bool(blocks)}
            return {"ok": True, "ts": ts, "channel": _CHANNEL}
        if method in ("chat.appendStream", "chat.stopStream"):
            self.messages[arguments["ts"]]["text"] += _text(arguments)
        elif method == "chat.update":
            self.messages[arguments["ts"]] |= {"text": _text(arguments), "blocks": _to_json(arguments.get("blocks"))}
        return {"ok": True, "ts": arguments.get("ts", ""), "channel": _CHANNEL}

    def _make_ts(self) -> str:
        return f"{1_700_000_000 + next(self._numbers)}.000100"

    def _post(self, url: str, body: str, content_type: str) -> None:
        now = str(int(time.time()))
        signed = hmac.new(SIGNING_SECRET.encode(), f"v0:{now}:{body}".encode(), hashlib.sha256).hexdigest()
        headers = {"X-Slack-Request-Timestamp": now, "X-Slack-Signature": f"v0={signed}", "Content-Type": content_type}
        request = urllib.request.Request(url, body.encode(), headers)
        # The bot may be killed in between; Slack does not repeat a press.
        with suppress(ConnectionError), urllib.request.urlopen(request, timeout=10):
            pass


class _Handler(JsonHandler):
    server: Slack

    def do_POST(self) -> None:
        body = self.read_body()
        is_json = "json" in self.headers.get("Content-Type", "")
        arguments = json.loads(body or b"{}") if is_json else dict(urllib.parse.parse_qsl(body.decode()))
        self.answer(self.server.call(self.path.rpartition("/")[2], arguments))

    do_GET = do_POST


def _to_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value else value


def _text(arguments: dict[str, Any]) -> str:
    chunks = _to_json(arguments.get("chunks")) or ()
    return str(arguments.get("text") or arguments.get("markdown_text") or "".join(c.get("text", "") for c in chunks))
