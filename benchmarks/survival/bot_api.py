"""A stand-in for Telegram's Bot API: it keeps an update until the bot has acknowledged it, as Telegram does."""

from __future__ import annotations

import json
import threading
import time
from email import policy
from email.message import MIMEPart
from email.parser import BytesParser
from queue import SimpleQueue
from typing import Any
from urllib.parse import parse_qsl
from urllib.request import Request, urlopen

from benchmarks.survival.local_server import JsonHandler, LocalServer
from benchmarks.survival.trial import Dropped, Trial

TOKEN = "1:token"
POLL_TIMEOUT = 1.0
RETRY_INTERVAL = 0.3
CHAT = {"id": 1, "type": "private"}
PERSON = {"id": 1, "first_name": "Maria", "is_bot": False}
BOT = {"id": 2, "first_name": "Shop", "is_bot": True, "username": "shop_bot"}


class Telegram(LocalServer):
    """Serves the Bot API. Updates are polled, or posted to ``webhook``, each until it gets a 200.

    They are posted one after the other, as Telegram does with ``max_connections=1``.
    """

    def __init__(self, trial: Trial, webhook: str = "") -> None:
        self.trial = trial
        self._webhook = webhook
        self._updates: list[dict[str, Any]] = []
        self._last = 0
        self._changed = threading.Condition()
        self._was_polled = False
        self._posted: SimpleQueue[bytes] = SimpleQueue()
        super().__init__(_Handler)
        if webhook:
            threading.Thread(target=self._post_all, daemon=True).start()

    def write(self, text: str) -> None:
        """Write to the bot as its user."""
        with self._changed:
            self._last += 1
            message = {"message_id": self._last, "date": int(time.time()), "chat": CHAT, "from": PERSON, "text": text}
            if text.startswith("/"):
                message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text)}]
            update = {"update_id": self._last, "message": message}
            self._updates.append(update)
            self._changed.notify_all()
        self._posted.put(json.dumps(update).encode())

    def _post_all(self) -> None:
        while True:
            self._post(self._posted.get())

    def _post(self, body: bytes) -> None:
        while True:
            try:
                with urlopen(Request(self._webhook, body, {"Content-Type": "application/json"}), timeout=60):
                    return
            except OSError:
                time.sleep(RETRY_INTERVAL)

    def take_poll(self) -> bool:
        """Return whether the bot has polled since the last call."""
        with self._changed:
            was_polled, self._was_polled = self._was_polled, False
            return was_polled

    def get_updates(self, offset: int) -> list[dict[str, Any]]:
        """Return the updates from this number on, once there is one. Those before it are acknowledged."""
        with self._changed:
            self._was_polled = True
            self._updates = [item for item in self._updates if item["update_id"] >= offset]
            if not self._updates:
                self._changed.wait(POLL_TIMEOUT)
            return list(self._updates)


class _Handler(JsonHandler):
    protocol_version = "HTTP/1.1"
    server: Telegram

    def do_POST(self) -> None:
        values = _read_form(self.headers.get("Content-Type", ""), self.read_body())
        try:
            result = self._call(self.path.rpartition("/")[2], values)
        except Dropped:
            self.close_connection = True
            return
        self.answer({"ok": True, "result": result})

    def _call(self, method: str, values: dict[str, str]) -> Any:
        if method == "getMe":
            return BOT
        if method == "getUpdates":
            return self.server.get_updates(int(values.get("offset") or 0))
        if method == "sendMessage":
            self.server.trial.say(values["text"])
            return {"message_id": 1000, "date": int(time.time()), "chat": CHAT, "from": BOT, "text": values["text"]}
        return True


def _read_form(content_type: str, body: bytes) -> dict[str, str]:
    if not content_type.startswith("multipart/"):
        return dict(parse_qsl(body.decode()))
    parser = BytesParser(policy=policy.HTTP)
    message = parser.parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    return {_get_name(part): part.get_content() for part in message.iter_parts()}


def _get_name(part: MIMEPart) -> str:
    return str(part.get_param("name", header="content-disposition"))
