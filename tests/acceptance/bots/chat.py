"""A bot that says again what it is told, whatever kind of payload that is."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cometbot import Bot, Choice, Context, Custom, CustomEvent
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

bot = Bot("trial", description="Says it again.")


@bot.command("stream")
def stream(ctx: Context) -> None:
    ctx.stream(["Once ", "upon ", "a time"])


@bot.command("hang")
def hang(ctx: Context) -> str:
    """Take the message, and answer only once a file says so."""
    marks = Path(os.environ["COMETBOT_TEST_MARKS"])
    with (marks / "begun").open("a") as file:
        file.write(".")
    while not (marks / "go on").exists():
        time.sleep(0.01)
    return "done"


@bot.command("order")
def order(ctx: Context) -> str:
    size = ctx.ask("Which size?", choices=["Small", Choice("Large", "XL")])
    count = ctx.ask("How many?", type=int)
    return f"{count} x {size}, order {ctx.once(lambda: 1)}."


@bot.event(CustomEvent)
def repeat_event(ctx: Context) -> Custom:
    assert isinstance(ctx.event, CustomEvent)
    return Custom("event", ctx.event.data)


@bot.fallback
def repeat(ctx: Context) -> Custom:
    payload = dict(ctx.event.raw["payload"])
    return Custom(payload.pop("type"), payload)
