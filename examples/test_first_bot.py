"""What the first bot answers, tested without a server or an account."""

from __future__ import annotations

import pytest

from cometbot.testing import TEXT_ONLY, BotClient
from examples.first_bot import bot


@pytest.fixture
def client() -> BotClient:
    return BotClient(bot, user="maria")


def test_an_order_is_tracked(client: BotClient) -> None:
    assert client.send("/track 4711").text == "Order 4711 is on its way, Maria."


def test_a_number_that_is_none_is_answered_with_the_usage(client: BotClient) -> None:
    assert "/track" in client.send("/track yesterday").text


def test_a_greeting_is_answered_with_a_question(client: BotClient) -> None:
    replies = client.send("hi")

    assert replies[0].text == "Hello!"
    assert replies.choices == ["Track an order", "Talk to a human"]


def test_a_choice_is_pressed(client: BotClient) -> None:
    client.send("hello")

    assert client.choose("Talk to a human").text == "Somebody will be with you soon."
    assert client.user_state["waits"] is True


def test_a_choice_is_answered_by_number_where_there_are_no_buttons() -> None:
    client = BotClient(bot, capabilities=TEXT_ONLY)
    client.send("hi")

    assert client.send("1").text == "Tell me its number: /track 4711"


def test_anything_else_gets_a_hint(client: BotClient) -> None:
    assert client.send("What is the weather?").text == "Try /track 4711"
