"""A customer, two agents and the bot between them, on SimpleX."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cometbot.models import User
from cometbot.testing import BotClient
from cometbot.testing.fakes.simplex import SimplexFake
from cometbot.testing.simplex.people import Person
from examples import business_support


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[BotClient]:
    """An agent, connected with the bot."""
    with BotClient(business_support.bot, channel="simplex", user=User("ann", "Ann")) as client:
        monkeypatch.setattr(business_support, "AGENTS", (client.send("/whoami").text,))
        yield client


@pytest.fixture
def fake(client: BotClient) -> SimplexFake:
    assert isinstance(client.fake, SimplexFake)
    return client.fake


def come(client: BotClient, fake: SimplexFake) -> Person:
    dave = fake.cli.business("dave")
    client.advance(0)
    return dave


def say(client: BotClient, fake: SimplexFake, chat: str, name: str, text: str) -> None:
    fake.cli.do("say", chat=chat, name=name, text=text)
    client.advance(0)


def test_a_new_customer_is_greeted_and_the_agents_are_invited(client: BotClient, fake: SimplexFake) -> None:
    dave = come(client, fake)

    assert dave.texts() == ["Hello! What can we do for you?"]
    assert f"/_add {dave.chat} {business_support.AGENTS[0]} member" in fake.cli.commands


def test_a_customer_is_told_once_that_somebody_answers(client: BotClient, fake: SimplexFake) -> None:
    dave = come(client, fake)
    say(client, fake, dave.chat, "dave", "My bike is broken")
    say(client, fake, dave.chat, "dave", "The chain")

    assert dave.texts()[1:] == ["Thank you. The next free agent answers here."]


def test_an_agent_takes_the_customer_and_the_bot_is_silent_until_it_is_solved(
    client: BotClient, fake: SimplexFake
) -> None:
    dave = come(client, fake)
    for name, text in (("Ann", "/take"), ("Ann", "Hi Dave"), ("dave", "Hi"), ("Ann", "/close"), ("dave", "It is back")):
        say(client, fake, dave.chat, name, text)

    assert dave.texts()[1:] == [
        "Ann takes care of you now.",
        "This is solved. If something comes up, just write again.",
        "Thank you. The next free agent answers here.",
    ]


def test_a_customer_is_no_agent(client: BotClient, fake: SimplexFake) -> None:
    dave = come(client, fake)
    say(client, fake, dave.chat, "dave", "/take")
    say(client, fake, dave.chat, "dave", "/close")

    assert dave.texts()[1:] == ["Only agents can do that.", "Only agents can do that."]
