"""The bot in the pictures of the documentation."""

from __future__ import annotations

from cometbot import Bot, Button, Card, Choices, Context

bot = Bot("helpdesk", description="Answers questions about orders.")


@bot.command("track", description="Where is my order?")
def track(ctx: Context, number: int) -> str:
    return f"Order **{number}** is on its way, {ctx.sender.name}."


@bot.message("hello")
def greet(ctx: Context) -> Choices:
    return Choices("Hello! What can I do for you?", ["Track an order", "Buy tea"], action="topic")


@bot.action("topic")
def topic(ctx: Context) -> Card | str:
    if ctx.value == "Track an order":
        return "Tell me its number: `/track 4711`"
    return Card("Earl Grey", "Black tea, 100 g", buttons=[Button("Buy", "buy", "earl-grey")])


@bot.action("buy")
def buy(ctx: Context) -> str:
    return "It is yours."
