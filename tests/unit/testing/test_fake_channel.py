"""Messages survive the way through JSON."""

from __future__ import annotations

import json

import pytest

from cometbot import Button, Card, Carousel, Choice, Choices, Custom, Field, Form, Location, Media, Message, Text
from cometbot.messages import ClientCall
from cometbot.testing.fake_channel import decode, encode

MESSAGES = [
    Text("hello", metadata={"a": [1, {"b": None}]}, tags=("x",)),
    Media("https://example.com/a.png", caption="A"),
    Card("T", "t", "https://example.com/a.png", [Button("Buy", "buy", "1"), Button("See", url="https://example.com")]),
    Carousel([Card("A"), Card("B", buttons=[Button("Go")])]),
    Choices("Which?", ["A", Choice("B", "b")], "pick"),
    Location(1.5, -2.5, "here", "there"),
    Form("F", [Field("name", optional=True), Field("size", kind="select", options=["S"])], "sent"),
    Custom("poll", {"question": "Tea?", "options": ["yes", "no"]}, "Tea?"),
    ClientCall("show_map", {"place": "Rome", "zoom": [1, 2]}, "m1.0.0"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    back = decode(json.loads(json.dumps(encode(message))))

    assert type(back) is type(message)
    assert back.to_text() == message.to_text()
    assert back.offers() == message.offers()


def test_metadata_comes_back_as_it_was() -> None:
    assert decode(json.loads(json.dumps(encode(Text("a", metadata={"n": 1, "o": {"p": "q"}}))))).metadata == {
        "n": 1,
        "o": {"p": "q"},
    }


def test_an_object_that_is_no_message_stays_one() -> None:
    assert decode({"@": "Nothing", "a": 1}) == {"@": "Nothing", "a": 1}
