"""Messages that a handler sends to other conversations of its bot."""

from __future__ import annotations

from dataclasses import replace

from cometbot import Bot, Context, MessageEvent, User
from cometbot.testing import BotClient


def test_other_conversation_has_the_name_that_its_platform_used() -> None:
    bot = Bot("shop")
    bot.message("order")(lambda ctx: ctx.send("An order.", to=ctx.conversation_with(user="tom")) and None)
    bot.message("hi")(lambda ctx: "hello")
    client = BotClient(bot)
    odd = replace(client.as_user("tom").conversation, id="a name of the platform's own")
    client.event(MessageEvent(key="m", conversation=odd, sender=User("tom"), id="p1", text="hi"))
    client.send("order")
    assert [(said.text, said.conversation) for said in client.said_elsewhere()] == [("hello", odd), ("An order.", odd)]


def test_other_conversation_that_never_wrote_has_its_name_by_rule() -> None:
    bot = Bot("shop")

    @bot.fallback
    def order(ctx: Context) -> None:
        ctx.send("An order.", to=ctx.conversation_with(user="tom"))

    client = BotClient(bot)
    client.send("order")
    assert client.said(user="tom").text == "An order."
