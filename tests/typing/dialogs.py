"""Handlers that ask as a type checker sees them: checked by mypy, never run."""

from __future__ import annotations

import enum
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from cometbot import Approval, Attachment, Bot, Choice, Choices, ClientTool, Context, Field, Form, Group, HandOff, User

if TYPE_CHECKING:
    from typing_extensions import assert_type

bot = Bot("shop")


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@dataclass
class OrderForm:
    name: str
    count: int = 1


def parse_size(text: str) -> Size:
    return Size(text)


def create_order(size: Size, count: int, *, gift: bool = False) -> str:
    return f"{size}{count}{gift}"


async def get_price(order: str) -> int:
    return len(order)


@bot.command
async def order(ctx: Context, sizes: list[str], offered: list[Choice]) -> str:
    assert_type(ctx.ask("Your name?"), str)
    assert_type(ctx.ask(Choices("Which?", ["a", "b"])), str)
    assert_type(ctx.ask("Your name?", default=None), str | None)

    assert_type(ctx.ask("Which?", choices=["S", "M"]), str)
    assert_type(ctx.ask("Which?", choices=sizes), str)
    assert_type(ctx.ask("Which?", choices=offered), str)
    assert_type(ctx.ask("Which?", choices=[Choice("Small", "s"), "Large"]), str)
    assert_type(ctx.ask("Which?", choices=[Choice("Small"), Choice("Large")]), str)
    assert_type(ctx.ask("Which?", choices=[Choice("Small", Size.SMALL), Choice("Large", Size.LARGE)]), Size)
    assert_type(ctx.ask("Which?", choices=[Choice("One", 1)], validate=lambda n: n > 0, timeout="1h"), int)
    assert_type(ctx.ask("Which?", choices=[Choice("One", 1)], default=None), int | None)

    assert_type(ctx.ask("How many?", type=int), int)
    assert_type(ctx.ask("How many?", type=int, validate=lambda n: 1 <= n <= 9, invalid_text="1 to 9, please."), int)
    assert_type(ctx.ask("How many?", type=int, choices=["1", "2"]), int)
    assert_type(ctx.ask("How much?", type=Decimal, default=0), Decimal | int)
    assert_type(ctx.ask("Which?", type=parse_size), Size)
    assert_type(ctx.ask("Which?", type=Size, default=None), Size | None)
    assert_type(ctx.ask("A photo?", type=Attachment), Attachment)

    assert_type(ctx.ask(Form("Order", [Field("name")])), dict[str, Any])
    assert_type(ctx.ask(Form("Order", [Field("name")]), default=None, validate=len), dict[str, Any] | None)
    assert_type(ctx.ask(OrderForm, validate=lambda order: order.count > 0, invalid_text="One at least."), OrderForm)
    assert_type(ctx.ask(OrderForm), OrderForm)
    assert_type(ctx.ask(OrderForm, default=None, timeout=timedelta(hours=1)), OrderForm | None)

    approval = ctx.approve(
        "Refund?", {"Order": 4711}, to=Group("managers", channel="cometchat"), by=["tom", User("ann")]
    )
    assert_type(approval, Approval)
    assert_type(approval.by, User | None)

    assert_type(ctx.hand_off(Group("support"), "Help!", transcript=5, timeout="2h"), HandOff)

    assert_type(ctx.once(create_order, Size.SMALL, 2, gift=True), str)
    price = ctx.once(get_price, "o1")
    coroutine: Coroutine[Any, Any, int] = price
    assert_type(await coroutine, int)
    assert_type(ctx.once(lambda: 5, key="five", again=False), int)
    return "done"


def use_wrongly(ctx: Context) -> None:
    """What is wrong is an error."""
    ctx.ask("How many?", type=int) + "x"  # type: ignore[operator]
    ctx.ask("How many?", typ=int)  # type: ignore[call-overload]
    ctx.ask("How many?", attempts="3")  # type: ignore[call-overload]
    ctx.ask("Which?", choices=[1, 2])  # type: ignore[list-item]
    ctx.ask("Which?", choices=[Choice("One", 1), "Two"])  # type: ignore[arg-type]
    ctx.approve("Refund?", to="managers")  # type: ignore[arg-type]
    ctx.approve("Refund?", of="tom")  # type: ignore[call-arg]
    ctx.once(create_order, "s", 2)  # type: ignore[call-overload]
    ctx.once(create_order, Size.SMALL)  # type: ignore[call-overload]
    ctx.ask(OrderForm, validate=lambda order: order.colour)  # type: ignore[attr-defined]
    print(ctx.ask(OrderForm).colour)  # type: ignore[attr-defined]
    Field("x", kind="colour")  # type: ignore[arg-type]
    choice: Choice = Choice("One", 1)  # type: ignore[arg-type]
    print(choice)


@bot.command("pick")
def pick(ctx: Context) -> None:
    tool: ClientTool = ctx.client_tools[0]
    assert_type(ctx.call(tool), Any)
    assert_type(ctx.call("pick_place", near="Rome", timeout=3), Any)
    assert_type(ctx.call(tool, {"near": "Rome"}, timeout="10m", default=None, key="pick"), Any)
    ctx.call(tool, {"near": "Rome"}, near="Rome")  # type: ignore[call-overload]
    ctx.call(tool, {"near": "Rome"}, timeout=[])  # type: ignore[call-overload]
    ctx.run_agent(lambda turns, tools: [], [tool])
