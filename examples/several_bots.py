"""Several bots in one service, with handlers that they share.

``COMETBOT_BOT=examples.several_bots:orders,examples.several_bots:stock``
"""

from __future__ import annotations

from cometbot import Bot, Context, Router

orders = Bot("orders", description="Knows orders.")
stock = Bot("stock", description="Knows what is in stock.")


def make_manners(contact: str) -> Router:
    """What every bot of ours says. A router is included once, so each bot gets one of its own."""
    router = Router()

    @router.message("hi", "hello")
    def greet(ctx: Context) -> str:
        return f"Hello {ctx.sender.name}! {ctx.bot.description} Try /help."

    @router.command("human", description="Whom to ask.")
    def human(ctx: Context) -> str:
        return f"Write to {contact}."

    return router


@orders.command("track", description="Where is my order?")
def track(ctx: Context, number: int) -> str:
    return f"Order {number} is on its way."


@stock.command("stock", description="How many are left?")
def left(ctx: Context, *, thing: str) -> str:
    return f"There are 12 of {thing} left."


orders.include(make_manners("orders@example.com"))
stock.include(make_manners("stock@example.com"))
