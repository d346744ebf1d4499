"""Which requests carry out which operation."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometbot.channels.cometchat import request_bodies
from cometbot.channels.cometchat.rendering import RichMode, capabilities, render, split_by_data_limit
from cometbot.errors import MessageError
from cometbot.messages import (
    Button,
    Card,
    Carousel,
    Choices,
    Custom,
    Field,
    Form,
    Location,
    Media,
    Message,
    Operation,
    Text,
)
from cometbot.models import Conversation

DIRECT = Conversation("cometchat", "app", "helpdesk", "helpdesk_user_maria", "maria")
GROUP = Conversation("cometchat", "app", "helpdesk", "group_ops", "ops", is_group=True)
CARD = Card(
    title="Order 88",
    text="Shipped",
    image="https://x/box.png",
    buttons=[Button("Track", action="track", value="88"), Button("Shop", url="https://shop.example")],
)


def send(message: Message, rich: RichMode = "text", **options: Any) -> list[dict[str, Any]]:
    return render(Operation(**{"conversation": DIRECT, "message": message, "reply_to": "712"} | options), rich)


def test_a_text_goes_to_the_sender_one_to_one() -> None:
    assert send(Text("hi", metadata={"n": 1}, tags=("a",))) == [
        {
            "op": "send",
            "after": "712",
            "body": {
                "receiver": "maria",
                "receiverType": "user",
                "category": "message",
                "type": "text",
                "data": {"text": "hi", "metadata": {"n": 1}},
                "tags": ["a"],
            },
        }
    ]


def test_a_text_goes_to_the_group_in_a_group() -> None:
    body = send(Text("hi"), conversation=GROUP)[0]["body"]
    assert (body["receiver"], body["receiverType"]) == ("ops", "group")


def test_a_reply_in_a_thread_goes_into_the_thread() -> None:
    (request,) = send(Text("hi"), thread_id="90480")
    assert (request["op"], request["parent"], request["after"]) == ("thread", "90480", "712")


def test_a_quote_is_named_in_the_body() -> None:
    assert send(Text("hi"), quote_id="712")[0]["body"]["quotedMessageId"] == "712"


@pytest.mark.parametrize("text", ["word " * 5000, "ß" * 20_000, '"\n\x01' * 5000, "👍" * 6000, "x" * 10_000])
@pytest.mark.parametrize("metadata", [{}, {"note": "y" * 3000}])
def test_long_text_is_split_without_loss(text: str, metadata: dict[str, str]) -> None:
    requests = send(Text(text, metadata=metadata))
    datas = [request["body"]["data"] for request in requests]
    assert len(datas) > 1
    assert all(len(orjson.dumps(data)) <= request_bodies.MAX_DATA_BYTES for data in datas)
    whole = "".join(data["text"] for data in datas)
    assert "".join(whole.split()) == "".join(text.split())


def test_a_text_that_just_fits_stays_one_message() -> None:
    room = capabilities("text").text_limit
    assert len(send(Text("x" * room))) == 1
    assert len(send(Text("x" * (room + 1)))) == 2


README = '# Bots\n\nA *framework* for "chat bots".\n\n```python\nbot = Bot("helpdesk")\n```\n\n' + "Say more. " * 120
LONG = {
    "markdown": (README + "\n\n") * 9,
    "lines": 'A line of a log, with a "quote" and a \\ in it.\n' * 600,
    "paragraphs": ("Something to say, in words. " * 12 + "\n\n") * 90,
    "a title and no place to cut": "title\n" + "x" * 12_000,
    "escapes at the end": "word " * 2500 + "\t" * 5 + "\x01\x02 " * 900,
    "two scripts": "word " * 1500 + "слово и дело. " * 900,
}


@pytest.mark.parametrize("metadata", [{}, {"note": "y" * 3000}])
@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_long_text_does_not_fall_into_crumbs(text: str, metadata: dict[str, str]) -> None:
    parts = split_by_data_limit(text, metadata)
    sizes = [len(orjson.dumps({"text": part, **({"metadata": metadata} if metadata else {})})) for part in parts]
    room = request_bodies.MAX_DATA_BYTES - len(
        orjson.dumps({"text": "", **({"metadata": metadata} if metadata else {})})
    )
    assert max(sizes) <= request_bodies.MAX_DATA_BYTES
    assert all(len(orjson.dumps(part)) > room // 3 for part in parts[:-1])
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert len(parts) <= 2 * len(orjson.dumps(text)) // room + 1


@given(st.text(min_size=1, max_size=300).filter(str.strip))
@settings(max_examples=50)
def test_any_text_is_split_without_loss(text: str) -> None:
    parts = split_by_data_limit(text * 60, {})
    assert all(len(orjson.dumps({"text": part})) <= request_bodies.MAX_DATA_BYTES for part in parts)
    assert "".join("".join(parts).split()) == "".join((text * 60).split())


@pytest.mark.parametrize("length", [1664, 1665])
@pytest.mark.parametrize("character", ["x", "\x01", "\U0001f600", "\ud83d"])
def test_a_text_that_is_not_measured_is_within_the_limit(character: str, length: int) -> None:
    parts = split_by_data_limit(character * length, {})
    assert "".join(parts) == character * length
    for part in parts:
        assert len(request_bodies.encode({"text": part})) <= request_bodies.MAX_DATA_BYTES


def test_a_blank_text_has_no_parts() -> None:
    assert split_by_data_limit(" \n", {}) == split_by_data_limit(" \n", {"note": "x"}) == []


def test_metadata_that_leaves_no_room_is_refused_by_its_name() -> None:
    with pytest.raises(MessageError, match="metadata"):
        send(Text("hi", metadata={"x": "y" * 10_000}))


@pytest.mark.parametrize(
    ("media", "kind", "name", "mime_type", "extension"),
    [
        (Media("https://x/g/load%20curve.png?v=1"), "image", "load curve.png", "image/png", "png"),
        (Media("https://x/a.mp3"), "audio", "a.mp3", "audio/mpeg", "mp3"),
        (Media("https://x/a.mp4"), "video", "a.mp4", "video/mp4", "mp4"),
        (Media("https://x/a.pdf"), "file", "a.pdf", "application/pdf", "pdf"),
        (Media("https://x/"), "file", "file", "application/octet-stream", "bin"),
        (Media("https://x/raw", kind="image", mime_type="image/png"), "image", "raw", "image/png", "png"),
        (Media("https://x/a.png", kind="file", name="plan.PNG"), "file", "plan.PNG", "image/png", "PNG"),
    ],
)
def test_a_files_kind_name_and_type_are_guessed_from_its_url(
    media: Media, kind: str, name: str, mime_type: str, extension: str
) -> None:
    body = send(media)[0]["body"]
    expected = {"url": media.url, "name": name, "mimeType": mime_type, "extension": extension}
    assert (body["category"], body["type"], body["data"]) == ("message", kind, {"attachments": [expected]})


def test_a_caption_and_a_size_go_with_the_file() -> None:
    data = send(Media("https://x/a.png", caption="look", size=5))[0]["body"]["data"]
    assert data["text"] == "look"
    assert data["attachments"][0]["size"] == 5


def test_a_caption_that_is_too_long_follows_as_texts() -> None:
    picture, *texts = send(Media("https://x/a.png", caption="word " * 3000))
    assert "text" not in picture["body"]["data"]
    assert len(texts) == 2
    assert all(request["body"]["type"] == "text" for request in texts)


def test_a_custom_message_goes_through_unchanged() -> None:
    body = send(Custom("location", {"lat": 48.1}, text="here"))[0]["body"]
    assert (body["category"], body["type"]) == ("custom", "location")
    assert body["data"] == {"customData": {"lat": 48.1}, "text": "here"}


def test_a_custom_message_over_the_limit_is_refused_by_it() -> None:
    with pytest.raises(MessageError, match="10000"):
        send(Custom("x", {"a": "y" * 10_000}))


@pytest.mark.parametrize(
    "message",
    [
        CARD,
        Carousel([CARD, CARD]),
        Choices("Colour?", ["red", "blue"]),
        Location(48.1, 11.5, "Pickup"),
        Form("Order", [Field("size")], "order"),
    ],
)
def test_what_is_not_native_falls_back_to_its_text(message: Message) -> None:
    body = send(message)[0]["body"]
    assert (body["category"], body["type"], body["data"]) == ("message", "text", {"text": message.to_text()})


def test_interactive_card_has_link_buttons_and_numbered_text() -> None:
    body = send(CARD, "interactive")[0]["body"]
    shown = body["data"]["interactiveData"]
    assert (body["category"], body["type"]) == ("interactive", "card")
    assert shown["imageUrl"] == "https://x/box.png"
    assert "1. Track" in shown["text"]
    assert [(button["buttonText"], button["action"]) for button in shown["cardActions"]] == [
        ("Shop", {"actionType": "urlNavigation", "url": "https://shop.example"})
    ]


def test_interactive_choices_stand_numbered_in_the_card() -> None:
    shown = send(Choices("Colour?", ["red", "blue"]), "interactive")[0]["body"]["data"]["interactiveData"]
    assert shown == {"text": Choices("Colour?", ["red", "blue"]).to_text(), "cardActions": []}


def test_card_buttons_send_label_or_open_url() -> None:
    body = send(CARD, "card")[0]["body"]
    card = body["data"]["card"]
    assert (body["category"], body["type"], body["data"]["text"]) == ("card", "text", CARD.to_text())
    assert (card["version"], card["fallbackText"]) == ("1.0", CARD.to_text())
    assert set(card) == {"version", "body", "style", "fallbackText"}
    assert [element["type"] for element in card["body"]] == ["image", "text", "markdown", "button", "button"]
    assert card["body"][3]["action"] == {"type": "sendMessage", "text": "Track"}
    assert card["body"][4]["action"] == {"type": "openUrl", "url": "https://shop.example"}


@pytest.mark.parametrize("message", [Carousel([CARD, CARD, CARD]), Choices("Colour?", ["red", "blue"])])
def test_the_ids_of_a_cards_elements_are_unique(message: Message) -> None:
    elements = send(message, "card")[0]["body"]["data"]["card"]["body"]
    ids = [element["id"] for element in elements]
    assert len(set(ids)) == len(ids)


CARD_ELEMENTS = {
    "text": {"content"}, "markdown": {"content"}, "image": {"url"}, "divider": set(), "button": {"label", "action"},
}  # fmt: skip
CARD_ACTIONS = {"openUrl": {"type", "url"}, "sendMessage": {"type", "text"}, "apiCall": {"type", "url", "method"}}
"""The keys of CometChat's card schema, which allows no others (docs/protocols/cometchat.md, "Card messages")."""


