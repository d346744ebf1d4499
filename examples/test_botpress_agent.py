"""A CometChat bot in front of an agent, which here is another bot of ours behind its Chat API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cometbot import Bot, Card, Choices, ConfigurationError, Context
from cometbot.channels.chat_api import listener
from cometbot.settings import Secret, Settings
from cometbot.simulator.server import HOST, LoopbackServer
from cometbot.testing import BotClient
from cometbot.web import create_app
from examples import botpress_agent
from examples.botpress_agent import bot


def make_agent() -> Bot:
    agent = Bot("brain")

    @agent.message("menu")
    def menu(ctx: Context) -> list[object]:
        return [Card("Tea", "Green"), Choices("More?", ["Yes", "No"])]

    @agent.fallback
    def answer(ctx: Context) -> str:
        kinds = ", ".join(file.name for file in ctx.attachments)
        return f"{ctx.sender.uid} said: {ctx.text or kinds}"

    return agent


@pytest.fixture(params=["", "a-key"], ids=["automatic", "manual"])
def client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BotClient]:
    settings = Settings(
        channels=("chat_api",),
        database_url=f"sqlite:///{tmp_path}/agent.db",
        chat_api_encryption_key=Secret(request.param),
    )
    app = create_app(make_agent(), settings)
    server = LoopbackServer(app, 0)
    monkeypatch.setenv("AGENT_URL", f"http://{HOST}:{server.port}/chat/brain")
    monkeypatch.setenv("AGENT_ENCRYPTION_KEY", request.param)
    soon = listener.Listener.answers
    monkeypatch.setattr(listener.Listener, "answers", lambda self, timeout, quiet: soon(self, timeout, 0.3))
    yield BotClient(bot, channel="cometchat")
    server.stop()
    server.server_close()
    app.extensions["cometbot"].stop()


def test_what_is_said_goes_to_the_agent_and_its_answer_comes_back(client: BotClient) -> None:
    assert client.send("hi").text.endswith(" said: hi")
    assert client.send("again").text.endswith(" said: again")


def test_cards_and_choices_come_back_as_such(client: BotClient) -> None:
    replies = client.send("menu")
    assert "Tea" in replies[0].text
    assert "More?" in replies[1].text
    assert "1. Yes" in replies[1].text


def test_a_picture_goes_to_the_agent(client: BotClient) -> None:
    assert client.send_image(b"\x89PNG", name="photo.png").text.endswith("photo.png")


def test_without_the_agents_url_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENT_URL", raising=False)
    with pytest.raises(ConfigurationError, match="set it to the agent's URL"):
        BotClient(bot, channel="cometchat").send("hi")


def test_an_agent_that_is_away_is_apologised_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_URL", "http://127.0.0.1:9/x")
    client = BotClient(botpress_agent.bot, channel="cometchat", raise_errors=False)
    assert "cannot be reached" in client.send("hi").text
