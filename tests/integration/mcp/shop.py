"""A bot whose tools the tests serve: its functions print, fail and wait."""

from __future__ import annotations

import os
from typing import Any

from cometbot import Bot, Context

print("This line must not reach the protocol.")

bot = Bot("shop", description="Answers questions about orders.")


@bot.tool
def find_order(number: int, year: int | None = None) -> dict[str, Any]:
    """Find an order.

    Args:
        number: The number on the confirmation.
    """
    print("Neither must this one.")
    if number == 404:
        raise LookupError(f"no order {number}")
    return {"number": number, "year": year}


@bot.tool
async def get_process() -> str:
    """Return which process this is."""
    return str(os.getpid())


@bot.tool
def end() -> None:
    """End the process in the middle of the call."""
    os._exit(1)


@bot.tool
def broken() -> Any:
    return object()


@bot.tool
def greet(ctx: Context) -> str:
    return f"Hello {ctx.sender}"


@bot.tool(requires_approval=True)
def refund(number: int) -> str:
    return f"refunded {number}"
