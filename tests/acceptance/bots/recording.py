"""A bot that writes down every event that its handlers get, and answers messages."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cometbot import Bot, Context, Event, MessageEvent
from tests.webhook_samples import describe

bot = Bot("helpdesk")


@bot.event(Event)
def record(ctx: Context) -> str | None:
    line = json.dumps({"raw": dict(ctx.event.raw), **describe(ctx.event)}) + "\n"
    with (Path(os.environ["COMETBOT_TEST_MARKS"]) / "events").open("a") as file:
        file.write(line)
    return "Noted." if isinstance(ctx.event, MessageEvent) else None
