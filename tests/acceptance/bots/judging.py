"""A bot whose function for moderation does whatever it should not: it sleeps, raises and returns anything."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from cometbot import Bot, ModerationItem

bot = Bot("trial")


@bot.moderate
def check(item: ModerationItem) -> Any:
    if item.text == "sleep":
        time.sleep(3)
        with (Path(os.environ["COMETBOT_TEST_MARKS"]) / "slept").open("a") as file:
            file.write("x")
    if item.text == "raise":
        raise ValueError(f"cannot judge {item.text}")
    if item.text == "maybe":
        return "maybe"
    if item.text == "hold":
        time.sleep(0.2)
    return item.type == "hologram" or "casino" in item.text


@bot.fallback
def echo(ctx: Any) -> str:
    if ctx.text == "wait":
        time.sleep(20)
    return f"re: {ctx.text}"
