"""Real servers for cases: ``cometbot serve`` in an empty folder, and a CometChat that answers as it is told."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import requests

from tests.cases.case import Case
from tests.ports import HOST, free_port

ROOT = Path(__file__).parents[2]
BOT = f"{ROOT}/tests/cases/bot.py:bot"
COMETBOT = (sys.executable, "-m", "cometbot.cli")
LOGIN = ("cc", "s3cr3t-value-of-the-cases")
APP_ID = "2248348660ad9bd4"
TIMEOUT = 60.0
"""Seconds after which a check gives up what takes a moment on a busy machine."""

T = TypeVar("T")


def wait_for(condition: Callable[[], T], seconds: float = TIMEOUT) -> T | None:
    """The first true value of ``condition()``, None if it does not come in time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            return None
        time.sleep(0.05)
    return value


class FakeCometChat:
    """CometChat's REST API as far as a bot's replies need it.

    ``refusals`` are the headers of 429s for the first requests, or for all of them with ``forever``.
    """

    def __init__(self) -> None:
        self.refusals: list[Callable[[], dict[str, str]]] = []
        self.refuses_forever = False
        self.posts: list[float] = []
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_address[1]}/v3"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, {"data": []})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                platform.posts.append(time.monotonic())
                if platform.refusals:
                    headers = platform.refusals[0]() if platform.refuses_forever else platform.refusals.pop(0)()
                    body = {"error": {"code": "ERR_TOO_MANY_REQUESTS", "message": "too many requests"}}
                    self._answer(429, body, headers)
                else:
                    self._answer(200, {"data": {"id": str(len(platform.posts)), "conversationId": "c", "data": {}}})

            def _answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        return Handler


class Server:
    """``cometbot serve`` with the cases' bot on a fresh database; it ends with the case."""

    def __init__(self, case: Case, *, name: str = "server", bot: str = BOT, **variables: str) -> None:
        self.folder = case.work / name
        self.folder.mkdir()
        self.log_file = self.folder / "log"
        self.database = self.folder / "bot.db"
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COMET", "CHAT_API_", "PLATFORM_", "SIMPLEX"))}
        self._environ = {
            **kept,
            "COMETBOT_BOT": bot,
            "COMETBOT_BIND": f"{HOST}:{self.port}",
            "COMETBOT_DATABASE_URL": f"sqlite:///{self.database}",
            "COMETBOT_DATA": str(self.folder / "data"),
            "COMETBOT_PROCESSES": "2",
            "COMETBOT_STOP_TIMEOUT": "1",
            "COMETBOT_CALLBACK_USERNAME": LOGIN[0],
            "COMETBOT_CALLBACK_PASSWORD": LOGIN[1],
            "COMETCHAT_WEBHOOK_USERNAME": LOGIN[0],
            "COMETCHAT_WEBHOOK_PASSWORD": LOGIN[1],
            "COMETCHAT_APP_ID": APP_ID,
            "COMETCHAT_REGION": "eu",
            "COMETCHAT_API_KEY": "0" * 40,
            "COMETCHAT_API_URL": f"http://{HOST}:9/v3",
            "COMETBOT_TEST_HEARD": str(self.folder / "heard"),
            "PYTHONPATH": str(ROOT),
            **variables,
        }
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                (*COMETBOT, "serve"),
                cwd=self.folder,
                env=self._environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        case.stack.callback(self.stop)

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def start(self) -> Server:
        """Return when it is ready. Raises RuntimeError if it is not in time."""

        def is_ready() -> bool:
            return self.process.poll() is not None or self.readyz() == 200

        wait_for(is_ready, 2 * TIMEOUT)
        if self.process.poll() is not None or self.readyz() != 200:
            raise RuntimeError(f"the server did not become ready: {self.log[-2000:]}")
        return self

    def stop(self) -> None:
        """End it and all its children."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(30)

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=TIMEOUT, headers={"Connection": "close"})

    def readyz(self) -> int:
        """The status of ``/readyz``, 0 without an answer."""
        try:
            return self.get("/readyz").status_code
        except requests.RequestException:
            return 0

    def callback(self, body: bytes, path: str = "/cometchat/demo_bot") -> requests.Response:
        """The answer to a callback with the right credentials."""
        headers = {"Content-Type": "application/json", "Connection": "close"}
        return requests.post(self.url + path, data=body, auth=LOGIN, headers=headers, timeout=TIMEOUT)

    def rows(self) -> list[tuple[str, str]]:
        """Event key and state of each stored message."""
        with closing(sqlite3.connect(self.database, timeout=30)) as connection:
            return connection.execute("SELECT event_key, state FROM mailbox ORDER BY seq").fetchall()

    def handled_events(self) -> list[dict[str, Any]]:
        """The events that the handler noted."""
        file = Path(self._environ["COMETBOT_TEST_HEARD"])
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def start_cometchat(case: Case) -> FakeCometChat:
    """A CometChat that ends with the case."""
    made = FakeCometChat()
    case.stack.callback(made.close)
    return made


def message(text: str, number: int = 1, uid: str = "maria") -> bytes:
    """A callback about a text message to the bot."""
    data = {
        "id": str(number),
        "conversationId": f"demo_bot_user_{uid}",
        "sender": uid,
        "receiverType": "user",
        "receiver": "demo_bot",
        "category": "message",
        "type": "text",
        "data": {"text": text},
        "sentAt": 1696934912,
        "updatedAt": 1696934912,
    }
    return json.dumps({"trigger": "after_message", "data": data, "appId": APP_ID, "bot": "demo_bot"}).encode()
