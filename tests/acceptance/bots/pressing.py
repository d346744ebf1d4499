"""A bot with a button that counts once, whose handler waits until the gate opens."""

from __future__ import annotations

import os
import time
from pathlib import Path

from cometbot import Bot, Button, Card, Context
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

bot = Bot("trial")


@bot.command("refund")
def refund(ctx: Context) -> Card:
    return Card("Refund?", buttons=[Button("Approve", "decide", {"ok": True})], once=True)


@bot.action("decide")
def decide(ctx: Context, ok: bool) -> str:
    folder = Path(os.environ["COMETBOT_TEST_MARKS"])
    with (folder / "decided").open("a") as file:
        file.write("x")
    while not (folder / "open").exists():
        time.sleep(0.02)
    return f"decided {ok}"
