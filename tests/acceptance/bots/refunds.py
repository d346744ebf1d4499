"""A bot with a model that looks an order up and refunds it, and leaves a mark for each request and each call.

The end of its last answer waits for the gate.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cometbot import Bot, Context, Tool, ToolCall, Turn
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

MARKS = Path(os.environ["COMETBOT_TEST_MARKS"])

bot = Bot("trial")


def mark(name: str) -> None:
    with (MARKS / name).open("a") as file:
        file.write("x")


@bot.tool
def find_order(number: int) -> dict[str, int]:
    mark("find")
    return {"number": number, "euros": 30}


@bot.tool(requires_approval=True)
def refund(ctx: Context, number: int, euros: int) -> str:
    mark(f"refund-{ctx.idempotency_key()}")  # as a payment provider knows what it has paid already
    return "refunded"


def model(turns: list[Turn], tools: Sequence[Tool]) -> Iterator[str | ToolCall]:
    results = [turn.text for turn in turns if turn.role == "tool"]
    mark(f"request-{len(results)}")
    if not results:
        yield "Let me "
        yield "see."
        yield ToolCall("find_order", {"number": 17})
    elif len(results) == 1:
        yield ToolCall("refund", {"number": 17, "euros": 30})
    else:
        yield f"It is {results[1]}. "
        while not (MARKS / "open").exists():
            time.sleep(0.01)
        yield "Good bye."


@bot.message()
def answer(ctx: Context) -> None:
    ctx.run_agent(model)
