"""What a client of AG-UI gets when its user decides about an approval in the thread of the handler that asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cometbot import Bot, Context
from cometbot.store.approvals import Approvals
from cometbot.testing import BotClient

bot = Bot("shop")


@bot.command
def pay(ctx: Context) -> str:
    return "Paid." if ctx.approve("Pay 30 euros?", own=True) else "Not paid."


@pytest.fixture
def client() -> Iterator[BotClient]:
    with BotClient(bot, channel="agui") as client:
        yield client


def find_kinds(client: BotClient) -> list[str]:
    return [event["type"] for event in client.fake.read_answer()]


@pytest.mark.parametrize(("word", "text"), [("approve", "Paid."), ("decline", "Not paid.")])
def test_answer_to_a_decision_ends_with_what_comes_of_it(client: BotClient, word: str, text: str) -> None:
    number = client.send("/pay").text.partition("approve ")[2].partition("”")[0]
    assert client.send(f"{word} {number}").texts[-1] == text
    kinds = find_kinds(client)
    assert kinds[0] == "RUN_STARTED"
    assert kinds[-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert client.send(f"{word} {number}").texts != []
    assert find_kinds(client)[-1] == "RUN_FINISHED"


def test_decision_that_comes_too_late_ends_its_answer(client: BotClient, monkeypatch: pytest.MonkeyPatch) -> None:
    number = client.send("/pay").text.partition("approve ")[2].partition("”")[0]

    def decided(*arguments: Any) -> None:
        """Find nothing, as if its time had come in the meantime."""

    monkeypatch.setattr(Approvals, "decided", decided)
    client.send(f"approve {number}")
    assert find_kinds(client) == ["RUN_STARTED", "RUN_FINISHED"]
