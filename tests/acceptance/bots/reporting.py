"""A bot that sends a file of its own, and one that waits until the gate opens."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cometbot import Bot, Context, Media
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

CONTENT = bytes(range(256)) * 4000

bot = Bot("trial")


@bot.command("report")
def report(ctx: Context) -> Media:
    return Media(data=CONTENT, name="report.bin", caption="The report")


@bot.command("slow")
def slow(ctx: Context) -> str:
    ctx.reply(Media(data=CONTENT[::-1], name="first.bin", caption="First"))
    folder = Path(os.environ["COMETBOT_TEST_MARKS"])
    with (folder / "slow").open("a") as file:
        file.write("x")
    while not (folder / "open").exists():
        time.sleep(0.02)
    return "done"
