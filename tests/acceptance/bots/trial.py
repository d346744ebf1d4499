"""A bot that does whatever a handler should not: it dawdles, raises, hangs and ends its own process."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

from cometbot import Bot, Context
from cometbot.store.connection_pool import ConnectionPool
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

bot = Bot("trial")

if "COMETBOT_TEST_IDLE_TIMEOUT" in os.environ:
    options: Any = ConnectionPool.__init__.__kwdefaults__
    options["idle_timeout"] = float(os.environ["COMETBOT_TEST_IDLE_TIMEOUT"])


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


@bot.command("gate")
def wait_at_gate(ctx: Context) -> str:
    """Wait until a test has opened it."""
    marks = _mark("gate")
    while not (marks / "open").exists():
        time.sleep(0.05)
    return "came through"


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


@bot.command("eat")
def eat(ctx: Context) -> str:
    """Take all the memory that this process may have, so that other threads get none either."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 64 * 2**20, before[1]))
    eaten = []
    try:
        while True:
            eaten.append(bytearray(2**20))
    finally:
        _mark("eat")
        resource.setrlimit(resource.RLIMIT_AS, before)


@bot.command("take-files")
def take_files(ctx: Context) -> str:
    """Open all the files that this process may have, until a test has opened the gate."""
    marks = Path(os.environ["COMETBOT_TEST_MARKS"])
    taken = [os.open(marks / "take-files", os.O_CREAT | os.O_WRONLY)]
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        os.write(taken[0], b"x")
        while not (marks / "open").exists():
            time.sleep(0.05)
    finally:
        for file in taken:
            os.close(file)
    return "gave them back"


@bot.command("fork")
def fork(ctx: Context) -> str:
    """Leave a child behind that outlives the server."""
    marks = Path(os.environ["COMETBOT_TEST_MARKS"])
    child = os.fork()
    if child == 0:
        os.setsid()
        (marks / "child").write_text(f"{os.getpid()}")
        signal.pause()
        os._exit(0)
    return "has a child"


@bot.command("say-and-wait")
def say_and_wait(ctx: Context) -> str:
    ctx.reply("first")
    marks = _mark("say-and-wait")
    (marks / "say-and-wait.pid").write_text(f"{os.getpid()}\n")
    while not (marks / "go-on").exists():
        time.sleep(0.05)
    return "second"


@bot.fallback
def repeat(ctx: Context) -> str:
    return f"re: {ctx.text}"
