"""A bot that asks five questions, the last two as a form, and leaves a mark for each answer."""

from __future__ import annotations

import os
from pathlib import Path

from cometbot import Bot, Context, Field, Form
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

bot = Bot("trial")


def leave_mark(name: str) -> None:
    with (Path(os.environ["COMETBOT_TEST_MARKS"]) / name).open("a") as file:
        file.write("x")


@bot.command("interview")
def interview(ctx: Context) -> str:
    ctx.reply("Welcome.")
    answers = []
    for number in range(1, 4):
        answers.append(ctx.ask(f"Question {number}?", key=f"ask-{number}"))
        ctx.once(leave_mark, f"{ctx.sender.uid}-{number}", key=f"mark-{number}")
    rest = ctx.ask(Form("The rest.", [Field("4", "Question 4?"), Field("5", "Question 5?")]))
    for name, answer in rest.items():
        answers.append(answer)
        ctx.once(leave_mark, f"{ctx.sender.uid}-{name}", key=f"mark-{name}")
    return f"Thank you: {', '.join(answers)}."
