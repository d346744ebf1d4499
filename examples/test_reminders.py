"""When people are reminded, and of what."""

from __future__ import annotations

import pytest

from cometbot.testing import BotClient
from examples.reminders import bot

TUESDAY_EVENING = 1_700_000_000.0
"""2023-11-14 22:13:20 UTC."""


@pytest.fixture
def maria() -> BotClient:
    return BotClient(bot, now=TUESDAY_EVENING)


def test_reminder_comes_once_in_its_conversation(maria: BotClient) -> None:
    assert maria.send("/remind 20 tea").text == "I remind you at 22:33 UTC."
    maria.as_user("tom").send("/remind 30 a call")
    assert maria.advance("19m").text == ""
    assert maria.advance("1m").text == "Time for tea!"
    assert maria.advance("1d").text == ""
    assert maria.as_user("tom").said().texts[-1] == "Time for a call!"


def test_daily_reminder_comes_each_morning(maria: BotClient) -> None:
    assert maria.send("/daily vitamins").text == "Each morning, from Wednesday on."
    maria.send("/daily vitamins")
    assert maria.advance("9h").texts == ["Good morning. Time for vitamins!"]
    assert maria.send("/reminders").text == "Thursday 07:00: vitamins"
    maria.restart()
    assert maria.advance("2d").texts == ["Good morning. Time for vitamins!"] * 2


def test_all_is_forgotten_at_once(maria: BotClient) -> None:
    maria.send("/remind 20 tea")
    maria.send("/daily vitamins")
    assert maria.send("/reminders").text == "Tuesday 22:33: Time for tea!\nWednesday 07:00: vitamins"
    maria.send("/forget")
    assert maria.send("/reminders").text == "Nothing."
    assert maria.advance("3d").text == ""


@pytest.mark.parametrize("minutes", ["0", "-5", "600000"])
def test_impossible_time_is_explained(maria: BotClient, minutes: str) -> None:
    assert maria.send(f"/remind {minutes} tea").text == "Minutes are a number from 1 to 525600."
