"""A bot with a job each second and others that are planned, on a wall clock that tests set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cometbot import Bot, Context, JobEvent
from cometbot.store.database import Database
from cometbot.store.postgresql import PostgreSQL
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

bot = Bot("trial")

OFFSET = Path(os.environ["COMETBOT_TEST_MARKS"]) / "offset"
"""A file with the seconds by which the wall clock is wrong."""


def add_offset(kind: type[Database]) -> None:
    original = kind.wall_clock

    def wall_clock(self: Database, connection: Any) -> float:
        return original(self, connection) + (float(OFFSET.read_text() or 0) if OFFSET.exists() else 0.0)

    kind.wall_clock = wall_clock  # type: ignore[method-assign]


add_offset(Database)
add_offset(PostgreSQL)


@bot.job
def tick(ctx: Context) -> None:
    assert isinstance(ctx.event, JobEvent)
    listener = OFFSET.with_name("listener")
    if listener.exists():
        ctx.send(f"tick {int(ctx.event.due_at)}", to=ctx.conversation_with(user=listener.read_text()))


bot.every("1s", tick)


@bot.job
def ring(ctx: Context, number: int) -> None:
    ctx.send(f"ring {number}")


@bot.command("plan")
def plan(ctx: Context, count: int) -> str:
    for number in range(count):
        ctx.later(0.25 * (number + 1), ring, number=number)
    ctx.send("last", at=0.25 * (count + 1))
    return "Planned."
