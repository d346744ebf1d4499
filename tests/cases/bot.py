"""The bot of the cases: it notes each event in a file, and answers what a case asks it for."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cometbot import Bot, Context, MessageEvent
from cometbot.events import Event

bot = Bot("demo_bot", description="Sells tea.")


def _log_event(event: Event) -> None:
    text = event.text if isinstance(event, MessageEvent) else None
    line = json.dumps({"key": event.key, "kind": type(event).__name__, "text": text})
    with Path(os.environ["COMETBOT_TEST_HEARD"]).open("a") as file:
        file.write(f"{line}\n")


@bot.message("answer me")
def answer(ctx: Context) -> str:
    return "an answer"


@bot.message("ping pong")
def pong(ctx: Context) -> str:
    return "pong ping"


@bot.message("rtl")
def say_message(ctx: Context) -> str:
    return Path(os.environ["COMETBOT_TEST_MESSAGE"]).read_text()


@bot.event
def log_event(ctx: Context) -> None:
    _log_event(ctx.event)
