"""An async HTTP client that is made once and serves the handlers of many messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pytest_httpserver import HTTPServer

from cometbot import Bot
from cometbot.context import Context
from cometbot.delivery import Delivery
from cometbot.testing.fake_channel import FakeChannel


@pytest.fixture
def bot(httpserver: HTTPServer) -> Bot:
    """A bot with one client for all its handlers."""
    httpserver.expect_request("/answer").respond_with_data("model")
    client = httpx.AsyncClient(base_url=httpserver.url_for("/"), trust_env=False)
    bot = Bot("helpdesk")

    @bot.message("close")
    async def close(ctx: Context) -> str:
        await client.aclose()
        return "closed"

    @bot.message()
    async def ask(ctx: Context) -> str:
        ctx.reply(f"asking for {ctx.text}")
        answer = await client.get("/answer")
        return f"{answer.text} on {ctx.text}"

    return bot


@pytest.fixture
def channel() -> FakeChannel:
    return FakeChannel()


@pytest.fixture
def delivery(bot: Bot, channel: FakeChannel, tmp_path: Path) -> Iterator[Delivery]:
    made = Delivery([bot], [channel], f"sqlite:///{tmp_path}/bot.db", threads=8)
    made.start()
    yield made
    made.enqueue(channel.incoming(bot, "close"))
    channel.wait_for(lambda: "closed" in channel.texts())
    made.stop(60)
    made.close()


def test_one_client_serves_one_message_after_the_other(bot: Bot, channel: FakeChannel, delivery: Delivery) -> None:
    for number in range(2):
        delivery.enqueue(channel.incoming(bot, f"question {number}"))
        channel.wait_for(lambda: channel.texts()[-1:] == [f"model on question {number}"])  # noqa: B023


def test_one_client_serves_eight_messages_at_once(bot: Bot, channel: FakeChannel, delivery: Delivery) -> None:
    for number in range(8):
        delivery.enqueue(channel.incoming(bot, f"question {number}", user=f"user-{number}"))
    channel.wait_for(lambda: len(channel.texts()) == 16)
    assert {f"model on question {number}" for number in range(8)} < set(channel.texts())
