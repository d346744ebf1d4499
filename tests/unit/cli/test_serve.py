"""The summary that ``cometbot serve`` logs at its start."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.cli.serve import base_url, summary_lines
from cometbot.settings import Settings


def test_bots_channels_addresses_and_database_are_named() -> None:
    settings = Settings(
        channels=("cometchat", "chat_api", "platform", "simplex", "agui"),
        bind="127.0.0.1:8001",
        database_url="postgresql://bot:hidden@db.example.com/bots",
    )
    assert list(summary_lines(settings, ["shop", "help"])) == [
        "serving shop, help on cometchat, chat_api, platform, simplex, agui",
        "CometChat callback of shop: http://127.0.0.1:8001/cometchat/shop",
        "Chat API of shop: http://127.0.0.1:8001/chat/shop, its reference: http://127.0.0.1:8001/chat/shop/redoc",
        "AG-UI of shop: http://127.0.0.1:8001/agui/shop",
        "CometChat callback of help: http://127.0.0.1:8001/cometchat/help",
        "Chat API of help: http://127.0.0.1:8001/chat/help, its reference: http://127.0.0.1:8001/chat/help/redoc",
        "AG-UI of help: http://127.0.0.1:8001/agui/help",
        "web chat: http://127.0.0.1:8001/",
        "SimpleX: also run cometbot simplex, which holds the connection",
        "database: PostgreSQL, db.example.com/bots",
    ]


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"bind": "0.0.0.0:8000"}, "http://localhost:8000"),
        ({"bind": "[::]:8000"}, "http://localhost:8000"),
        ({"bind": "[::1]:8000"}, "http://[::1]:8000"),
        ({"bind": "unix:/run/bot.sock"}, "unix:/run/bot.sock"),
        ({"bind": "unix:/run/bot.sock", "public_url": "https://bots.example.com/"}, "https://bots.example.com"),
    ],
)
def test_the_address_is_the_public_one_or_where_it_listens(settings: dict[str, Any], url: str) -> None:
    assert base_url(Settings(**settings)) == url
