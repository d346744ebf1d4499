"""A bot that answers bursts, and hands its users over to the people of a group."""

from __future__ import annotations

from cometbot import Bot, Context, Group
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

bot = Bot("trial", burst_pause=1.0)


@bot.command("human")
def human(ctx: Context) -> str:
    ctx.reply("A person will answer you here.")
    ended = ctx.hand_off(Group("support"), transcript=0)
    return f"The bot again: {ended.status} by {ended.by}."


@bot.fallback(concurrency="burst")
def answer(ctx: Context) -> str:
    return f"got {' '.join(message.text for message in ctx.messages)}"
