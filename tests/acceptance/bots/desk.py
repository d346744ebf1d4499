"""The bot behind the platform's acceptance tests."""

from __future__ import annotations

from cometbot import Bot, Context

bot = Bot("desk", description="Answers.")


@bot.command("start", description="Begins")
def start(ctx: Context) -> str:
    return f"Hello, {ctx.sender.name}."


@bot.fallback
def echo(ctx: Context) -> str:
    return f"echo {ctx.text}"
