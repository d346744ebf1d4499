"""A bot that does whatever a handler should not: it dawdles, raises, hangs and ends its own process."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from cometbot import Bot, Context

bot = Bot("trial")


def _mark(name: str) -> Path:
    """Let the test know that a handler has got here, and how often; returns the folder of all marks."""
    marks = Path(os.environ["COMETBOT_TEST_MARKS"])
    with (marks / name).open("a") as file:
        file.write("x")
    return marks


@bot.command("sleep")
def sleep(ctx: Context, seconds: float) -> str:
    _mark("sleep")
    time.sleep(seconds)
    return "slept"


@bot.command("raise")
def fail(ctx: Context) -> None:
    raise ValueError("the handler does not like this")


@bot.command("hang", timeout=1.0)
def hang(ctx: Context) -> str:
    _mark("hang")
    time.sleep(3600)
    return "never said"


@bot.command("exit")
def leave(ctx: Context) -> None:
    _mark("exit")
    os._exit(1)


@bot.command("kill")
def kill(ctx: Context) -> None:
    _mark("kill")
    os.kill(os.getpid(), signal.SIGKILL)


@bot.command("say-and-wait")
def say_and_wait(ctx: Context) -> str:
    ctx.reply("first")
    marks = _mark("say-and-wait")
    while not (marks / "go-on").exists():
        time.sleep(0.05)
    return "second"


@bot.fallback
def repeat(ctx: Context) -> str:
    return f"re: {ctx.text}"
