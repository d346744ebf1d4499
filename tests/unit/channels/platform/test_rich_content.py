"""What is kept of a message beside its text, and what the page gets of it."""

from __future__ import annotations

import json

import pytest

from cometbot import Button, Card, Carousel, Choice, Choices, Custom, Field, Form, Location, Media, Message, Text
from cometbot.channels.platform.rich_content import to_content, with_html

CARD = Card("Tea", "**Fresh**", "https://example.com/t.png", [Button("Order", "buy", "tea"), Button("Only a label")])


def test_a_card_keeps_what_its_buttons_stand_for() -> None:
    assert to_content(CARD) == {
        "kind": "card",
        "title": "Tea",
        "text": "**Fresh**",
        "image": "https://example.com/t.png",
        "buttons": [
            {"label": "Order", "action": "buy", "value": "tea"},
            {"label": "Only a label", "action": "Only a label", "value": "Only a label"},
        ],
    }


@pytest.mark.parametrize(
    "message",
    [
        CARD,
        Card(text="?", buttons=[Button("Yes", value="y"), Button("No", "refuse")]),
        Choices("Which?", ["Green", Choice("Black", "b")]),
        Choices("Which?", ["Green", Choice("Black", "b")], action="tea"),
    ],
)
def test_press_equals_writing_the_label(message: Message) -> None:
    content = to_content(message)
    assert content is not None
    shown = content.get("buttons") or content.get("options")
    assert [(one["label"], one["action"], one["value"]) for one in shown] == [
        (offer.label, offer.name, offer.value) for offer in message.offers()
    ]


def test_url_button_has_a_url_and_no_action() -> None:
    content = to_content(Card(text="Read", buttons=[Button("More", url="https://example.com")]))
    assert content is not None
    assert content["buttons"] == [{"label": "More", "url": "https://example.com"}]


def test_a_form_keeps_its_fields_with_names_and_options() -> None:
    form = Form("Order", [Field("size", "Size", "select", ["S", Choice("Large", "l")]), Field("name")], "order", "Buy")
    content = to_content(form)
    assert content is not None
    assert (content["action"], content["submit"]) == ("order", "Buy")
    size, name = content["fields"]
    assert size["options"] == [{"label": "S", "value": "S"}, {"label": "Large", "value": "l"}]
    assert (name["label"], name["kind"], name["options"]) == ("name", "text", [])


@pytest.mark.parametrize(
    ("media", "kind", "name", "mime_type"),
    [
        (Media("https://example.com/a%20cat.png?size=2"), "image", "a cat.png", "image/png"),
        (Media("https://example.com/x.mp3"), "audio", "x.mp3", "audio/mpeg"),
        (Media("https://example.com/download"), "file", "download", ""),
        (Media("https://example.com/d", "video", "v.mp4", "video/mp4"), "video", "v.mp4", "video/mp4"),
    ],
)
def test_media_kind_falls_back_to_the_url(media: Media, kind: str, name: str, mime_type: str) -> None:
    content = to_content(media)
    assert content is not None
    assert (content["media"], content["name"], content["mimeType"]) == (kind, name, mime_type)


@pytest.mark.parametrize("message", [Text("Hello"), Custom("poll", {"a": 1}, text="A poll")])
def test_what_is_only_text_has_nothing_beside_it(message: Message) -> None:
    assert to_content(message) is None


@pytest.mark.parametrize(
    ("message", "html"),
    [
        (Card("T", "**a** <b>"), "<p><strong>a</strong> &lt;b&gt;</p>"),
        (Choices("*Which?*", ["A"]), "<p><em>Which?</em></p>"),
        (Media("https://example.com/a.png", caption="`c`"), "<p><code>c</code></p>"),
        (Media("https://example.com/a.png"), ""),
    ],
)
def test_the_page_gets_texts_as_safe_html(message: Message, html: str) -> None:
    content = to_content(message)
    assert content is not None
    assert with_html(content) == {**content, "html": html}


def test_every_card_of_a_carousel_gets_its_html() -> None:
    content = to_content(Carousel([Card("A", "*a*"), Card("B", "*b*")]))
    assert content is not None
    assert [card["html"] for card in with_html(content)["cards"]] == ["<p><em>a</em></p>", "<p><em>b</em></p>"]


@pytest.mark.parametrize("message", [Location(52.5, 13.4, "Here"), Form("T", [Field("a")], "x")])
def test_what_has_no_markdown_is_shown_as_it_is(message: Message) -> None:
    content = to_content(message)
    assert content is not None
    assert with_html(content) == content


@pytest.mark.parametrize("message", [CARD, Carousel([CARD]), Choices("?", ["A"]), Location(1, 2), Media("http://x/y")])
def test_what_is_kept_survives_the_database(message: Message) -> None:
    assert json.loads(json.dumps(to_content(message))) == to_content(message)
