"""A bot that handles the beginning of a chat greets before one writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.engine import expect
from tests.browser.webchat.conftest import Platform, Visit


class GreetingPlatform(Platform):
    """A platform whose bot greets."""

    spec = f"{Path(__file__).parent / 'greeting_bot.py'}:bot"


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    platform = GreetingPlatform(tmp_path)
    platform.start()
    yield platform
    platform.stop()


def test_chat_with_a_bot_that_greets_begins_at_once(visit: Visit) -> None:
    guest = visit().sign_up("Maria").open_chat("greeter")
    guest.expect_text("Welcome, Maria!")
    expect(guest.page).to_have_url(re.compile("/conversation/"))
    expect(guest.chats).to_have_count(1)
    guest.send_text("hi")
    guest.expect_text("Yes?")
    expect(guest.page.locator(".message.other")).to_have_count(2)
    guest.goto("/bot/greeter")
    expect(guest.chats).to_have_count(1)
