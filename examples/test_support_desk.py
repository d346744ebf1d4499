"""A question on its way to the team, and the answer on its way back."""

from __future__ import annotations

import pytest

from cometbot.testing import BotClient
from examples.support_desk import TEAM, bot


@pytest.fixture
def maria() -> BotClient:
    return BotClient(bot, user="maria")


@pytest.fixture
def ben(maria: BotClient) -> BotClient:
    return maria.as_user("ben", group=TEAM)


def test_a_question_reaches_the_team(maria: BotClient, ben: BotClient) -> None:
    maria.send("My parcel is wet")

    assert "**Maria** writes:\nMy parcel is wet" in ben.said().text


def test_only_the_first_question_is_acknowledged(maria: BotClient) -> None:
    assert "Somebody will answer" in maria.send("My parcel is wet").text
    assert not maria.send("Very wet")


def test_a_picture_reaches_the_team_as_a_link(maria: BotClient, ben: BotClient) -> None:
    maria.send_image("https://files.example.com/parcel.png")

    assert "https://files.example.com/parcel.png" in ben.said().text


def test_an_answer_reaches_the_user(maria: BotClient, ben: BotClient) -> None:
    maria.send("My parcel is wet")
    ben.send("@maria We send a new one,\ntoday.")

    assert maria.said()[-1].text == "Ben: We send a new one,\ntoday."


def test_a_mention_that_the_app_completed_is_an_answer_too(maria: BotClient, ben: BotClient) -> None:
    ben.send("<@uid:maria> It is on its way.")

    assert maria.said().text == "Ben: It is on its way."


def test_what_the_team_says_among_themselves_stays_there(maria: BotClient, ben: BotClient) -> None:
    assert not ben.send("Who takes this one?")
    assert not maria.said()


def test_another_group_cannot_answer(maria: BotClient) -> None:
    maria.as_user("eve", group="others").send("@maria Pay twice, please.")

    assert not maria.said()
