"""A bot that sends its news to many users."""

from __future__ import annotations

from cometbot import Bot, Context
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

bot = Bot("trial")


@bot.command("publish")
def publish(ctx: Context, count: int) -> str:
    sent = bot.broadcast(users=(f"reader{number}" for number in range(count)), text="News", pace="20/second")
    return f"To {sent.recipients}."
