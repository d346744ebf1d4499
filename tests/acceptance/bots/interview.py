"""A bot that asks five questions, and leaves a mark for each answer."""

from __future__ import annotations

import os
from pathlib import Path

from cometbot import Bot, Context

bot = Bot("trial")


def leave_mark(name: str) -> None:
    with (Path(os.environ["COMETBOT_TEST_MARKS"]) / name).open("a") as file:
        file.write("x")


@bot.command("interview")
def interview(ctx: Context) -> str:
    ctx.reply("Welcome.")
    answers = []
    for number in range(1, 6):
        answers.append(ctx.ask(f"Question {number}?", key=f"ask-{number}"))
        ctx.once(leave_mark, f"{ctx.sender.uid}-{number}", key=f"mark-{number}")
    return f"Thank you: {', '.join(answers)}."
