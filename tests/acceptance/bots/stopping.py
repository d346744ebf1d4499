"""A bot that streams words, or works without a word, until its user writes /stop."""

from __future__ import annotations

import time
from collections.abc import Iterator

from cometbot import Bot, Context
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

bot = Bot("trial", handler_timeout=120)


@bot.command("tell")
def tell(ctx: Context) -> None:
    def words() -> Iterator[str]:
        while True:
            yield "word "
            time.sleep(0.05)

    ctx.stream(words)


@bot.command("work")
def work(ctx: Context) -> str:
    ctx.reply("I work.")
    while not ctx.cancelled:
        time.sleep(0.001)
    return "I have tidied up."
