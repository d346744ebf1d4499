"""A bot that pays what the group of managers approves, and leaves a mark for each payment."""

from __future__ import annotations

import os
from pathlib import Path

from cometbot import Bot, Context, Field, Form, Group
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

bot = Bot("trial")
MANAGERS = Group("managers")


def pay(name: str) -> str:
    with (Path(os.environ["COMETBOT_TEST_MARKS"]) / name).open("a") as file:
        file.write("x")
    return f"receipt of {name}"


@bot.command("expense")
def expense(ctx: Context) -> str:
    form = ctx.ask(Form("Your expense", [Field("euros", "Euros", "number")]))
    approval = ctx.approve(f"Pay {form['euros']} €?", to=MANAGERS, timeout="1h")
    if not approval:
        return f"{approval.status}."
    return f"Approved by {approval.by}: {ctx.once(pay, ctx.sender.uid)}"
