"""What is let through, and what is not."""

from __future__ import annotations

import pytest

from cometbot.testing import BotClient
from examples.moderation import make_bot


@pytest.fixture
def client() -> BotClient:
    return BotClient(make_bot())


def test_an_unwanted_word_is_blocked_with_a_reason(client: BotClient) -> None:
    verdict = client.moderate("Come to our Casino!")

    assert verdict.match
    assert verdict.confidence == 1
    assert verdict.reason == "says casino"


def test_a_part_of_a_longer_word_passes(client: BotClient) -> None:
    assert not client.moderate("casinos").match


def test_a_stranger_leads_nobody_elsewhere(client: BotClient) -> None:
    assert client.moderate("Write to me on WhatsApp").confidence == 0.9


def test_people_who_talk_may_exchange_an_address(client: BotClient) -> None:
    verdict = client.moderate("I am on Telegram", context=["Hello Tom", ("tom", "Where can I reach you?")])

    assert verdict.confidence == 0.5


def test_a_picture_of_a_usual_kind_passes(client: BotClient) -> None:
    assert not client.moderate(file=b"\x89PNG\r\n\x1a\n", name="cat.png").match
    assert client.moderate(file=b"<svg/>", name="cat.svg").match


def test_the_bot_tells_its_rules(client: BotClient) -> None:
    assert "No casino, no lottery" in client.send("/rules").text
