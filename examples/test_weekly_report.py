"""What a report shows, when it comes, and that its files arrive as they were made."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pytest
from PIL import Image

from cometbot.testing import BotClient
from examples.weekly_report import TEAM, bot, draw_chart, load_orders

FRIDAY = 1_700_236_740.0
"""2023-11-17 16:59 in Berlin."""


@pytest.mark.parametrize("channel", ["fake", "cometchat", "chat_api", "platform", "simplex"])
def test_files_arrive_byte_by_byte(bot_client: Callable[..., BotClient], channel: str) -> None:
    client = bot_client(bot, channel=channel)
    picture, table = client.send("/report")

    assert "238 orders this week" in picture.text
    assert client.download(picture) == to_png(draw_chart(load_orders()))
    assert client.download(table) == b"day,orders\nMon,41\nTue,38\nWed,52\nThu,47\nFri,60\n"


def test_the_team_gets_it_on_friday() -> None:
    client = BotClient(bot, group=TEAM, now=FRIDAY)
    assert not client.advance("30s")
    picture, table = client.advance("30s")
    assert "238 orders" in picture.text
    assert client.download(table).startswith(b"day,orders")
    assert not client.advance("6d")
    assert len(client.advance("1d")) == 2


def test_the_best_day_has_the_highest_bar() -> None:
    picture = draw_chart({"Mon": 1, "Tue": 2})
    bars = [[picture.getpixel((x, y)) for y in range(180)] for x in (30, 90)]
    heights = [sum(pixel != (255, 255, 255) for pixel in bar) for bar in bars]
    assert heights == [80, 160]


def to_png(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "png")
    return buffer.getvalue()
