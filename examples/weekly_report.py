"""A report as a picture and a table: each Friday for the team's group, and for anybody with ``/report``."""

from __future__ import annotations

import os
from collections.abc import Mapping

from PIL import Image, ImageDraw

from cometbot import Bot, Context, Media

TEAM = os.environ.get("TEAM", "sales-team")

bot = Bot("reports", description="How many orders there were this week.")


def load_orders() -> dict[str, int]:
    """Stand for a query of your database."""
    return {"Mon": 41, "Tue": 38, "Wed": 52, "Thu": 47, "Fri": 60}


def draw_chart(orders: Mapping[str, int]) -> Image.Image:
    picture = Image.new("RGB", (60 * len(orders), 200), "white")
    draw = ImageDraw.Draw(picture)
    for number, (day, count) in enumerate(orders.items()):
        left, top = 60 * number + 10, 180 - 160 * count / max(orders.values())
        draw.rectangle((left, top, left + 40, 180), fill="teal")
        draw.text((left, 184), f"{day} {count}", fill="black")
    return picture


def make_report() -> list[Media]:
    orders = load_orders()
    table = "".join(f"{day},{count}\n" for day, count in orders.items())
    return [
        Media(data=draw_chart(orders), name="orders.png", caption=f"{sum(orders.values())} orders this week"),
        Media(data=f"day,orders\n{table}".encode(), name="orders.csv"),
    ]


@bot.command("report", description="The orders of this week.")
def report(ctx: Context) -> list[Media]:
    return make_report()


@bot.job
def send_report(ctx: Context) -> None:
    for file in make_report():
        ctx.send(file, to=ctx.conversation_with(group=TEAM))


bot.cron("0 17 * * 5", send_report, tz="Europe/Berlin")
