"""What the echo says back."""

from __future__ import annotations

import pytest

from cometbot import Media
from cometbot.testing import BotClient
from examples.echo import bot


@pytest.fixture
def client() -> BotClient:
    return BotClient(bot)


def test_a_text_comes_back(client: BotClient) -> None:
    assert client.send("Is there anybody?").text == "Is there anybody?"


def test_a_picture_comes_back_as_a_picture(client: BotClient) -> None:
    [reply] = client.send_image("https://files.example.com/cat.png")

    assert isinstance(reply.message, Media)
    assert reply.message.url == "https://files.example.com/cat.png"


def test_it_does_the_same_on_cometchat() -> None:
    assert BotClient(bot, channel="cometchat").send("Hello").text == "Hello"


def test_on_simplex_a_file_has_no_address_and_is_named() -> None:
    with BotClient(bot, channel="simplex") as client:
        assert client.send_image(b"\x89PNG", name="cat.png").text == "cat.png"
