"""``bot.send`` inside handlers: sent once, however often the handler runs."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from cometbot import Bot, Context
from cometbot.testing import BotClient


class FakeSender:
    """A backend that notes the texts."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, bot: Bot, message: Any, **to: Any) -> str:
        self.sent.append(message.to_text())
        return "7"


@pytest.fixture
def bot() -> Bot:
    return Bot("shop")


def test_message_of_the_same_bot_is_sent_once(bot: Bot) -> None:
    ids: list[str | None] = []

    @bot.command
    def order(ctx: Context) -> str:
        ids.append(bot.send(user="tom", text="An order begins."))
        size = ctx.ask("Which size?")
        bot.send(user="tom", text=f"Size {size}.")
        ctx.ask("How many?")
        bot.send(conversation=ctx.conversation, text="Thanks.")
        return "Done."

    client = BotClient(bot)
    client.send("/order")
    client.send("M")
    assert client.send("3").texts == ["Thanks.", "Done."]
    assert client.said(user="tom").texts == ["An order begins.", "Size M."]
    assert set(ids) == {None}


def test_message_of_an_async_handler_is_sent_once(bot: Bot) -> None:
    @bot.command
    async def order(ctx: Context) -> str:
        await asyncio.to_thread(bot.send, user="tom", text="An order begins.")
        return ctx.ask("Which size?")

    client = BotClient(bot)
    client.send("/order")
    client.send("M")
    assert client.said(user="tom").texts == ["An order begins."]


def test_message_of_a_handler_that_is_retried_is_sent_once(bot: Bot) -> None:
    runs: list[int] = []

    @bot.fallback
    def order(ctx: Context) -> None: ...

    @bot.command(retries=1)
    def fail(ctx: Context) -> str:
        runs.append(1)
        bot.send(user="tom", text="It begins.")
        if len(runs) == 1:
            raise KeyError("x")
        return "done"

    client = BotClient(bot)
    client.send("/fail")
    assert client.advance(5).text == "done"
    assert client.said(user="tom").texts == ["It begins."]


def test_message_inside_once_and_in_middleware_is_one_of_its_own(bot: Bot) -> None:
    @bot.middleware
    def watch(ctx: Context, call_next: Any) -> Any:
        bot.send(user="tom", text="before")
        answer = call_next()
        bot.send(user="tom", text="after")
        return answer

    @bot.command
    def order(ctx: Context) -> str:
        ctx.once(lambda: bot.send(user="tom", text="once"))
        return ctx.ask("Which size?")

    client = BotClient(bot, check_paths=False)
    client.send("/order")
    assert client.said(user="tom").texts == ["before", "once"]
    client.send("M")
    assert client.said(user="tom").texts == ["before", "once", "before", "after"]


def test_message_of_another_bot_is_not_repeated(bot: Bot) -> None:
    other, sender = Bot("other"), FakeSender()
    other.connect(sender)
    after: list[type[BaseException]] = []

    @bot.command
    def order(ctx: Context) -> str:
        other.send(user="tom", text="one")
        try:
            size = ctx.ask("Which size?")
        except BaseException as error:
            try:
                other.send(user="tom", text="after the suspension")
            except BaseException as second:
                after.append(type(second))
            raise error
        other.send(user="tom", text="two")
        return size

    client = BotClient(bot)
    client.send("/order")
    assert sender.sent == ["one"]
    assert [error.__name__ for error in after] == ["Suspended", "Suspended"]
    assert client.send("M").text == "M"
    assert sender.sent == ["one", "two"]


def test_message_through_another_channel_is_not_repeated(bot: Bot) -> None:
    sender = FakeSender()

    @bot.command
    def order(ctx: Context) -> str:
        bot.send(user="tom", text="here")
        bot.send(user="tom", text="there", channel="cometchat")
        return ctx.ask("Which size?")

    client = BotClient(bot)
    bot.connect(sender)
    client.send("/order")
    client.send("M")
    assert sender.sent == ["there"]
    assert client.said(user="tom").texts == ["here"]


def test_message_after_the_handler_or_in_its_thread_is_one_of_its_own(bot: Bot) -> None:
    sender = FakeSender()

    @bot.command
    def order(ctx: Context) -> str:
        thread = threading.Thread(target=bot.send, kwargs={"user": "tom", "text": "thread"})
        thread.start()
        thread.join()
        return "done"

    client = BotClient(bot)
    bot.connect(sender)
    client.send("/order")
    bot.send(user="tom", text="after")
    assert sender.sent == ["thread", "after"]
