"""What is refused before it is sent, and by which name."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from cometbot.channels.cometchat import request_bodies
from cometbot.errors import MessageError

PICTURE = {"url": "https://x/a.png", "name": "a.png", "mimeType": "image/png", "extension": "png"}


def body(**changes: Any) -> dict[str, Any]:
    whole = {
        "receiver": "maria-k",
        "receiverType": "user",
        "category": "message",
        "type": "text",
        "data": {"text": "hi"},
    }
    return whole | changes


@pytest.mark.parametrize(
    "good",
    [
        body(),
        body(receiver="ops-room", receiverType="group", tags=["ticket"], muid="b7d0-1"),
        body(type="image", data={"attachments": [PICTURE], "text": "caption"}),
        body(category="custom", type="location", data={"customData": {}}),
        body(category="interactive", type="form", data={"interactiveData": {"title": "x"}}),
        body(category="card", type="text", data={"text": "x", "card": {"version": "1.0"}}),
        body(receiver="", multipleReceivers={"uids": ["a", "b"]}),
        body(tags=[], data={"text": "hi", "metadata": {"ticket": 4711}}),
    ],
)
def test_a_good_message_is_encoded_as_it_is(good: dict[str, Any]) -> None:
    assert orjson.loads(request_bodies.check_message(good)) == good


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (body(receiver=""), "receiver"),
        (body(receiver="  "), "receiver"),
        (body(receiverType="User"), "receiverType"),
        (body(category="action"), "category"),
        (body(category=None), "category"),
        (body(type="sticker"), "type"),
        (body(type=""), "type"),
        (body(category="custom", type=" ", data={"customData": {}}), "type"),
        (body(data=None), "data"),
        (body(data=[]), "data"),
        (body(data={}), "data.text"),
        (body(data={"text": "   "}), "data.text"),
        (body(data={"text": 5}), "data.text"),
        (body(type="image", data={}), "data.attachments"),
        (body(type="image", data={"attachments": []}), "data.attachments"),
        (body(type="image", data={"attachments": ["https://x"]}), "data.attachments.0"),
        (body(type="image", data={"attachments": [PICTURE, PICTURE | {"name": ""}]}), "data.attachments.1.name"),
        (body(category="custom", type="x", data={"customData": []}), "data.customData"),
        (body(category="interactive", type="x", data={}), "data.interactiveData"),
        (body(category="card", data={"text": "x"}), "data.card"),
        (body(data={"text": "hi", "metadata": "x"}), "data.metadata"),
        (body(data={"text": " ".join(f"<@uid:u{n}>" for n in range(11))}), "data.text"),
        (body(tags="ticket"), "tags"),
        (body(tags=["x"] * 26), "tags"),
        (body(tags=["x" * 101]), "tags"),
        (body(tags=[""]), "tags"),
        (body(tags=[5]), "tags"),
        (body(data={"text": "hi", "extra": {1, 2}}), "data"),
        (body(muid=object()), "the message"),
    ],
)
def test_a_wrong_message_is_refused_by_the_fields_name(bad: dict[str, Any], field: str) -> None:
    with pytest.raises(MessageError) as caught:
        request_bodies.check_message(bad)
    assert str(caught.value).startswith(f"{field} ") or f"{field} " in str(caught.value)[: len(field) + 12]


def test_the_limit_of_data_counts_utf_8_bytes_of_its_json() -> None:
    room = request_bodies.MAX_DATA_BYTES - len('{"text":""}')
    request_bodies.check_message(body(data={"text": "x" * room}))
    for text in ("x" * (room + 1), "ß" * (room // 2 + 1), '"' * (room // 2 + 1)):
        with pytest.raises(MessageError, match=r"data has \d+ bytes"):
            request_bodies.check_message(body(data={"text": text}))


def test_the_limit_of_the_whole_message_counts_characters() -> None:
    with pytest.raises(MessageError, match="65536"):
        request_bodies.check_message(body(muid="x" * request_bodies.MAX_BODY_LENGTH))


def test_ten_users_may_be_mentioned_any_number_of_times() -> None:
    text = " ".join(f"<@uid:u{n}> <@uid:U{n}>" for n in range(10))
    request_bodies.check_message(body(data={"text": text}))


def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    assert (
        json.loads(request_bodies.check_message(body(data={"text": "ok \ud83d end"})))["data"]["text"]
        == "ok \ufffd end"
    )


def test_a_reaction_has_at_most_45_characters() -> None:
    assert request_bodies.check_reaction("👍") == "👍"
    assert request_bodies.check_reaction("x" * 45)
    for reaction in ("", " ", "x" * 46):
        with pytest.raises(MessageError, match="reaction"):
            request_bodies.check_reaction(reaction)


@pytest.mark.parametrize("value", ["", ".", "..", "a b", "a\r\nX: y", "a\tb", "x" * 101, None, True, 5.5, []])
def test_what_cannot_stand_in_a_path_or_header_is_no_id(value: object) -> None:
    with pytest.raises(MessageError, match="guid must be an id"):
        request_bodies.check_id(value, "guid")


def test_numbers_and_texts_are_ids() -> None:
    assert request_bodies.check_id(90431, "id") == "90431"
    assert request_bodies.check_id("maria-k", "uid") == "maria-k"
    with pytest.raises(MessageError, match="1 to 50"):
        request_bodies.check_id("x" * 51, "uid", max_length=50)