@pytest.mark.parametrize("url", ["", "https://bots.example/press/1"])
@pytest.mark.parametrize("message", [CARD, Carousel([CARD, CARD]), Choices("Colour?", ["red", "blue"])])
def test_a_card_has_the_keys_of_the_card_schema_alone(message: Message, url: str) -> None:
    operation = Operation(conversation=DIRECT, message=message)
    (request,) = render(operation, "card", lambda operation, offer: url)
    card = request["body"]["data"]["card"]
    assert set(card) == {"version", "body", "style", "fallbackText"}
    assert set(card["style"]) == {"background"}
    assert set(card["style"]["background"]) == {"light", "dark"}
    assert card["body"]
    for element in card["body"]:
        assert element.keys() == {"id", "type"} | CARD_ELEMENTS[element["type"]]
        if "action" in element:
            assert element["action"].keys() == CARD_ACTIONS[element["action"]["type"]]


def test_buttons_with_same_label_send_their_number() -> None:
    elements = send(Carousel([CARD, CARD]), "card")[0]["body"]["data"]["card"]["body"]
    said = [element["action"]["text"] for element in elements if element.get("action", {}).get("type") == "sendMessage"]
    assert said == ["1", "2"]


@pytest.mark.parametrize("rich", ["interactive", "card"])
def test_a_card_that_is_too_large_falls_back_to_text(rich: RichMode) -> None:
    requests = send(Card(text="word " * 2500), rich)
    assert {request["body"]["category"] for request in requests} == {"message"}


