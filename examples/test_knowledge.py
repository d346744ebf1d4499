"""What is found, and that anything else can do the finding."""

from __future__ import annotations

import pytest

from cometbot.testing import BotClient
from examples.knowledge import bot, make_bot


@pytest.mark.parametrize("channel", ["fake", "simplex", "cometchat"])
def test_the_article_that_fits_best_answers(channel: str) -> None:
    with BotClient(bot, channel=channel) as client:  # type: ignore[arg-type]
        assert client.send("Where can I park my car?").text.startswith("*Parking*")
        assert "9 to 17" in client.send("/ask when are you open").text


def test_where_nothing_fits_it_says_so() -> None:
    assert "I found nothing" in BotClient(bot).send("Quantum?").text


def test_in_groups_it_answers_when_it_is_asked() -> None:
    group = BotClient(bot).in_group("visitors")

    assert not group.send("I lost my ticket")
    assert group.send("I lost my ticket", mention=True).text.startswith("*Lost tickets*")


def test_any_function_can_answer() -> None:
    client = BotClient(make_bot(str.upper))

    assert client.send("hello").text == "HELLO"
    assert client.send("/topics").text.splitlines()[0] == "Opening hours"
