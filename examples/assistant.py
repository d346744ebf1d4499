"""An assistant of a shop: a language model with two tools, of which one waits for the approval of a manager."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cometbot import Bot, Context, Group, Tool, ToolCall, Turn, User, direct, mentioned
from cometbot.agents import Model

ORDERS = {17: "Earl Grey, 12.50 €, sent on Monday"}


def make_bot(model: Model, approver: Group | User) -> Bot:
    """Return a bot that answers one-to-one, and in groups where it is mentioned."""
    bot = Bot("assistant", description="Ask me about your order.")

    @bot.tool
    def find_order(number: int) -> str:
        """Look up an order."""
        return ORDERS.get(number, "There is no such order.")

    @bot.tool(requires_approval=approver)
    def refund(ctx: Context, number: int, euros: float) -> str:
        """Refund an order, in part or in full."""
        return f"Refunded {euros:.2f} € for order {number}, receipt {ctx.idempotency_key()}"

    @bot.message(direct | mentioned)
    def answer(ctx: Context) -> None:
        ctx.run_agent(model, instructions="You help the customers of a tea shop.")

    return bot


def parrot(turns: Sequence[Turn], tools: Sequence[Tool]) -> Iterator[str | ToolCall]:
    """Stand in for a model: say the last turn again."""
    yield f"You said: {turns[-1].text}"


bot = make_bot(parrot, Group("managers"))
