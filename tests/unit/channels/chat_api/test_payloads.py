"""Our messages as payloads of the Chat API, and its payloads as our messages and events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.channels.chat_api import payloads, schemas
from cometbot.errors import MessageError
from cometbot.messages import (
    Button,
    Card,
    Carousel,
    Choice,
    Choices,
    Custom,
    Field,
    Form,
    Location,
    Media,
    Message,
    Text,
)

BASE = "https://e.example"
CARD = {"type": "card", "title": "Mug", "actions": []}
TABLE: list[tuple[Message, dict[str, Any]]] = [
    (Text("hi **you**"), {"type": "text", "text": "hi **you**"}),
    (Media(f"{BASE}/i.png"), {"type": "image", "imageUrl": f"{BASE}/i.png"}),
    (Media(f"{BASE}/a.mp3"), {"type": "audio", "audioUrl": f"{BASE}/a.mp3"}),
    (Media(f"{BASE}/v", "video"), {"type": "video", "videoUrl": f"{BASE}/v"}),
    (Media(f"{BASE}/f", mime_type="image/png"), {"type": "image", "imageUrl": f"{BASE}/f"}),
    (Media(f"{BASE}/f.pdf", name="Invoice"), {"type": "file", "fileUrl": f"{BASE}/f.pdf", "title": "Invoice"}),
    (
        Media(f"{BASE}/i.png", caption="look"),
        {
            "type": "bloc",
            "items": [{"type": "image", "imageUrl": f"{BASE}/i.png"}, {"type": "text", "text": "look"}],
        },
    ),
    (
        Location(45.5, -73.6, "Shop", "1 Main St"),
        {"type": "location", "latitude": 45.5, "longitude": -73.6, "title": "Shop", "address": "1 Main St"},
    ),
    (Location(1, 2), {"type": "location", "latitude": 1, "longitude": 2}),
    (
        Card("Mug", "9 EUR", f"{BASE}/m.png", [Button("Buy", "buy", "mug"), Button("See", url=BASE), Button("More")]),
        {
            "type": "card",
            "title": "Mug",
            "subtitle": "9 EUR",
            "imageUrl": f"{BASE}/m.png",
            "actions": [
                {"action": "postback", "label": "Buy", "value": "mug"},
                {"action": "url", "label": "See", "value": BASE},
                {"action": "postback", "label": "More", "value": "More"},
            ],
        },
    ),
    (Card(text="only a text"), {"type": "card", "title": "only a text", "actions": []}),
    (
        Card(image=f"{BASE}/m.png", buttons=[Button("Buy")]),
        {
            "type": "card",
            "title": "Buy",
            "imageUrl": f"{BASE}/m.png",
            "actions": [{"action": "postback", "label": "Buy", "value": "Buy"}],
        },
    ),
    (
        Card(image=f"{BASE}/m.png"),
        {"type": "card", "title": "m.png", "imageUrl": f"{BASE}/m.png", "actions": []},
    ),
    (Carousel([Card("Mug")]), {"type": "carousel", "items": [CARD]}),
    (
        Choices("Size?", [Choice("Small", "s"), "L"]),
        {
            "type": "choice",
            "text": "Size?",
            "options": [{"label": "Small", "value": "s"}, {"label": "L", "value": "L"}],
        },
    ),
    (Custom("markdown", {"markdown": "**x**"}), {"type": "markdown", "markdown": "**x**"}),
    (Custom("bloc", {"items": []}), {"type": "bloc", "items": []}),
    (Custom("poll", {"a": 1}, "A poll"), {"type": "text", "text": "A poll"}),
]


@pytest.mark.parametrize(("message", "payload"), TABLE, ids=range(len(TABLE)))
def test_each_message_becomes_its_payload_which_is_a_valid_one(message: Message, payload: dict[str, Any]) -> None:
    assert payloads.to_payloads(message) == [payload]
    assert schemas.PAYLOADS[payload["type"]].validate(payload) == {}


def test_many_choices_are_a_list_that_opens() -> None:
    [payload] = payloads.to_payloads(Choices("Country?", [f"Land {number}" for number in range(11)]))
    assert (payload["type"], len(payload["options"])) == ("dropdown", 11)


def test_a_form_is_a_text() -> None:
    form = Form("Sign up", [Field("name")], "signed")
    assert payloads.to_payloads(form) == [{"type": "text", "text": form.to_text()}]


def test_a_long_text_becomes_several() -> None:
    text = " ".join(f"word{number}" for number in range(5000))
    parts = payloads.to_payloads(Text(text))
    assert len(parts) == 3
    assert " ".join(part["text"] for part in parts) == text
    assert max(len(part["text"].encode()) for part in parts) <= payloads.TEXT_LIMIT


def test_a_long_caption_stays_with_its_file() -> None:
    [payload] = payloads.to_payloads(Media(f"{BASE}/i.png", caption="word " * 5000))
    assert [item["type"] for item in payload["items"]] == ["image", "text", "text"]


@pytest.mark.parametrize("message", [Custom("card", {"title": "x"}), Custom("text", {"text": ""}), Custom("image", {})])
def test_a_custom_payload_that_lacks_something_is_no_message(message: Custom) -> None:
    with pytest.raises(MessageError, match=f"invalid Custom of the type {message.type}"):
        payloads.to_payloads(message)


BACK: list[tuple[dict[str, Any], list[Message]]] = [
    ({"type": "text", "text": "hi"}, [Text("hi")]),
    ({"type": "text", "text": " "}, []),
    ({"type": "markdown", "markdown": "**hi**"}, [Text("**hi**")]),
    ({"type": "image", "imageUrl": f"{BASE}/i"}, [Media(f"{BASE}/i", "image")]),
    ({"type": "file", "fileUrl": f"{BASE}/f", "title": "F"}, [Media(f"{BASE}/f", "file", "F")]),
    ({"type": "location", "latitude": 1, "longitude": 2, "title": "T"}, [Location(1.0, 2.0, "T")]),
    (
        {
            "type": "card",
            "title": "Mug",
            "subtitle": "9",
            "actions": [
                {"action": "say", "label": "More", "value": "tell"},
                {"action": "url", "label": "See", "value": BASE},
            ],
        },
        [Card("Mug", "9", buttons=[Button("More", value="tell"), Button("See", url=BASE)])],
    ),
    ({"type": "carousel", "items": [CARD]}, [Carousel([Card("Mug")])]),
    ({"type": "carousel", "items": []}, []),
    (
        {"type": "dropdown", "text": "Which?", "options": [{"label": "A", "value": "a"}]},
        [Choices("Which?", [Choice("A", "a")])],
    ),
    ({"type": "choice", "text": "Which?", "options": []}, [Text("Which?")]),
    (
        {"type": "bloc", "items": [{"type": "text", "text": "Look:"}, {"type": "image", "imageUrl": f"{BASE}/i"}]},
        [Text("Look:"), Media(f"{BASE}/i", "image")],
    ),
    ({"type": "bloc", "items": []}, []),
]


@pytest.mark.parametrize(("payload", "messages"), BACK, ids=range(len(BACK)))
def test_each_payload_becomes_our_message(payload: dict[str, Any], messages: list[Message]) -> None:
    assert payloads.to_messages(payload) == messages


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "image", "imageUrl": "no url"},
        {"type": "location", "latitude": 1000, "longitude": 2},
        {"type": "location", "latitude": "x"},
        {"type": "card", "title": "x"},
        {"type": "choice", "text": " ", "options": [{"label": " ", "value": "x"}]},
        {"type": "text"},
        {"type": "news", "x": 1},
        {},
    ],
)
def test_a_payload_that_no_message_can_be_made_of_comes_as_it_is(payload: dict[str, Any]) -> None:
    [message] = payloads.to_messages(payload)
    assert isinstance(message, Custom)
    assert message.data == payload


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
names = ["text", "markdown", "imageUrl", "fileUrl", "title", "latitude", "longitude", "actions", "items", "options"]


@given(st.sampled_from([*schemas.PAYLOADS, "other"]), st.dictionaries(st.sampled_from(names), json_values, max_size=5))
def test_nothing_that_another_server_says_breaks_the_reading(kind: str, fields: dict[str, Any]) -> None:
    for message in payloads.to_messages({**fields, "type": kind}):
        assert message.to_text()


@pytest.mark.parametrize(
    ("payload", "kind", "text", "files"),
    [
        ({"type": "text", "text": "hi"}, "text", "hi", []),
        ({"type": "markdown", "markdown": "hi"}, "text", "hi", []),
        ({"type": "image", "imageUrl": f"{BASE}/a%20b.png"}, "image", "", [("a b.png", "image/png", "png")]),
        ({"type": "file", "fileUrl": f"{BASE}/x", "title": "F.pdf"}, "file", "", [("F.pdf", "", "pdf")]),
        ({"type": "audio", "audioUrl": "http://[broken"}, "audio", "", [("", "", "")]),
        ({"type": "location", "latitude": 1, "longitude": 2, "title": "Shop"}, "location", "Shop", []),
        (CARD, "card", "Mug", []),
        ({"type": "choice", "text": "Which?", "options": []}, "choice", "Which?", []),
        (
            {
                "type": "bloc",
                "items": [
                    {"type": "text", "text": "one"},
                    {"type": "video", "videoUrl": f"{BASE}/v.mp4"},
                    {"type": "markdown", "markdown": "two"},
                ],
            },
            "video",
            "one\ntwo",
            [("v.mp4", "video/mp4", "mp4")],
        ),
        ({"type": "bloc", "items": []}, "text", "", []),
    ],
)
def test_what_a_user_wrote_is_read_from_its_payload(
    payload: dict[str, Any], kind: str, text: str, files: list[tuple[str, str, str]]
) -> None:
    assert payloads.kind_of(payload) == kind
    assert payloads.text_of(payload) == text
    found = payloads.attachments_of(payload)
    assert [(file.name, file.mime_type, file.extension) for file in found] == files


@pytest.mark.parametrize("items", [5, "text", None, {}, [1, None, "x"], [{"type": "bloc", "items": []}]])
def test_a_bloc_of_something_odd_breaks_nothing(items: object) -> None:
    assert isinstance(payloads.to_messages({"type": "bloc", "items": items}), list)


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": object()}, {"a": float("inf")}])
def test_what_is_no_json_is_no_message(value: object) -> None:
    with pytest.raises(MessageError, match="metadata must be JSON"):
        payloads.to_json_value(value, "metadata")


def test_halves_of_characters_are_replaced_and_whole_ones_stay() -> None:
    assert payloads.to_json_value({"a": ["\ud83d", "😀", "x\udc00y"]}, "it") == {"a": ["\ufffd", "😀", "x\ufffdy"]}
