"""The assistant on every channel: what its model is asked, who approves, and that a refund is made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cometbot import Group, ToolCall, User
from cometbot.testing import BotClient, FakeModel
from examples.assistant import bot, make_bot

REFUND = ToolCall("refund", {"number": 17, "euros": 12.5})


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(
        "Hello Tom.",
        ToolCall("find_order", {"number": 17}),
        "It was sent on Monday.",
        ["I am asking a manager. ", REFUND],
        "You get 12.50 € back.",
    )


@pytest.fixture(params=["fake", "cometchat", "chat_api", "platform", "simplex", "agui"])
def tom(request: pytest.FixtureRequest, model: FakeModel) -> Iterator[BotClient]:
    """The manager, who has written to the bot before. SimpleX gives the first contact the id 4."""
    approver = User("4" if request.param == "simplex" else "tom")
    with BotClient(make_bot(model, approver), channel=request.param, user="tom") as client:
        client.send("Hello")
        yield client


def test_an_order_is_looked_up_and_refunded_when_a_manager_approves(tom: BotClient, model: FakeModel) -> None:
    maria = tom.as_user("maria")
    assert maria.send("Where is order 17?").text == "It was sent on Monday."
    assert model.requests[2].text == "Earl Grey, 12.50 €, sent on Monday"

    assert maria.send("It is broken.").text.strip() == "I am asking a manager."
    assert "Run refund?" in tom.said()[-1].text
    maria.restart()
    tom.press("Approve")
    assert maria.said()[-1].text == "You get 12.50 € back."
    assert model.requests[-1].text.startswith("Refunded 12.50 € for order 17, receipt ")


def test_a_declined_refund_is_told_to_the_model() -> None:
    model = FakeModel(REFUND, "The manager has declined.")
    maria = BotClient(make_bot(model, Group("managers")))
    maria.send("It is broken.")
    maria.as_user("tom", group="managers").press("Decline")

    assert maria.said().texts == ["The manager has declined."]
    assert "declined" in model.requests[-1].text


def test_without_a_model_it_repeats_what_was_said() -> None:
    assert BotClient(bot).send("good morning").text == "You said: good morning"
