"""A word of feedback on its way to the readers, and an answer on its way back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cometbot.testing import BotClient
from examples.feedback import make_bot


@pytest.fixture(params=["fake", "cometchat", "simplex"])
def maria(request: pytest.FixtureRequest) -> Iterator[BotClient]:
    """Maria, where Rita reads."""
    is_simplex = request.param == "simplex"  # which gives numbers: the first contact gets 4
    with BotClient(make_bot(["4" if is_simplex else "rita"]), user="rita", channel=request.param) as client:
        client.send("/whoami")
        yield client.as_user("maria")


def test_feedback_reaches_the_readers_and_is_thanked_for_once(maria: BotClient) -> None:
    assert maria.send("Too loud").text == "Thank you! We read it."
    assert not maria.send("Really")
    assert "Maria writes:\nToo loud" in maria.as_user("rita").said().text


def test_an_answer_goes_back(maria: BotClient) -> None:
    maria.send("Too loud")
    uid = maria.double.uid(maria.user)

    assert maria.as_user("rita").send(f"/answer {uid} We turn it down").text == "Sent."
    assert maria.said()[-1].text == "We turn it down"


def test_only_readers_answer(maria: BotClient) -> None:
    assert maria.send("/answer 4 hello").text == "Only readers can answer."


def test_a_reader_is_told_how_to_answer(maria: BotClient) -> None:
    assert "/answer NUMBER" in maria.as_user("rita").send("hello").text


def test_a_file_is_asked_for_in_words(maria: BotClient) -> None:
    assert "in words" in maria.send_file(b"%PDF", name="loud.pdf").text
