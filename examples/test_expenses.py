"""An expense is filled in, approved in another group, and paid once."""

from __future__ import annotations

import pytest

from cometbot.testing import TEXT_ONLY, BotClient
from examples.expenses import bot

RECEIPT = "30 € for Taxi: receipt maria-30-expenses-m1.0-2. Approved by Tom."


@pytest.fixture
def maria() -> BotClient:
    return BotClient(bot)


@pytest.mark.parametrize("channel", ["fake", "cometchat"])
def test_an_expense_is_approved_in_another_group(channel: str) -> None:
    maria = BotClient(bot, channel=channel)  # type: ignore[arg-type]
    tom = maria.as_user("tom", group="managers")
    tom.send("hello")
    maria.send("/expense")
    maria.fill(what="Taxi", euros="30")
    assert "Pay 30 € to Maria?" in tom.said()[-1].text
    tom.press("Approve")

    assert maria.said()[-1].text.startswith("30 € for Taxi: receipt maria-30-")
    assert maria.said()[-1].text.endswith("Approved by Tom.")
    assert tom.said()[-1].text.endswith("Approved by Tom.")


def test_a_restart_between_card_and_press_pays_once(maria: BotClient) -> None:
    tom = maria.as_user("tom", group="managers")
    maria.send("/expense")
    maria.fill(what="Taxi", euros="30")
    maria.restart()
    tom.press("Approve")

    assert maria.said()[-1].text == RECEIPT


def test_nothing_is_paid_without_approval(maria: BotClient) -> None:
    tom = maria.as_user("tom", group="managers")
    maria.send("/expense")
    maria.fill(what="Taxi", euros="30")
    assert maria.as_user("maria", group="managers").press("Approve").text.endswith("somebody else decides.")
    tom.press("Decline")
    assert maria.said()[-1].text == "Your expense was declined."

    maria.send("/expense")
    maria.fill(what="Lunch", euros="12")
    assert maria.advance("3d").text == "Your expense was expired."


def test_it_works_where_everything_is_text() -> None:
    maria = BotClient(bot, capabilities=TEXT_ONLY)
    maria.send("/expense")
    maria.send("Taxi")
    maria.send("30")
    maria.as_user("tom", group="managers").send("approve 3")

    assert maria.said()[-1].text == RECEIPT