def test_edit_has_message_id_and_new_text() -> None:
    requests = send(Text("new", tags=("a",)), kind="edit", message_id="5", reply_to="")
    assert requests == [{"op": "edit", "message": "5", "body": {"data": {"text": "new"}, "tags": ["a"]}}]


def test_edit_over_the_limit_continues_in_new_messages() -> None:
    edit, *rest = send(Text("word " * 3000), kind="edit", target=0)
    assert (edit["op"], [request["op"] for request in rest]) == ("edit", ["send"])


def test_edit_into_unsupported_kind_shows_text() -> None:
    (request,) = send(CARD, "card", kind="edit", target=0)
    assert request["body"]["data"] == {"text": CARD.to_text()}


def test_an_edited_custom_message_stays_custom() -> None:
    (request,) = send(Custom("x", {"a": 1}), kind="edit", target=0)
    assert request["body"]["data"] == {"customData": {"a": 1}}


def test_deletions_and_reactions_name_their_message() -> None:
    assert render(Operation(conversation=DIRECT, kind="delete", message_id="5"), "text") == [
        {"op": "delete", "message": "5"}
    ]
    assert render(Operation(conversation=DIRECT, kind="react", message_id="5", reaction="👍"), "text") == [
        {"op": "react", "message": "5", "reaction": "👍"}
    ]


def test_long_reaction_and_empty_send_are_refused() -> None:
    with pytest.raises(MessageError, match="reaction"):
        render(Operation(conversation=DIRECT, kind="react", message_id="5", reaction="x" * 46), "text")
    with pytest.raises(MessageError, match="needs a message"):
        render(Operation(conversation=DIRECT), "text")


def test_too_many_tags_are_refused_before_anything_is_stored() -> None:
    with pytest.raises(MessageError, match="tags"):
        send(Text("hi", tags=tuple(str(n) for n in range(26))))


@pytest.mark.parametrize("rich", ["text", "interactive", "card"])
def test_every_request_is_json(rich: RichMode) -> None:
    for message in (Text("a"), CARD, Carousel([CARD]), Choices("?", ["a"]), Custom("x", {}), Media("https://x/a.png")):
        assert orjson.loads(orjson.dumps(send(message, rich))) == send(message, rich)
