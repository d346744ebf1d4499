"""Channels are told when a handler begins its work on a message and when it has ended, whatever came of it."""

from __future__ import annotations

import pytest

from cometbot import Bot, Context
from cometbot.models import Conversation
from cometbot.testing import BotClient, FakeChannel


@pytest.fixture
def bot() -> Bot:
    bot = Bot("worker")

    @bot.message("fail")
    def fail(ctx: Context) -> None:
        raise ValueError("no")

    @bot.fallback
    def echo(ctx: Context) -> str:
        return f"echo {ctx.text}"

    return bot


def test_work_is_shown_around_each_handler_also_one_that_fails(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []

    def working(self: FakeChannel, conversation: Conversation, on: bool) -> None:
        seen.append((conversation.target, on))

    monkeypatch.setattr(FakeChannel, "working", working)
    with BotClient(bot, raise_errors=False) as client:
        client.send("hi")
        client.send("fail")

    assert seen == [("maria", True), ("maria", False)] * 2


def test_a_channel_that_cannot_show_work_keeps_nobody_from_it(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    def working(self: FakeChannel, conversation: Conversation, on: bool) -> None:
        raise OSError("the screen is broken")

    monkeypatch.setattr(FakeChannel, "working", working)
    with BotClient(bot) as client:
        assert client.send("hi").text == "echo hi"
