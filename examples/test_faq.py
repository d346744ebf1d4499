"""What the FAQ answers."""

from __future__ import annotations

import pytest

from cometbot.testing import TEXT_ONLY, BotClient
from examples.faq import bot


@pytest.fixture
def client() -> BotClient:
    return BotClient(bot)


def test_a_topic_is_answered_by_command(client: BotClient) -> None:
    assert "three days" in client.send("/faq delivery").text


def test_a_command_without_a_topic_offers_all(client: BotClient) -> None:
    assert client.send("/faq").choices == ["Delivery", "Returns", "Payment"]


def test_a_choice_is_answered(client: BotClient) -> None:
    client.send("/faq")

    assert "30 days" in client.choose("Returns").text


def test_a_choice_is_answered_by_its_number_where_there_are_no_buttons() -> None:
    client = BotClient(bot, capabilities=TEXT_ONLY)
    client.send("/faq")

    assert "invoices" in client.send("3").text


def test_a_word_in_a_question_is_enough(client: BotClient) -> None:
    assert "three days" in client.send("How long does the delivery take?").text


def test_help_lists_the_command(client: BotClient) -> None:
    assert "/faq" in client.send("/help").text
