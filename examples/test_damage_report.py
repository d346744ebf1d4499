"""Damage that is reported in one message or in many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cometbot.testing import BotClient
from examples import damage_report

DENT, DOOR = b"\x89PNG\r\n\x1a\n dent", b"\x89PNG\r\n\x1a\n door"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(damage_report, "FOLDER", tmp_path / "reports")
    return tmp_path / "reports"


def saved(folder: Path) -> set[bytes]:
    return {file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("channel", ["fake", "cometchat", "chat_api", "platform", "simplex"])
def test_a_report_in_many_messages_is_answered_once(
    bot_client: Callable[..., BotClient], folder: Path, channel: str
) -> None:
    client = bot_client(damage_report.bot, channel=channel)
    assert not client.send("Somebody hit")
    assert not client.send_image(DENT, name="dent.png")
    assert not client.send_image(DOOR, name="door.png", caption="my car.")
    assert client.advance("5s").texts == [
        "Thank you. We have 2 file(s), and “Somebody hit my car.”. You hear from us tomorrow."
    ]
    assert saved(folder) == {DENT, DOOR}


def test_a_picture_is_asked_for(bot_client: Callable[..., BotClient], folder: Path) -> None:
    client = bot_client(damage_report.bot)
    client.send("My door")
    client.send("is broken.")
    assert client.advance("5s").text == "Please send a picture of it, too."
    assert "1 file(s), and “My door is broken.”" in client.send_image(DOOR, name="door.png").text
    assert saved(folder) == {DOOR}


def test_words_are_asked_for(bot_client: Callable[..., BotClient]) -> None:
    client = bot_client(damage_report.bot)
    client.send_image(DENT, name="dent.png")
    client.send_image(DENT, name="dent.png")
    assert client.advance("5s").text == "What has happened?"
    assert "1 file(s), and “A ball.”" in client.send("A ball.").text


def test_a_file_that_is_too_large_is_refused(
    bot_client: Callable[..., BotClient], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage_report, "LIMIT", 10)
    client = bot_client(damage_report.bot, raise_errors=False)
    client.send_image(DENT, name="dent.png", caption="A ball.")
    assert "could not load" in client.advance("5s").text
    assert not folder.exists()
