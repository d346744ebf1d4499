"""A bot behind AG-UI in this process: requests are stored at once, and handled when the test says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from cometbot import Bot
from cometbot.channels.agui.ids import scope_of
from cometbot.channels.agui.settings import AguiSettings
from cometbot.chat import ChatMessage
from cometbot.settings import Secret
from cometbot.testing import BotClient
from cometbot.testing.fakes.agui import AguiFake
from cometbot.testing.wsgi import make_channel_app
from tests.agui_events import JsonObject, check_events, read_events, texts_of

TOKENS = ("0123456789abcdef" * 2, "fedcba9876543210" * 2)


class Answer:
    """The answer to a request, read whole."""

    def __init__(self, response: TestResponse) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.received = response.data
        self.events: list[JsonObject] = read_events(self.received) if self.is_stream else []
        if self.is_stream:
            check_events(self.events)

    @property
    def is_stream(self) -> bool:
        return self.headers["Content-Type"] == "text/event-stream"

    @property
    def texts(self) -> list[str]:
        return texts_of(self.events)

    @property
    def last(self) -> JsonObject:
        return self.events[-1]

    @property
    def error(self) -> tuple[int, str]:
        """The status and the code of a request that was refused."""
        return self.status, json.loads(self.received)["error"]["code"]


class Site:
    """The channel with one bot. A test sends requests as it likes."""

    def __init__(self, bot: Bot, **settings: Any) -> None:
        self.bot_client = BotClient(bot, channel="agui", raise_errors=False, check_paths=False)
        fake = self.bot_client.fake
        assert isinstance(fake, AguiFake)
        self.channel, self.delivery = fake.channel, self.bot_client._harness.delivery
        self.channel.settings = replace(AguiSettings(tokens=tuple(map(Secret, TOKENS))), **settings)
        self.http = Client(make_channel_app(self.channel, self.delivery), use_cookies=False)

    def call(self, body: object, *, bot: str = "shop", headers: Mapping[str, str] | None = None, **more: Any) -> Any:
        """Return the response to a request."""
        sent = {"Authorization": f"Bearer {TOKENS[0]}", **(headers or {})}
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        return self.http.post(f"/agui/{bot}", headers=sent, content_type="application/json", **content, **more)

    def begin(self, body: object, **options: Any) -> None:
        """Send a request, and do not read its answer."""
        response = self.call(body, **options)
        assert response.status_code == 200, response.text
        response.close()

    def handle(self) -> None:
        """Handle everything that waits."""
        self.bot_client.said()

    def read(self, body: object, **options: Any) -> Answer:
        """Return the answer to a request as far as it is there now."""
        return Answer(self.call(body, buffered=True, **options))

    def ask(self, body: object, **options: Any) -> Answer:
        """Return the answer to a request that is handled meanwhile."""
        self.begin(body, **options)
        self.handle()
        return self.read(body, **options)

    def rows(self, thread: str = "t") -> list[ChatMessage]:
        """Return what is stored of a thread, oldest first."""
        with self.channel.chat.database.read() as connection:
            page = self.channel.chat.messages.list_after(connection, scope_of("shop"), thread, 0, 1000)
        return list(page.items)


def make_request(*texts: str, run: str = "r1", thread: str = "t", **more: Any) -> JsonObject:
    """Return the body of a request: texts of the user and of the bot by turns."""
    roles = ("user", "assistant")
    messages = [{"id": f"{run}-{n}", "role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return {"threadId": thread, "runId": run, "messages": messages, "protocolVersion": "1.0", **more}


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site() -> Iterator[MakeSite]:
    """Makes sites that are closed after the test."""
    sites: list[Site] = []

    def make(bot: Bot, **settings: Any) -> Site:
        sites.append(Site(bot, **settings))
        return sites[-1]

    yield make
    for site in sites:
        site.bot_client.close()
