"""Times that a dialog waits for, beside answers and other dialogs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cometbot import Bot, Choices, Context
from cometbot.store.dialogs import GRACE_PERIOD
from cometbot.testing import BotClient


def test_time_of_a_question_that_was_answered_meanwhile_is_ignored() -> None:
    bot = Bot("helpdesk")

    @bot.command("order")
    def order(ctx: Context) -> str:
        size = ctx.ask("Which size?", timeout="1h")
        return f"{ctx.ask('How many?')} × {size}"

    client = BotClient(bot)
    client.send("/order")
    delivery = client._harness.delivery
    delivery.enqueue(client.channel.incoming(bot, "M"))  # type: ignore[attr-defined]
    client._harness.database.now += 3600
    delivery.store.fire_timers()
    client.advance(0)
    assert client.channel.texts() == ["Which size?", "How many?"]  # type: ignore[attr-defined]
    assert [reply.text for reply in client.send("3")] == ["3 × M"]


def test_question_waits_for_its_turn_as_long_as_it_takes() -> None:
    bot = Bot("helpdesk")

    @bot.command("remind")
    def remind(ctx: Context) -> str:
        ctx.sleep("1m")
        return f"You said {ctx.ask('Did you drink?')}."

    @bot.command("name")
    def name(ctx: Context) -> str:
        return f"Hello {ctx.ask('Your name?')}."

    client = BotClient(bot)
    client.send("/remind")
    client.send("/name")
    assert [reply.text for reply in client.advance(300)] == []
    assert [reply.text for reply in client.send("Maria")] == ["Hello Maria."]
    assert [reply.text for reply in client.advance(30)] == ["Did you drink?"]
    assert [reply.text for reply in client.send("yes")] == ["You said yes."]


def ask_before_an_outage() -> BotClient:
    """Ask a question whose hour is over when the processes start again, an hour later."""
    bot = Bot("helpdesk")

    @bot.command("order")
    def order(ctx: Context) -> str:
        return ctx.ask("Which size?", timeout="1h", default="none")

    client = BotClient(bot)
    client.send("/order")
    client._harness.database.now += 7200
    return client


def test_answer_given_during_an_outage_comes_before_the_time_that_fell_due_in_it() -> None:
    client = ask_before_an_outage()
    database, store = client._harness.database, client._harness.delivery.store
    started_at = database.now
    assert store.fire_timers(started_at) == []
    database.now += GRACE_PERIOD - 1
    assert store.fire_timers(started_at) == []
    assert [reply.text for reply in client.send("M")] == ["M"]
    database.now += 1
    assert store.fire_timers(started_at) == []


def test_time_that_fell_due_during_an_outage_ends_its_question_after_the_grace_period() -> None:
    client = ask_before_an_outage()
    database, store = client._harness.database, client._harness.delivery.store
    started_at = database.now
    database.now += GRACE_PERIOD
    assert len(store.fire_timers(started_at)) == 1
    client._harness.advance(0)
    assert client.channel.texts() == ["Which size?", "none"]  # type: ignore[attr-defined]


def test_time_that_falls_due_after_the_start_needs_no_grace_period() -> None:
    bot = Bot("helpdesk")
    bot.command("order")(lambda ctx: ctx.ask("Which size?", timeout=10, default="none"))
    client = BotClient(bot)
    client.send("/order")
    database, store = client._harness.database, client._harness.delivery.store
    started_at = database.now
    database.now += 10
    assert len(store.fire_timers(started_at)) == 1


def approve_after(ctx: Context) -> str:
    return ctx.approve("Pay?", own=True).status


def ask_after(ctx: Context) -> str:
    return ctx.ask("Did you drink?", choices=["yes", "no"])


def sleep_after(ctx: Context) -> str:
    ctx.reply("Drink.")
    ctx.sleep("1m")
    return "yes"


@pytest.mark.parametrize(
    ("step", "answer", "end"),
    [(approve_after, "Approve", "approved"), (ask_after, "yes", "yes"), (sleep_after, "", "yes")],
)
def test_step_after_a_sleep_replaces_the_choices_on_offer(
    step: Callable[[Context], str], answer: str, end: str
) -> None:
    bot = Bot("helpdesk")
    bot.action("buy")(lambda ctx, what: f"Bought {what}.")
    bot.command("shop")(lambda ctx: Choices("What?", ["tea", "cups"], action="buy"))

    @bot.command("remind")
    def remind(ctx: Context) -> str:
        ctx.sleep("1m")
        return step(ctx)

    client = BotClient(bot)
    client.send("/remind")
    client.send("/shop")
    assert len(client.advance(60)) == 1
    if answer:
        client.press(answer)
    else:
        client.advance(60)
    assert client.said().texts[-1] == end
    assert client.dead_letters == []
