"""A shop's view that speaks to a customer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cometbot.testing import BotClient
from examples import shop as example


@pytest.fixture
def maria() -> Iterator[BotClient]:
    yield BotClient(example.bot, user="maria")
    example.orders[4711].is_shipped = False


def test_a_shipped_order_is_told_to_its_customer(maria: BotClient) -> None:
    assert example.shop.test_client().post("/orders/4711/shipped").status_code == 200

    assert "Order 4711" in maria.said().text
    assert maria.press("Where is it?").text == "It is on its way."


def test_an_order_that_does_not_exist_is_told_to_nobody(maria: BotClient) -> None:
    assert example.shop.test_client().post("/orders/1/shipped").status_code == 404
    assert not maria.said()


def test_a_customer_asks_before_it_is_shipped(maria: BotClient) -> None:
    assert maria.send("/track 4711").text == "It is being packed."


def test_somebody_elses_order_is_not_told(maria: BotClient) -> None:
    assert maria.send("/track 4711", user="eve").text == "You have no order 4711."
