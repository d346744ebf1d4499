"""Which events get no handler because of a limit of their bot, and what their users are told."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot import Bot, Context, MembershipEvent
from cometbot.errors import RegistrationError
from cometbot.messages import Button, Card
from cometbot.testing import BotClient

HOUR = 1_699_999_200.0
"""The beginning of an hour of UTC."""


def make_bot(**options: Any) -> Bot:
    bot = Bot("helpdesk", **options)
    bot.fallback(lambda ctx: f"you said {ctx.text}")
    return bot


def test_user_is_told_once_and_then_waits() -> None:
    client = BotClient(make_bot(user_limit="2/minute"), now=HOUR + 10)
    said = [client.send(text).texts for text in "abcd"]
    told = "You write faster than I can answer. Please try again in 1 minute."
    assert said == [["you said a"], ["you said b"], [told], []]
    client.advance(50)
    assert client.send("e").texts == ["you said e"]


def test_limit_counts_all_conversations_of_a_user_and_no_others() -> None:
    client = BotClient(make_bot(user_limit="1/hour", user_limit_text=None), now=HOUR)
    assert client.send("a").texts == ["you said a"]
    assert client.send("b", group="ops", mention=True).texts == []
    assert client.as_user("ben").send("c").texts == ["you said c"]


def test_limit_ignores_what_is_not_for_the_bot() -> None:
    bot = make_bot(user_limit="1/hour")
    bot.command("now")(lambda ctx: "12:00")
    client = BotClient(bot, group="ops", now=HOUR)
    assert [client.send(text).texts for text in "ab"] == [["you said a"], ["you said b"]]
    assert client.send("/now").texts == ["12:00"]
    assert client.send("c").texts == ["you said c"]
    assert client.send("d", mention=True).texts == ["You write faster than I can answer. Please try again in 1 hour."]


def test_handler_that_fails_counts_and_one_that_is_retried_counts_once() -> None:
    bot = Bot("helpdesk", user_limit="2/hour")
    calls: list[str] = []

    @bot.message("fail", retries=1)
    def fail(ctx: Context) -> None:
        calls.append("fail")
        raise ValueError

    bot.fallback(lambda ctx: "ok")
    client = BotClient(bot, raise_errors=False, now=HOUR)
    client.send("fail")
    client.advance(60)
    assert calls == ["fail", "fail"]
    assert client.send("a").texts == ["ok"]
    assert client.send("b").texts == ["You write faster than I can answer. Please try again in 59 minutes."]


def test_press_over_the_limit_stays_valid() -> None:
    bot = Bot("helpdesk", user_limit="1/minute")
    bot.message("hi")(lambda ctx: Card("Hello", buttons=[Button("Buy", "buy")], once=True))
    bot.action("buy")(lambda ctx: "bought")
    client = BotClient(bot, now=HOUR)
    client.send("hi")
    assert client.press("Buy").texts == ["You write faster than I can answer. Please try again in 1 minute."]
    client.advance(60)
    assert client.press("Buy").texts == ["bought"]


def test_question_over_the_limit_stays_open() -> None:
    bot = Bot("helpdesk", user_limit="1/minute", user_limit_text="Wait {renewed}.")
    bot.command("name")(lambda ctx: f"Hello {ctx.ask('Your name?')}")
    client = BotClient(bot, now=HOUR)
    assert client.send("/name").texts == ["Your name?"]
    assert client.send("Maria").texts == ["Wait in 1 minute."]
    client.advance(60)
    assert client.send("Maria").texts == ["Hello Maria"]


def test_group_gets_its_answers_and_then_none() -> None:
    client = BotClient(make_bot(group_answers="2/minute"), group="ops", now=HOUR)
    assert [client.send(text).texts for text in "abc"] == [["you said a"], ["you said b"], []]
    assert client.send("d", group="team").texts == ["you said d"]
    assert client.as_user("maria").send("e").texts == ["you said e"]
    client.advance(60)
    assert client.send("f").texts == ["you said f"]


def test_group_counts_only_what_was_answered_there() -> None:
    bot = Bot("helpdesk", group_answers="1/minute")
    seen: list[str] = []
    bot.message("loud")(lambda ctx: "here")
    bot.message("private")(lambda ctx: ctx.send("psst", to=ctx.conversation_with(user="maria")) and None)
    bot.fallback(lambda ctx: seen.append(ctx.text))
    client = BotClient(bot, group="ops", now=HOUR)
    for text in ("a", "private", "b"):
        client.send(text)
    assert client.send("loud").texts == ["here"]
    client.send("c")
    assert seen == ["a", "b"]


def test_maintenance_is_the_answer_to_everything() -> None:
    bot = make_bot(maintenance="We are back at 10.")
    seen: list[str] = []
    bot.event(MembershipEvent)(lambda ctx: seen.append("joined"))

    @bot.command("name")
    def name(ctx: Context) -> str:
        return f"Hello {ctx.ask('Your name?')}"

    client = BotClient(bot)
    assert client.send("/name").texts == ["We are back at 10."]
    assert client.send("hi", group="ops").texts == []
    assert client.send("hi", group="ops", mention=True).texts == ["We are back at 10."]
    client.as_user("ben", group="team").join()
    assert seen == []
    bot.maintenance = None
    assert client.send("/name").texts == ["Your name?"]
    bot.maintenance = "Soon."
    assert client.send("Maria").texts == ["Soon."]
    bot.maintenance = None
    assert client.send("Maria").texts == ["Hello Maria"]


def test_dialog_goes_on_by_itself_during_maintenance() -> None:
    bot = Bot("helpdesk")

    @bot.command("later")
    def later(ctx: Context) -> str:
        ctx.sleep("1h")
        return "now"

    client = BotClient(bot)
    client.send("/later")
    bot.maintenance = "Soon."
    assert client.advance("1h").texts == ["now"]


@pytest.mark.parametrize("maintenance", ["", " ", 5])
def test_maintenance_is_a_text(maintenance: Any) -> None:
    with pytest.raises(RegistrationError, match="maintenance: expected the text that users get, or None"):
        Bot("helpdesk", maintenance=maintenance)


@pytest.mark.parametrize("option", ["user_limit", "group_answers"])
def test_rates_are_checked(option: str) -> None:
    with pytest.raises(RegistrationError, match=f"{option}: expected a number a period"):
        Bot("helpdesk", **{option: "many"})
