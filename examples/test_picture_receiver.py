"""What becomes of pictures, through CometChat's payloads and a simulated CometChat that serves the files."""

from __future__ import annotations

import struct

import pytest

from cometbot import Rejected
from cometbot.testing import BotClient
from examples.picture_receiver import bot

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 640, 480) + bytes(9)


@pytest.fixture
def client() -> BotClient:
    return BotClient(bot, channel="cometchat")


def test_a_picture_is_measured(client: BotClient) -> None:
    assert client.send_image(PNG, name="dog.png").text == f"dog.png: 640 x 480 pixels, {len(PNG)} bytes."


def test_another_kind_of_picture_is_weighed(client: BotClient) -> None:
    assert client.send_image(b"GIF89a", name="cat.gif").text == "cat.gif: 6 bytes, and no PNG."


def test_a_picture_that_is_too_large_is_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.picture_receiver.LIMIT", 10)
    client = BotClient(bot, channel="cometchat", raise_errors=False)

    assert "could not load" in client.send_image(PNG).text
    assert Rejected.__name__ in client.dead_letters[0].error


def test_a_text_is_answered_with_a_request(client: BotClient) -> None:
    assert client.send("Hello").text == "Send me a picture."
