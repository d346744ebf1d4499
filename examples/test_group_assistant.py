"""What the assistant says in groups, and where it keeps silent."""

from __future__ import annotations

import pytest

from cometbot.testing import BotClient
from examples.group_assistant import bot


@pytest.fixture
def client() -> BotClient:
    return BotClient(bot, user="maria", group="ops")


def test_it_keeps_silent_where_it_is_not_mentioned(client: BotClient) -> None:
    assert not client.send("Who is on call?")


def test_it_remembers_who_is_on_call(client: BotClient) -> None:
    client.send("I am on call", mention=True)

    assert client.send("who is on call?", user="ben", mention=True).text == "<@uid:maria> is on call."


def test_each_group_has_its_own(client: BotClient) -> None:
    client.send("I am on call", mention=True)

    assert "Nobody" in client.send("who is on call?", group="sales", mention=True).text


def test_anything_else_gets_a_hint(client: BotClient) -> None:
    assert client.send("good morning", mention=True).text == "Maria, ask me who is on call."
