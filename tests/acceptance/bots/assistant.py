"""An assistant over a model whose answers wait for the gate; its refunds need approval, and leave a mark each."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cometbot import Bot, Context, Group, Tool, ToolCall, Turn
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

bot = Bot("trial")


def leave_mark(name: str) -> None:
    with (Path(os.environ["COMETBOT_TEST_MARKS"]) / name).open("a") as file:
        file.write("x")


@bot.tool(requires_approval=Group("managers"))
def refund(ctx: Context, euros: int) -> str:
    """Refund an order."""
    leave_mark(f"refund-{ctx.sender.uid}")
    return f"{euros} € refunded"


def model(turns: Sequence[Turn], tools: Sequence[Tool]) -> Iterator[str | ToolCall]:
    """Ask for a refund, and afterwards say in two parts what has become of it; the second waits for the gate."""
    if turns[-1].role == "user":
        yield ToolCall("refund", {"euros": 30})
        return
    yield f"Done: {turns[-1].text}. "
    gate = Path(os.environ["COMETBOT_TEST_MARKS"]) / "open"
    while not gate.exists():
        time.sleep(0.01)
    yield "Good bye."


@bot.fallback
def answer(ctx: Context) -> None:
    ctx.run_agent(model)
