"""A bot behind the Chat API: the application as it is served, called without sockets or over real ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from werkzeug.test import Client, TestResponse

from cometbot import Bot, Choices, Context, Custom, CustomEvent, DeleteEvent, Message, Text
from cometbot.settings import Secret, Settings
from cometbot.simulator.server import HOST, LoopbackServer
from cometbot.web.app import create_app

T = TypeVar("T")

LONG_REPLY = "word " * 2800
ENCRYPTION_KEY = "a-key"
HANDLER_GATE = threading.Event()
"""What the command ``/wait`` waits for."""


def wait_until(condition: Callable[[], T], seconds: float = 60.0) -> T:
    """The first true value of ``condition()``."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.005)
    return value


class Person:
    """Somebody with a key, who sends requests to one bot."""

    def __init__(self, site: Site, key: str, user_id: str, bot: str = "helper") -> None:
        self.site = site
        self.key = key
        self.id = user_id
        self.bot = bot

    def call_api(self, method: str, path: str, body: Any = None, **options: Any) -> TestResponse:
        headers = {"x-user-key": self.key, **options.pop("headers", {})}
        return self.site.call_api(method, path, body, headers=headers, bot=self.bot, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.call_api("GET", path, **options)

    def post(self, path: str, body: Any) -> TestResponse:
        return self.call_api("POST", path, body)

    def delete(self, path: str) -> TestResponse:
        return self.call_api("DELETE", path, {})

    def create_conversation(self, own_id: str = "") -> str:
        """The id of a new conversation."""
        answer = self.post("/conversations", {"id": own_id} if own_id else {})
        assert answer.status_code == 201, answer.text
        return str(answer.json["conversation"]["id"])

    def send_text(self, conversation: str, text: str) -> dict[str, Any]:
        """The message that was just written."""
        body = {"conversationId": conversation, "payload": {"type": "text", "text": text}}
        answer = self.post("/messages", body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json["message"])

    def messages(self, conversation: str) -> list[dict[str, Any]]:
        """The newest messages, oldest first."""
        answer = self.get(f"/conversations/{conversation}/messages")
        assert answer.status_code == 200, answer.text
        return list(reversed(answer.json["messages"]))

    def wait_messages(self, conversation: str, count: int) -> list[dict[str, Any]]:
        """All messages, once there are ``count``."""
        return wait_until(lambda: len(found := self.messages(conversation)) >= count and found) or []


class Site:
    """An application with the Chat API, and what is needed to call it."""

    def __init__(self, folder: Path, bots: list[Bot], *, handles: bool = True, **settings: Any) -> None:
        values = {
            "channels": ("chat_api",),
            "database_url": f"sqlite:///{folder}/bot.db",
            "data": folder / "data",
            "chat_api_requests": 0,
            "chat_api_signups": 0,
            **settings,
        }
        self.app = create_app(bots, Settings(**values), handles=handles)
        self.running = self.app.extensions["cometbot"]
        self.channel = self.running.delivery.channels["chat_api"]
        self.client = Client(self.app)
        self._server: LoopbackServer | None = None
        self._names = 0

    def call_api(
        self, method: str, path: str, body: Any = None, *, bot: str = "helper", **options: Any
    ) -> TestResponse:
        if body is not None:
            options["json"] = body
        return self.client.open(f"/chat/{bot}{path}", method=method, **options)

    def sign_up(self, user_id: str = "", bot: str = "helper", **fields: str) -> Person:
        """A new user."""
        answer = self.call_api("POST", "/users", {**({"id": user_id} if user_id else {}), **fields}, bot=bot)
        assert answer.status_code == 201, answer.text
        return Person(self, answer.json["key"], answer.json["user"]["id"], bot)

    @property
    def url(self) -> str:
        """The bot's URL over a real socket."""
        return f"{self.base_url}/chat/helper"

    @property
    def base_url(self) -> str:
        if self._server is None:
            self._server = LoopbackServer(self.app, 0)
        return f"http://{HOST}:{self._server.port}"

    def stop_server(self) -> int:
        """Close the socket and all connections; returns the port."""
        assert self._server is not None
        self._server.stop()
        self._server.server_close()
        port = int(self._server.port)
        self._server = None
        return port

    def start_server(self, port: int) -> None:
        """Listen again where it was stopped."""
        self._server = LoopbackServer(self.app, port)

    def close(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server.server_close()
        self.running.stop()


def make_bot(name: str = "helper") -> Bot:
    """Says what it hears, and more on demand."""
    bot = Bot(name)

    @bot.command("remember")
    def remember(ctx: Context, *, what: str) -> str:
        ctx.state["it"] = ctx.user_state["it"] = what
        return "noted"

    @bot.command("recall")
    def recall(ctx: Context) -> str:
        return f"{ctx.state.get('it')} {ctx.user_state.get('it')}"

    @bot.command("half")
    def half(ctx: Context) -> Message:
        ctx.stream(["half ", "an emoji \ud83d"])
        return Text("broken \ud83d", metadata={"a": "\ude00"})

    @bot.command("wait")
    def wait(ctx: Context) -> str:
        assert HANDLER_GATE.wait(60)
        ctx.state["it"] = ctx.user_state["it"] = "a late secret"
        return "a private answer"

    @bot.message("choose")
    def choose(ctx: Context) -> Choices:
        return Choices("Which?", ["Red", "Blue"], "colour")

    @bot.action("colour")
    def chosen(ctx: Context) -> str:
        return f"You took {ctx.value}."

    @bot.message("stream")
    def stream(ctx: Context) -> None:
        ctx.stream(["Once ", "upon ", "a time"])

    @bot.message("stream long")
    def stream_long(ctx: Context) -> None:
        ctx.stream([LONG_REPLY[start : start + 5] for start in range(0, len(LONG_REPLY), 5)])

    @bot.message("give up")
    def give_up(ctx: Context) -> None:
        def parts() -> Iterator[str]:
            yield "I will "
            raise ValueError("lost the thread")

        ctx.stream(parts())

    @bot.message("ping me")
    def ping(ctx: Context) -> Custom:
        return Custom("event", {"pong": 1})

    @bot.message("oops")
    def oops(ctx: Context) -> None:
        sent = ctx.reply("a mistake")
        sent.delete()

    @bot.event(CustomEvent)
    def hear(ctx: Context) -> str:
        assert isinstance(ctx.event, CustomEvent)
        return f"heard {dict(ctx.event.data)}"

    @bot.event(DeleteEvent)
    def notice(ctx: Context) -> str:
        assert isinstance(ctx.event, DeleteEvent)
        return f"gone: {ctx.event.message.text if ctx.event.message else ''}"

    @bot.fallback
    def echo(ctx: Context) -> str:
        return f"{ctx.sender.name or ctx.sender.uid}: {ctx.text}"

    return bot


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two bots in automatic mode; each test makes users of its own."""
    site = Site(tmp_path_factory.mktemp("chat"), [make_bot(), make_bot("other")])
    yield site
    site.close()


@pytest.fixture(scope="module")
def manual_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same in manual mode."""
    folder = tmp_path_factory.mktemp("manual")
    site = Site(folder, [make_bot()], chat_api_encryption_key=Secret(ENCRYPTION_KEY))
    yield site
    site.close()


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """Makes applications with other settings."""
    made: list[Site] = []

    def make(**settings: Any) -> Site:
        made.append(Site(tmp_path, [make_bot()], **settings))
        return made[-1]

    yield make
    for site in made:
        site.close()
