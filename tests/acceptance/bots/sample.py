"""The bot of CometChat's sample payload."""

from __future__ import annotations

from cometbot import Bot, Context

bot = Bot("demo", cometchat_uid="demo_bot")


@bot.message("hi")
def greet(ctx: Context) -> str:
    return f"Hello, {ctx.sender.name}."
