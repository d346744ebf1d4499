"""A real ``cometbot serve`` with the Chat API, and whoever is told by its webhook."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson
import pytest

from cometbot.temporary_folders import TemporaryFolder
from tests.acceptance.conftest import BOTS, Server

SECRET = "a-webhook-secret"


class ChatServer(Server):
    """``cometbot serve``, with the Chat API alone."""

    command = (sys.executable, "-c", "from cometbot.cli import main; main(prog_name='cometbot')", "serve")

    @property
    def api_url(self) -> str:
        return f"{self.url}/chat/{self.bot}"


class Backend:
    """A backend that records everything: what it was posted, in order. It refuses what :attr:`next_statuses` names."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.secrets: set[str] = set()
        self.next_statuses: list[int] = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = backend.next_statuses.pop(0) if backend.next_statuses else 200
                if status == 200:
                    backend.secrets.add(self.headers.get("x-secret-key", ""))
                    backend.received.append({"path": self.path, **orjson.loads(body)})
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    backend = Backend()
    yield backend
    backend.close()


StartChat = Callable[..., ChatServer]


@pytest.fixture(scope="module")
def start_chat() -> Iterator[StartChat]:
    """Starts a server; ``variables`` go into its environment."""
    started: list[ChatServer] = []
    with TemporaryFolder("test") as folder:

        def start(**variables: str) -> ChatServer:
            place = folder / str(len(started))
            place.mkdir()
            environ = {
                "COMETBOT_BOT": f"{BOTS}/chat.py:bot",
                "COMETBOT_CHANNELS": "chat_api",
                "COMETBOT_ALLOW_PRIVATE_WEBHOOKS": "1",
                "COMETBOT_DATA": str(place / "data"),
                "CHAT_API_REQUESTS": "0",
                "CHAT_API_SIGNUPS": "0",
            }
            server = ChatServer(place, environ | variables)
            started.append(server)
            server.start()
            return server

        yield start
        for server in started:
            server.close()
