"""Outgoing middleware around handlers that ask: each run passes what is new, and nothing twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cometbot import AskTimeout, Bot, BotError, Choices, Context, Message, Text
from cometbot.delivery.dry_run import dry_run
from cometbot.messages import Operation
from cometbot.outgoing import Outgoing
from cometbot.store.tables import steps
from cometbot.testing import BotClient


@pytest.fixture
def bot() -> Bot:
    return Bot("shop")


def record(bot: Bot) -> list[str]:
    """Return the list in which the bot records what passes its outgoing middleware."""
    seen: list[str] = []
    bot.outgoing(lambda message, outgoing: seen.append(message.to_text()) or message)
    return seen


def drop_secrets(message: Message, outgoing: Outgoing) -> Message | None:
    return None if "secret" in message.to_text() else message


def mask(message: Message, outgoing: Outgoing) -> Message:
    return replace(message, text=message.text.replace("4711", "****")) if isinstance(message, Text) else message


def texts_of_dry_run(client: BotClient, message_id: str = "m1") -> list[str]:
    """Return what the bot would say to a stored message now."""
    return [planned.text for planned in dry_run(client._harness.delivery, message_id).planned]


def test_each_message_is_passed_once(bot: Bot) -> None:
    seen = record(bot)

    @bot.command
    def order(ctx: Context) -> str:
        sent = ctx.reply("Welcome.")
        size = ctx.ask("Which size?")
        sent.edit(f"Size {size}.")
        ctx.send("An order.", to=ctx.conversation_with(user="tom"))
        bot.send(user="tom", text="It is big.")
        ctx.stream(["So ", "far."])
        count = ctx.ask("How many?", type=int)
        return f"{count} times {size}."

    client = BotClient(bot, check_paths=False)
    client.send("/order")
    client.send("M")
    client.send("many")
    assert client.send("3").text == "3 times M."
    assert seen == [
        *("Welcome.", "Which size?", "Size M.", "An order.", "It is big.", "So far.", "How many?"),
        *("Please answer with a whole number, not “many”.", "3 times M."),
    ]


def test_texts_at_the_end_of_a_dialog_are_passed(bot: Bot) -> None:
    bot.outgoing(lambda message, outgoing: replace(message, text=message.text.upper()))
    bot.command("order")(lambda ctx: ctx.ask("Which?", type=int, attempts=1, timeout="1h"))
    client = BotClient(bot)
    client.send("/order")
    assert client.send("/cancel").text == "ALL RIGHT, CANCELLED."
    client.send("/order")
    assert client.send("much").text.startswith("LET US LEAVE IT THERE")


@pytest.mark.parametrize("answer", ["/cancel", "much"])
def test_failing_middleware_at_the_end_of_a_dialog_ends_it(bot: Bot, answer: str) -> None:
    @bot.outgoing
    def check(message: Message, outgoing: Outgoing) -> Message:
        if message.to_text() != "Which?":
            raise LookupError("cannot check")
        return message

    bot.command("order")(lambda ctx: ctx.ask("Which?", type=int, attempts=1))
    client = BotClient(bot, raise_errors=False)
    client.send("/order")
    assert client.send(answer).texts == []
    assert [letter.error for letter in client.dead_letters] == ["LookupError: cannot check"]
    assert client.waiting is None


def test_dropped_messages_keep_their_places_in_later_runs(bot: Bot) -> None:
    bot.outgoing(drop_secrets)

    @bot.command
    def order(ctx: Context) -> str:
        dropped = ctx.reply("A secret.")
        shown = ctx.reply("Welcome.")
        assert ctx.stream(["Another ", "secret."]) is None
        bot.send(user="tom", text="A third secret.")
        size = ctx.ask("Which size?")
        shown.edit(f"Size {size}.")
        dropped.edit("Nothing to change.")
        ctx.ask("How many?")
        dropped.delete()
        shown.edit("Done.")
        return "Thanks."

    client = BotClient(bot)
    assert client.send("/order").texts == ["Welcome.", "Which size?"]
    assert client.send("M").texts == ["How many?"]
    assert client.said().texts[0] == "Size M."
    assert client.send("3").texts == ["Thanks."]
    assert client.said().texts[0] == "Done."
    assert client.dead_letters == []
    assert not client.said_elsewhere()


def test_stored_text_of_a_stream_and_a_question_is_the_changed_one(bot: Bot) -> None:
    bot.outgoing(mask)

    @bot.command
    def order(ctx: Context) -> str:
        ctx.stream(["Number ", "4711"])
        return ctx.ask("Is 4711 right?")

    client = BotClient(bot)
    assert client.send("/order").texts == ["Number ****", "Is **** right?"]
    assert client.waiting is not None
    assert client.waiting.text == "Is **** right?"
    with client._harness.database.read() as connection:
        stored = [row.result for row in connection.execute(steps.select())]
    assert [str(result) for result in stored if "4711" in str(result)] == []


def test_changed_labels_of_a_question_select_its_choices(bot: Bot) -> None:
    @bot.outgoing
    def number(message: Message, outgoing: Outgoing) -> Message:
        return replace(message, text=f"1) {message.text}") if isinstance(message, Choices) else message

    bot.command("order")(lambda ctx: ctx.ask("Which?", choices=["S", "M"]))
    client = BotClient(bot)
    assert client.send("/order").text.startswith("1) Which?")
    assert client.send("huge").text.startswith("1) Please choose one of: S, M.")
    assert client.choose("M").text == "M"


def test_dropped_question_can_be_caught(bot: Bot) -> None:
    bot.outgoing(drop_secrets)

    @bot.command
    def order(ctx: Context) -> str:
        try:
            return ctx.ask("Your secret?")
        except BotError:
            return ctx.ask("Your name?", key="name")

    client = BotClient(bot)
    assert client.send("/order").text == "Your name?"
    assert client.send("Maria").text == "Maria"


def test_event_is_the_one_that_started_the_handler(bot: Bot) -> None:
    seen: list[tuple[str, str]] = []

    @bot.outgoing
    def note(message: Message, outgoing: Outgoing) -> Message:
        seen.append((message.to_text(), getattr(outgoing.event, "text", "")))
        return message

    @bot.command
    def order(ctx: Context) -> str:
        try:
            ctx.ask("Which?", timeout="1h")
        except AskTimeout:
            ctx.once(lambda: bot.send(user="tom", text="Too late."))
        return "Bye."

    client = BotClient(bot, check_paths=False)
    client.send("/order")
    client.advance("2h")
    assert seen == [("Which?", "/order"), ("Too late.", ""), ("Bye.", "/order")]


def test_dry_run_shows_what_would_be_said(bot: Bot) -> None:
    bot.outgoing(drop_secrets)
    bot.outgoing(mask)

    @bot.command
    def order(ctx: Context) -> list[str]:
        ctx.reply("A secret.")
        ctx.stream(["Number ", "4711"])
        ctx.once(lambda: None)
        return []

    @bot.middleware
    def announce(ctx: Context, call_next: Any) -> Any:
        bot.send(user="tom", text="A secret.")
        bot.send(user="tom", text="Order 4711.")
        return call_next() or ["Bye 4711.", "A secret."]

    client = BotClient(bot)
    client.send("/order")
    assert texts_of_dry_run(client) == ["Order ****.", "Number ****"]
    bot.command("bye")(lambda ctx: None)
    client.send("/bye")
    assert texts_of_dry_run(client, "m2") == ["Order ****.", "Bye ****."]


@pytest.mark.parametrize("passes", [True, False])
def test_dry_run_passes_the_error_text(bot: Bot, passes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    bot.outgoing(lambda message, outgoing: message if passes or message.to_text() == "fine" else None)
    bot.command("order")(lambda ctx: "fine")
    client = BotClient(bot)
    client.send("/order")
    render = client.channel.render

    def render_some(operation: Operation) -> Any:
        if operation.message == Text("fine"):
            raise LookupError("cannot render")
        return render(operation)

    monkeypatch.setattr(client.channel, "render", render_some)
    assert texts_of_dry_run(client) == ([bot.error_text] if passes else [])
