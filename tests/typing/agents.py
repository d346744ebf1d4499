"""Tools and agents as a type checker sees them: checked by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING

from cometbot import Bot, Context, Group, Router, Tool, ToolCall, Turn, User
from cometbot.sent import Sent
from cometbot.testing import FakeModel

if TYPE_CHECKING:
    from typing_extensions import assert_type

bot = Bot("shop")
router = Router()


@bot.tool
def find_order(number: int) -> str:
    return str(number)


@bot.tool(requires_approval=Group("managers"), name="refund", description="Refunds an order.")
async def refund(ctx: Context, order: int, reason: str = "") -> None: ...


@router.tool(requires_approval=True)
def cancel(order: int) -> dict[str, int]:
    return {"order": order}


bot.tool(requires_approval=User("tom"))(find_order)
bot.tool(requires_approval="tom")(find_order)  # type: ignore[call-overload]
assert_type(find_order(17), str)
assert_type(cancel(17), dict[str, int])


def model(turns: list[Turn], tools: Sequence[Tool]) -> Iterator[str | ToolCall]:
    yield "".join(tool.name for tool in tools)
    yield ToolCall("find_order", {"number": len(turns)})
    yield ToolCall("find_order", '{"number": 1}', "call_1")


async def async_model(turns: list[Turn], tools: Sequence[Tool]) -> AsyncIterator[str | ToolCall]:
    yield "Hello"


def tell_nothing(turns: list[Turn]) -> list[str]:
    return []


@bot.message()
def answer(ctx: Context) -> None:
    assert_type(ctx.run_agent(model), Sent | None)
    ctx.run_agent(async_model, [find_order, refund, bot.tools[0]], instructions="Be kind.", limit=3, timeout="2m")
    ctx.run_agent(FakeModel("Hello"), turns=[Turn("user", "hi")])
    ctx.run_agent(tell_nothing)  # type: ignore[arg-type]
