"""A bot that says something before anybody has written."""

from __future__ import annotations

from cometbot import Bot, Context, ConversationStarted

bot = Bot("greeter", description="Greets you.")


@bot.event(ConversationStarted)
def greet(ctx: Context) -> str:
    return f"Welcome, {ctx.sender.name}!"


@bot.message()
def answer(ctx: Context) -> str:
    return "Yes?"
