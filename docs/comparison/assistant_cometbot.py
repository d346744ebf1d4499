"""The assistant in cometbot: two tools, one of which managers approve."""

import assistant_shop as shop

from cometbot import Bot, Group, ToolCall, direct
from cometbot.turns import to_openai

bot = Bot("assistant")
bot.tool(shop.find_order)


@bot.tool(requires_approval=Group("managers"))
def refund(ctx, number: int, euros: float) -> str:
    """Refund an order, in part or in full."""
    return shop.create_refund(number, euros, ctx.idempotency_key())


def model(turns, tools):
    for piece in shop.stream_answer(to_openai(turns)):
        yield ToolCall(**piece["call"]) if "call" in piece else piece["text"]


@bot.message(direct)
def answer(ctx):
    ctx.run_agent(model, instructions=shop.INSTRUCTIONS)
