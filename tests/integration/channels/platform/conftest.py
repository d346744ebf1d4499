"""A platform with a bot of its own, over a database on the disk, asked through Flask's test client."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cometbot import Bot, Button, Card, Context
from cometbot.channels.platform.channel import PlatformChannel
from cometbot.channels.platform.platform import Platform
from cometbot.settings import Secret, Settings
from cometbot.web.app import AppRuntime, create_app

ADMIN = "the-admin-s-secret-key"
MAX_ATTEMPTS = 5
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 61

T = TypeVar("T")


def wait_until(condition: Callable[[], T], seconds: float = 60.0) -> T:
    """The first true value of ``condition()``."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"did not come about within {seconds:g} s"
        time.sleep(0.005)
    return value


def make_bot() -> Bot:
    bot = Bot("helpdesk", description="Answers questions.", avatar="https://example.com/helpdesk.png")

    @bot.command("track", description="Where is my order?")
    def track(ctx: Context, number: int) -> str:
        return f"Order {number} is on its way, {ctx.sender.name}."

    @bot.command("twice")
    def twice(ctx: Context) -> list[str]:
        return ["one", "two"]

    @bot.message("remember")
    def remember(ctx: Context) -> str:
        ctx.state["it"] = ctx.user_state["it"] = ctx.text
        return "noted"

    @bot.message("card")
    def card(ctx: Context) -> Card:
        return Card("Tea", "**Green**", buttons=[Button("Buy tea", "buy", "tea")])

    @bot.action("buy")
    def buy(ctx: Context) -> str:
        return f"bought {ctx.value}"

    @bot.message("who am I")
    def name(ctx: Context) -> str:
        earlier = {event.sender.name for event in ctx.history(9) if event.sender.uid == ctx.sender.uid}
        return f"you are {ctx.sender.name}, and were {', '.join(sorted(earlier))}"

    @bot.fallback
    def echo(ctx: Context) -> str:
        files = [f"{file.mime_type} {len(ctx.client.download(file))}" for file in ctx.attachments]
        return " ".join(["echo", *filter(None, [ctx.text]), *files])

    return bot


class ApiClient:
    """Whoever sends requests: with cookies of their own, or with a key.

    A request that is refused because the database is busy is sent again, as the answer says: on a machine that stands
    still for a second, that happens to any write.
    """

    def __init__(self, client: FlaskClient, key: str = "") -> None:
        self.client = client
        self.key = key
        self._headers = {"Authorization": key} if key else {}

    def call_api(self, method: str, path: str, **options: Any) -> TestResponse:
        headers = {**self._headers, **options.pop("headers", {})}
        for _ in range(MAX_ATTEMPTS - 1):
            answer = self.client.open(f"/v1/{path}", method=method, headers=headers, **options)
            if answer.status_code != 503 or "database is busy" not in answer.text or "data" in options:
                return answer
        return self.client.open(f"/v1/{path}", method=method, headers=headers, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.call_api("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> TestResponse:
        return (
            self.call_api("POST", path, json=json, **options)
            if "data" not in options
            else self.call_api("POST", path, **options)
        )

    def put(self, path: str, json: Any = None, **options: Any) -> TestResponse:
        return self.call_api("PUT", path, **({"json": json} if json is not None else {}), **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        return self.call_api("DELETE", path, **options)

    def upload(self, *files: tuple[str, bytes], api: str = "client-api", part: str = "file") -> TestResponse:
        parts = {part: [(io.BytesIO(content), name) for name, content in files]}
        return self.post(f"{api}/files", data=parts, content_type="multipart/form-data")


class Person(ApiClient):
    """Somebody who is logged in."""

    def __init__(self, client: FlaskClient, nickname: str) -> None:
        super().__init__(client)
        self.response = self.post("client-api/user", {"nickname": nickname})
        assert self.response.status_code == 201, self.response.text
        self.id: str = self.response.json["id"]

    def create_chat(self, bot_id: str = "helpdesk") -> str:
        """The id of a new chat."""
        answer = self.post("client-api/chat", {"botId": bot_id})
        assert answer.status_code == 201, answer.text
        return str(answer.json["id"])

    def send_message(self, chat: str, body: str = "", **more: Any) -> dict[str, Any]:
        """The message as it was stored."""
        answer = self.post("client-api/chat/message", {"chatId": chat, "body": body, **more})
        assert answer.status_code == 201, answer.text
        return dict(answer.json)

    def messages(self, chat: str, query: str = "") -> list[dict[str, Any]]:
        """A page of the chat's messages."""
        return list(self.get(f"client-api/chat/{chat}/messages{query}").json["messages"])

    def bodies(self, chat: str) -> list[str]:
        """The texts in the chat."""
        return [message["body"] for message in self.messages(chat, "?limit=100")]

    def wait_message(self, chat: str, body: str) -> dict[str, Any]:
        """The message with this text, once it is there."""
        return wait_until(
            lambda: next((item for item in self.messages(chat, "?limit=100") if item["body"] == body), None)
        )


class Site:
    """A served platform. ``settings`` are those of cometbot; without ``handles`` no bot answers."""

    def __init__(self, folder: Path, *bots: Bot, handles: bool = True, **settings: Any) -> None:
        limits = {"platform_messages": 0, "platform_requests": 0, "platform_signups": 0}
        given: dict[str, Any] = {
            "channels": ("platform",),
            "database_url": f"sqlite:///{folder}/platform.db",
            "data": folder / "data",
            "platform_admin_secret_key": Secret(ADMIN),
            "allow_private_webhooks": True,
        }
        self.app = create_app(list(bots) or [make_bot()], Settings(**{**given, **limits, **settings}), handles=handles)
        self.running: AppRuntime = self.app.extensions["cometbot"]
        self.admin = ApiClient(self.app.test_client(use_cookies=False), ADMIN)
        self.anonymous = ApiClient(self.app.test_client(use_cookies=False))
        self._made = 0

    @property
    def channel(self) -> PlatformChannel:
        channel = self.running.delivery.channels["platform"]
        assert isinstance(channel, PlatformChannel)
        return channel

    @property
    def platform(self) -> Platform:
        return self.channel.platform

    def sign_up(self, nickname: str = "Maria") -> Person:
        return Person(self.app.test_client(), nickname)

    def external_bot(self, name: str = "", **more: Any) -> tuple[str, ApiClient]:
        """The id of a new bot that runs elsewhere, and the bot itself."""
        self._made += 1
        name = name or f"Outside bot {self._made}"
        made = self.admin.post("admin-api/bot", {"name": name, **more}).json
        return made["bot"]["id"], ApiClient(self.app.test_client(use_cookies=False), made["key"])


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Serves a platform with these settings; it ends with the test."""
    made: list[Site] = []

    def make(*bots: Bot, **settings: Any) -> Site:
        folder = tmp_path / f"site{len(made)}"
        folder.mkdir()
        made.append(Site(folder, *bots, **settings))
        return made[-1]

    yield make
    for site in made:
        site.running.stop()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()


@pytest.fixture
def maria(site: Site) -> Person:
    return site.sign_up()
