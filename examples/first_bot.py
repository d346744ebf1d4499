"""The first bot: a command, a greeting, a question with buttons, and an answer to everything else."""

from __future__ import annotations

from cometbot import Bot, Choices, Context

bot = Bot("helpdesk", description="Answers questions about orders.")


@bot.command("track", description="Where is my order?")
def track(ctx: Context, number: int) -> str:
    return f"Order {number} is on its way, {ctx.sender.name}."


@bot.message("hi", "hello")
def greet(ctx: Context) -> None:
    ctx.reply("Hello!")
    ctx.reply(Choices("What can I do for you?", ["Track an order", "Talk to a human"], action="topic"))


@bot.action("topic")
def topic(ctx: Context) -> str:
    if ctx.value == "Talk to a human":
        ctx.user_state["waits"] = True
        return "Somebody will be with you soon."
    return "Tell me its number: /track 4711"


@bot.fallback
def unknown(ctx: Context) -> str:
    return "Try /track 4711"
