"""What is stored of an answer until it is sent, and what SimpleX would never take."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.channels.simplex import file
from cometbot.channels.simplex.names import direct
from cometbot.channels.simplex.protocol.contents import NO_PICTURE, json_size
from cometbot.channels.simplex.rendering import CAPABILITIES, render
from cometbot.errors import MessageError
from cometbot.messages import Button, Card, Choices, Custom, Media, Message, Operation, Text

HERE = direct("default", "shop", "4")


def said(message: Message, **more: Any) -> list[dict[str, Any]]:
    return render(Operation(conversation=HERE, message=message, **more))


def test_a_text_is_one_message() -> None:
    assert said(Text("Hello *bold*")) == [{"op": "send", "content": {"type": "text", "text": "Hello *bold*"}}]


def test_a_quote_is_carried_by_the_first_part_only() -> None:
    first, *rest = said(Text("word " * 8000), quote_id="20")

    assert first["quote"] == "20"
    assert rest
    assert all("quote" not in part for part in rest)


@pytest.mark.parametrize("text", ["word " * 8000, "ö" * 20_000, '"\\\n' * 8000, "👩🏽‍💻" * 3000, "x" * 1_000_000])
def test_a_long_text_is_split_by_its_bytes_as_json(text: str) -> None:
    parts = [part["content"]["text"] for part in said(Text(text))]

    assert "".join("".join(parts).split()) == "".join(text.split())
    assert max(map(json_size, parts)) <= CAPABILITIES.text_limit


def test_nul_is_left_out_and_half_a_character_replaced() -> None:
    assert said(Text("a\0b"))[0]["content"]["text"] == "ab"
    assert said(Text("a\ud83db"))[0]["content"]["text"] == "a\ufffdb"


def test_card_becomes_text_with_bold_as_simplex_writes_it() -> None:
    card = said(Card("Tea", "Green **tea**", buttons=[Button("Buy")]))[0]["content"]["text"]

    assert card.startswith("Tea\n\nGreen *tea*\n\n1. Buy")
    assert said(Choices("Which?", ["Red"]))[0]["content"]["text"].startswith("Which?\n\n1. Red")
    assert said(Custom("poll", {}, "A poll"))[0]["content"]["text"] == "A poll"


PHOTO = "https://example.com/a.jpg"


def test_a_file_of_the_web_is_loaded_when_it_is_sent_and_its_address_is_what_is_said_without_it() -> None:
    [plain] = said(Media(PHOTO, caption="A *cat*", name="cat.jpg", metadata={"ttl": 60}), quote_id="20")

    assert plain == {
        "op": "send",
        "content": {"type": "file", "text": "A *cat*"},
        "media": {"url": PHOTO, "kind": "", "name": "cat.jpg"},
        "otherwise": {"type": "text", "text": f"A *cat*\n\ncat.jpg\n\n{PHOTO}"},
        "ttl": 60,
        "quote": "20",
    }
    assert said(Media(PHOTO, "file"))[0]["media"]["kind"] == "file"
    assert "live" not in said(Media(PHOTO), grows=True)[0]


def test_a_caption_that_may_have_no_room_beside_a_preview_follows_as_text() -> None:
    caption = "ö" * 4000
    media, text = said(Media(PHOTO, caption=caption))

    assert (media["content"]["text"], media["otherwise"]["text"], text["content"]["text"]) == ("", PHOTO, caption)
    assert [part.get("media") for part in said(Media(f"{PHOTO}?{'x' * 20_000}", caption="A cat"))] == [None, None]


OPEN = Button("Open", url="https://example.com/tea")


def test_a_card_that_is_nothing_but_a_link_is_shown_as_one() -> None:
    [link] = said(Card("Tea", "Green", PHOTO, [OPEN]))

    assert link["picture"] == PHOTO
    assert link["content"] == {
        "type": "link",
        "text": "Tea\n\nGreen\n\nOpen: https://example.com/tea",
        "preview": {"uri": "https://example.com/tea", "title": "Tea", "description": "Green", "image": ""},
    }


def test_the_picture_of_a_link_may_be_in_the_card_itself() -> None:
    [link] = said(Card("Tea", image=NO_PICTURE, buttons=[OPEN]))
    assert link["content"]["preview"]["image"] == NO_PICTURE
    [without] = said(Card("Tea", image="data:image/tiff;base64,AA", buttons=[OPEN]))
    assert without["content"]["preview"]["image"] == ""

    assert "picture" not in link
    assert "picture" not in without


@pytest.mark.parametrize(
    "card",
    [
        Card("Tea", buttons=[OPEN, Button("Buy", "buy")]),
        Card("Tea", buttons=[OPEN, OPEN]),
        Card("Tea", buttons=[Button("Call", url="tel:112")]),
        Card(text="Tea", buttons=[OPEN]),
        Card("Tea", "ö" * 4000, buttons=[OPEN]),
        Card("Tea", "https://example.com/tea"),
    ],
)
def test_any_other_card_is_a_text(card: Card) -> None:
    assert {part["content"]["type"] for part in said(card)} == {"text"}
    assert "".join(part["content"]["text"] for part in said(card)).count("Tea") == 1


def test_what_an_author_wrote_is_not_touched() -> None:
    assert said(Text("**two stars**"))[0]["content"]["text"] == "**two stars**"


@pytest.mark.parametrize(
    ("kind", "options", "content"),
    [
        ("file", {}, {"type": "file", "text": "Look"}),
        ("image", {}, {"type": "image", "text": "Look", "image": NO_PICTURE}),
        ("image", {"preview": "data:image/jpg;base64,AA"}, {"type": "image", "text": "Look",
                                                          "image": "data:image/jpg;base64,AA"}),
        ("video", {"seconds": 12}, {"type": "video", "text": "Look", "image": NO_PICTURE, "duration": 12}),
        ("voice", {"seconds": 5}, {"type": "voice", "text": "Look", "duration": 5}),
    ],
)  # fmt: skip
def test_a_file_is_sent_as_what_it_is(kind: str, options: dict[str, Any], content: dict[str, Any]) -> None:
    [part] = said(file("/srv/out/a.bin", kind, "Look", **options))

    assert part == {"op": "send", "content": content, "file": "/srv/out/a.bin"}


def test_a_caption_that_has_no_room_beside_its_file_follows_as_text() -> None:
    first, *rest = said(file("/srv/out/a.jpg", "image", "word " * 2000, preview="data:image/jpg;base64," + "A" * 9000))

    assert first["content"]["text"] == ""
    assert first["file"] == "/srv/out/a.jpg"
    assert " ".join(part["content"]["text"] for part in rest).split() == ["word"] * 2000


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (Custom("file", {"path": ""}), "path of a file"),
        (Custom("file", {"path": 5}), "path of a file"),
        (Custom("file", {"path": "/a\nb"}), "control character"),
        (file("/a.jpg", "image", preview="https://example.com/a.jpg"), "data URI"),
        (file("/a.jpg", "image", preview="data:image/jpg;base64," + "A" * 11_000), "make it smaller"),
        (Text("x", metadata={"ttl": 0}), "whole number of seconds"),
        (Text("x", metadata={"ttl": "60"}), "whole number of seconds"),
        (Text("x", metadata={"ttl": True}), "whole number of seconds"),
    ],
)
def test_what_simplex_would_refuse_is_refused_with_the_reason(message: Message, problem: str) -> None:
    with pytest.raises(MessageError, match=problem):
        said(message)


def test_a_file_of_an_unknown_kind_is_refused_when_it_is_made() -> None:
    with pytest.raises(MessageError, match="image, video, voice or file"):
        file("/a.gif", "sticker")


def test_a_message_that_disappears_says_when() -> None:
    assert [part["ttl"] for part in said(Text("word " * 8000, metadata={"ttl": 60}))] == [60] * 3
    assert said(file("/a.pdf", ttl=60))[0]["ttl"] == 60


def test_a_message_that_grows_is_live_unless_it_is_too_long_already() -> None:
    assert said(Text("One"), grows=True)[0]["live"] is True
    assert all("live" not in part for part in said(Text("word " * 8000), grows=True))


def test_a_change_of_a_text_that_has_grown_over_the_limit_goes_on_in_new_messages() -> None:
    first, *rest = said(Text("word " * 8000), kind="edit", target=0)

    assert (first["op"], {part["op"] for part in rest}) == ("edit", {"send"})


def test_deletions_and_reactions() -> None:
    delete, react = (
        render(Operation(conversation=HERE, kind=kind, message_id="21", reaction=reaction))  # type: ignore[arg-type]
        for kind, reaction in (("delete", ""), ("react", "❤️"))
    )

    assert delete == [{"op": "delete", "item": "21"}]
    assert react == [{"op": "react", "item": "21", "emoji": "❤"}]


def test_a_reaction_that_simplex_does_not_have_is_refused_with_those_that_it_has() -> None:
    with pytest.raises(MessageError, match="👍 👎 😀"):
        render(Operation(conversation=HERE, kind="react", message_id="21", reaction="🎉"))
