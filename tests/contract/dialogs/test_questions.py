"""Whose message is an answer, and what a question accepts."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from cometbot import ActionEvent, Bot, Choices, Context, Field, Form, streaming
from cometbot.delivery.dry_run import dry_run
from cometbot.testing import BotClient


def ask_for_a_drink(bot: Bot) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        return ctx.ask("Which?", choices=["Tea", "Milk"])


def test_value_that_is_not_on_offer_is_no_answer(bot: Bot) -> None:
    ask_for_a_drink(bot)
    client = BotClient(bot)
    client.send("/order")
    pressed = client.event(ActionEvent, name="cometbot:ask:m1.0.0", value="poison")
    assert pressed[0].text.startswith("Please choose one of: Tea, Milk.")
    assert client.event(ActionEvent, name="cometbot:ask:m1.0.0", value="Tea").texts == ["Tea"]


FORM = Form("Order", [Field("size", kind="select", options=["S", "M"]), Field("note", optional=True)], action="x")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"size": "XXL"}, "size: “XXL” is not on offer. Choose one of: S, M."),
        ({}, "Please fill in: size."),
        ({"size": "M", "other": "x"}, "{'size': 'M', 'note': ''}"),
    ],
)
def test_form_that_is_sent_with_other_values_is_checked(bot: Bot, values: dict[str, str], expected: str) -> None:
    bot.fallback(lambda ctx: str(ctx.ask(FORM)))
    client = BotClient(bot)
    client.send("hi")
    replies = client.event(ActionEvent, name="cometbot:ask:m1.0.0", values=values)
    assert replies[0].text.startswith(expected)


def test_text_takes_what_was_offered_last(bot: Bot) -> None:
    ask_for_a_drink(bot)

    @bot.command
    def menu(ctx: Context) -> Choices:
        return Choices("Menu", ["One", "Two"], "menu")

    @bot.action("menu")
    def choose(ctx: Context) -> str:
        return f"menu {ctx.value}"

    client = BotClient(bot)
    client.send("/order")
    client.send("/menu")
    assert client.send("1").texts == ["menu One"]
    assert client.send("1").texts == ["Tea"]


def test_question_precedes_what_its_own_run_offered(bot: Bot) -> None:
    bot.action("menu")(lambda ctx: "menu")

    @bot.command
    def order(ctx: Context) -> str:
        ctx.reply(Choices("Menu", ["One", "Two"], "menu"))
        return ctx.ask("How many?")

    client = BotClient(bot)
    client.send("/order")
    assert client.send("1").texts == ["1"]


def test_overheard_text_is_no_wrong_answer(bot: Bot) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        return str(ctx.ask("How many?", type=int, listen=True, attempts=2))

    client = BotClient(bot, group="team")
    client.send("/order")
    for text in ("just chatting", "as one does", "for hours"):
        assert client.send(text).texts == []
    assert client.send("many", mention=True).texts
    assert client.send("still chatting").texts == []
    assert client.send("3").texts == ["3"]


def test_question_to_another_user_replaces_none_of_the_senders(bot: Bot) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        return ctx.ask("Order?")

    @bot.command
    def quiz(ctx: Context) -> str:
        return ctx.ask("Quiz?", of="tom")

    maria = BotClient(bot, group="team")
    tom = maria.as_user("tom", group="team")
    maria.send("/order")
    maria.send("/quiz")
    assert tom.send("blue", mention=True).texts == ["blue"]
    assert maria.send("tea", mention=True).texts == ["tea"]


def test_deadline_counts_from_the_asking_of_a_late_run(bot: Bot) -> None:
    broken = [True]

    @bot.command
    def order(ctx: Context) -> str:
        if broken:
            raise RuntimeError("broken")
        return ctx.ask("Order?", default="late", timeout="1h")

    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    client.advance(7200)
    broken.clear()
    client._harness.delivery.retry(client.dead_letters[0].id)
    client.advance(3599)
    assert client.said()[-1].text == "Order?"
    assert client.advance(1).texts == ["late"]


def test_dry_run_ends_at_once(bot: Bot) -> None:
    calls: list[str] = []

    @bot.command
    def order(ctx: Context) -> str:
        ctx.reply("Welcome!")
        ctx.once(calls.append, "created")
        return "done"

    client = BotClient(bot)
    client.send("/order")
    run = dry_run(client._harness.delivery, "m1")
    assert calls == ["created"]
    assert run.error is None
    assert [planned.text for planned in run.planned] == ["Welcome!"]


FOLLOW_UPS = ["edit", "delete", "preview"]


@pytest.mark.parametrize("name", FOLLOW_UPS)
def test_earlier_message_stays_as_it_is_after_a_suspension(bot: Bot, name: str) -> None:
    @bot.command
    def order(ctx: Context) -> str:
        sent = ctx.reply("Welcome!")
        try:
            return ctx.ask("Order?")
        finally:
            getattr(sent, name)(*([] if name == "delete" else ["changed"]))

    client = BotClient(bot)
    client.send("/order")
    assert [said.versions or (said.text,) for said in client.said()] == [("Welcome!",), ("Order?",)]


@pytest.mark.parametrize("name", FOLLOW_UPS)
def test_earlier_message_is_not_changed_inside_once(bot: Bot, name: str) -> None:
    caught: list[Any] = []

    @bot.command
    def order(ctx: Context) -> None:
        sent = ctx.reply("Welcome!")

        def change() -> None:
            getattr(sent, name)(*([] if name == "delete" else ["changed"]))

        try:
            ctx.once(change)
        except Exception as error:
            caught.append(error)

    BotClient(bot).send("/order")
    assert "inside ctx.once" in str(caught[0])


def test_stream_of_a_function_is_opened_by_one_run(bot: Bot) -> None:
    opened: list[int] = []

    def open_stream() -> list[str]:
        opened.append(1)
        return ["Once ", "upon"]

    @bot.command
    def story(ctx: Context) -> str:
        ctx.stream(open_stream)
        return ctx.ask("More?")

    client = BotClient(bot)
    assert client.send("/story").texts == ["Once upon", "More?"]
    assert client.send("no").texts == ["no"]
    assert opened == [1]


def test_stream_that_runs_again_keeps_its_first_text(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [["one "] * 500, ["four "] * 500]
    minutes = itertools.count(0, 60)
    monkeypatch.setattr(streaming, "time", SimpleNamespace(monotonic=lambda: next(minutes)))

    @bot.command(retries=1)
    def story(ctx: Context) -> None:
        ctx.stream(texts.pop(0))
        if texts:
            raise RuntimeError("broken")

    client = BotClient(bot)
    client.send("/story")
    client.advance(10)
    [said] = client.said()
    assert said.text.split() == ["one"] * 500
    assert not any("four" in version for version in said.versions)
