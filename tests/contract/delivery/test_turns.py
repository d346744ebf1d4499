"""Turns over every database: the same in every run of a handler, and in the order of answers."""

from __future__ import annotations

import json

from cometbot.context import Context
from cometbot.conversation_turns import TURNS_KEY
from tests.contract.delivery.conftest import Harness


def test_answers_stand_behind_what_they_answer(harness: Harness) -> None:
    seen: list[list[str]] = []

    @harness.bot.fallback
    def answer(ctx: Context) -> str:
        seen.append([turn.text for turn in ctx.turns()])
        return f"to {ctx.text}"

    incoming = [harness.channel.incoming(harness.bot, text) for text in ("one", "two", "three")]
    for item in incoming:
        harness.channel.parse(item)  # the platform has all before the bot handles the first
    delivery = harness.start_process()
    for item in incoming:
        delivery.enqueue(item)
    harness.channel.wait_for(lambda: len(harness.channel.texts()) == 3)
    assert seen == [["one"], ["one", "to one", "two"], ["one", "to one", "two", "to two", "three"]]


def test_retried_handler_gets_the_same_turns(harness: Harness) -> None:
    seen: list[list[str]] = []

    @harness.bot.message(retries=1)
    def answer(ctx: Context) -> str:
        ctx.reply("One moment.")
        seen.append([turn.text for turn in ctx.turns(limit=3)])
        if len(seen) == 2:
            raise ValueError("interrupted")
        return "done"

    delivery = harness.start_process()
    for number, text in enumerate(("one", "two"), start=1):
        harness.enqueue(delivery, text)
        harness.channel.wait_for(lambda number=number: harness.channel.texts().count("done") == number)  # type: ignore[misc]
    assert seen == [["one"], ["two"], ["two"]]


def test_later_run_begins_with_the_turn_of_the_first(harness: Harness) -> None:
    seen: list[list[str]] = []

    @harness.bot.command("ask")
    def ask(ctx: Context) -> str:
        seen.append([turn.text for turn in ctx.turns(limit=4)])
        return f"Size {ctx.ask('Which size?')}."

    @harness.bot.command("note")
    def note(ctx: Context, number: int) -> None:
        ctx.turns(limit=4)
        ctx.state["noted"] = number

    delivery = harness.start_process()
    for text in ("/note 1", "/note 2", "/note 3", "/note 4", "/ask"):
        harness.enqueue(delivery, text)
    harness.channel.wait_for(lambda: bool(harness.channel.texts()))
    for number in range(5, 15):
        harness.enqueue(delivery, f"/note {number}")
    harness.enqueue(delivery, "M")
    harness.channel.wait_for(lambda: "Size M." in harness.channel.texts())
    assert seen == [["/note 4", "/ask"]] * 2
    here = harness.channel.conversation(harness.bot, user="maria").key_text
    with delivery.database.read() as connection:
        stored = delivery.store.state.load(connection, "conversation", here)
    assert len(json.loads(stored[TURNS_KEY])) > 2
