"""What the model is asked, and how its answer is said."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from cometbot.testing import TEXT_ONLY, BotClient
from examples.language_model import bot, make_bot


class Model:
    """Answers ``one two``, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[dict[str, Any]]] = []

    def __call__(self, conversation: list[dict[str, Any]]) -> Iterable[str]:
        self.asked.append(conversation)
        return iter(["one ", "two"])


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def client(model: Model) -> BotClient:
    return BotClient(make_bot(model), channel="cometchat")


def test_the_answer_is_one_message_that_grows(client: BotClient) -> None:
    [reply] = client.send("Count!")

    assert reply.text == "one two"
    assert reply.versions[0] == "one "


def test_the_answer_is_said_whole_where_messages_cannot_be_edited(model: Model) -> None:
    client = BotClient(make_bot(model), capabilities=TEXT_ONLY)

    assert client.send("Count!").texts == ["one two"]


def test_the_model_gets_what_was_said_before(client: BotClient, model: Model) -> None:
    client.send("Count!")
    client.send("Again!")

    assert model.asked[-1] == [
        {"role": "user", "content": "Count!"},
        {"role": "assistant", "content": "one two"},
        {"role": "user", "content": "Again!"},
    ]


def test_what_was_forgotten_is_not_told(client: BotClient, model: Model) -> None:
    client.send("Count!")
    client.advance(1)
    client.send("/forget")
    client.advance(1)
    client.send("Again!")

    assert {"role": "user", "content": "Count!"} not in model.asked[-1]


def test_without_a_model_it_repeats_what_was_said() -> None:
    assert BotClient(bot).send("good morning").text.strip() == "You said: good morning"
