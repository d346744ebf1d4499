"""Run as a program, it stores a broadcast and two jobs of a far time."""

from __future__ import annotations

from datetime import datetime, timezone

from cometbot import Bot, Context

bot = Bot("helpdesk")


@bot.job
def report(ctx: Context) -> None: ...


if __name__ == "__main__":
    bot.broadcast(users=["maria", "tom"], text="We open on Monday.", name="opening")
    for year in (2100, 2101):
        bot.at(datetime(year, 1, 1, tzinfo=timezone.utc), report)
