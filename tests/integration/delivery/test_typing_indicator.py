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


def test_typing_indicator_is_shown_around_each_handler(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []

    def set_typing(self: FakeChannel, conversation: Conversation, on: bool) -> None:
        seen.append((conversation.target, on))

    monkeypatch.setattr(FakeChannel, "set_typing", set_typing)
    with BotClient(bot, raise_errors=False) as client:
        client.send("hi")
        client.send("fail")

    assert seen == [("maria", True), ("maria", False)] * 2


def test_typing_indicator_error_does_not_stop_the_handler(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    def set_typing(self: FakeChannel, conversation: Conversation, on: bool) -> None:
        raise OSError("the screen is broken")

    monkeypatch.setattr(FakeChannel, "set_typing", set_typing)
    with BotClient(bot) as client:
        assert client.send("hi").text == "echo hi"
