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
    assert "Somebody will answer" in maria.send("My parcel is wet").text

    assert "Maria: My parcel is wet" in ben.said().text


def test_what_follows_is_in_the_thread(maria: BotClient, ben: BotClient) -> None:
    maria.send("My parcel is wet")
    assert not maria.send("Very wet")
    maria.send_image("https://files.example.com/parcel.png")

    first, text, picture = ben.said()
    assert text.text == "Maria: Very wet"
    assert "https://files.example.com/parcel.png" in picture.text
    assert text.thread_id == picture.thread_id == first.id


def test_an_answer_reaches_the_user(maria: BotClient, ben: BotClient) -> None:
    maria.send("My parcel is wet")
    ben.send("We send a new one,\ntoday.", thread=ben.said()[0].id)

    assert maria.said()[-1].text == "Ben: We send a new one,\ntoday."


def test_the_team_hands_back(maria: BotClient, ben: BotClient) -> None:
    maria.send("My parcel is wet")
    ben.send("/done", thread=ben.said()[0].id)

    assert maria.said()[-1].text == "Glad to help. Write again at any time."
    assert "Somebody will answer" in maria.send("One more thing").text


def test_nobody_answers_in_time(maria: BotClient) -> None:
    maria.send("My parcel is wet")

    assert maria.advance("3d").text == "Write again to ask anew."


def test_what_the_team_says_among_themselves_stays_there(maria: BotClient, ben: BotClient) -> None:
    maria.send("My parcel is wet")
    assert not ben.send("Who takes this one?")

    assert [said.text for said in maria.said()] == ["Thank you. Somebody will answer you here."]


def test_another_group_cannot_answer(maria: BotClient, ben: BotClient) -> None:
    maria.send("My parcel is wet")
    maria.as_user("eve", group="others").send("Pay twice, please.", thread=ben.said()[0].id)

    assert len(maria.said()) == 1
