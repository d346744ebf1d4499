"""What is stored of an answer until it is sent, and what SimpleX would never take."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.channels.simplex import file
from cometbot.channels.simplex.ids import make_direct_conversation
from cometbot.channels.simplex.protocol.contents import PLACEHOLDER_IMAGE, json_size
from cometbot.channels.simplex.rendering import CAPABILITIES, FILE_FAILED_TEXT, render
from cometbot.errors import MessageError
from cometbot.messages import Button, Card, Choices, Custom, Media, Message, Operation, Text

HERE = make_direct_conversation("default", "shop", "4")


def render_message(message: Message, **more: Any) -> list[dict[str, Any]]:
    return render(Operation(conversation=HERE, message=message, **more))


def test_a_text_is_one_message() -> None:
    assert render_message(Text("Hello *bold*")) == [{"op": "send", "content": {"type": "text", "text": "Hello *bold*"}}]


def test_a_quote_is_carried_by_the_first_part_only() -> None:
    first, *rest = render_message(Text("word " * 8000), quote_id="20")

    assert first["quote"] == "20"
    assert rest
    assert all("quote" not in part for part in rest)


@pytest.mark.parametrize("text", ["word " * 8000, "ö" * 20_000, '"\\\n' * 8000, "👩🏽‍💻" * 3000, "x" * 1_000_000])
def test_a_long_text_is_split_by_its_bytes_as_json(text: str) -> None:
    parts = [part["content"]["text"] for part in render_message(Text(text))]

    assert "".join("".join(parts).split()) == "".join(text.split())
    assert max(map(json_size, parts)) <= CAPABILITIES.text_limit


def test_nul_is_left_out_and_half_a_character_replaced() -> None:
    assert render_message(Text("a\0b"))[0]["content"]["text"] == "ab"
    assert render_message(Text("a\ud83db"))[0]["content"]["text"] == "a\ufffdb"


def test_card_becomes_text_with_bold_as_simplex_writes_it() -> None:
    card = render_message(Card("Tea", "Green **tea**", buttons=[Button("Buy")]))[0]["content"]["text"]

    assert card.startswith("Tea\n\nGreen *tea*\n\n1. Buy")
    assert render_message(Choices("Which?", ["Red"]))[0]["content"]["text"].startswith("Which?\n\n1. Red")
    assert render_message(Custom("poll", {}, "A poll"))[0]["content"]["text"] == "A poll"


PHOTO = "https://example.com/a.jpg"


def test_remote_file_renders_media_with_url_fallback() -> None:
    [plain] = render_message(Media(PHOTO, caption="A *cat*", name="cat.jpg", metadata={"ttl": 60}), quote_id="20")

    assert plain == {
        "op": "send",
        "content": {"type": "file", "text": "A *cat*"},
        "media": {"url": PHOTO, "kind": "", "name": "cat.jpg"},
        "otherwise": {"type": "text", "text": f"A *cat*\n\ncat.jpg\n\n{PHOTO}"},
        "ttl": 60,
        "quote": "20",
    }
    assert render_message(Media(PHOTO, "file"))[0]["media"]["kind"] == "file"
    assert "live" not in render_message(Media(PHOTO), is_growing=True)[0]


def test_long_caption_of_remote_file_follows_as_text() -> None:
    caption = "ö" * 4000
    media, text = render_message(Media(PHOTO, caption=caption))

    assert (media["content"]["text"], media["otherwise"]["text"], text["content"]["text"]) == ("", PHOTO, caption)
    assert [part.get("media") for part in render_message(Media(f"{PHOTO}?{'x' * 20_000}", caption="A cat"))] == [
        None,
        None,
    ]


def test_own_file_without_a_public_url_has_no_address_to_fall_back_to() -> None:
    [part] = render_message(Media("/files/x/a.png", name="a.png", caption="A cat", is_stored=True))

    assert part["media"]["url"] == "/files/x/a.png"
    assert part["otherwise"]["text"] == f"A cat\n\na.png\n\n{FILE_FAILED_TEXT}"


OPEN = Button("Open", url="https://example.com/tea")


def test_a_card_that_is_nothing_but_a_link_is_shown_as_one() -> None:
    [link] = render_message(Card("Tea", "Green", PHOTO, [OPEN]))

    assert link["picture"] == PHOTO
    assert link["content"] == {
        "type": "link",
        "text": "Tea\n\nGreen\n\nOpen: https://example.com/tea",
        "preview": {"uri": "https://example.com/tea", "title": "Tea", "description": "Green", "image": ""},
    }


def test_the_picture_of_a_link_may_be_in_the_card_itself() -> None:
    [link] = render_message(Card("Tea", image=PLACEHOLDER_IMAGE, buttons=[OPEN]))
    assert link["content"]["preview"]["image"] == PLACEHOLDER_IMAGE
    [without] = render_message(Card("Tea", image="data:image/tiff;base64,AA", buttons=[OPEN]))
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
    assert {part["content"]["type"] for part in render_message(card)} == {"text"}
    assert "".join(part["content"]["text"] for part in render_message(card)).count("Tea") == 1


def test_what_an_author_wrote_is_not_touched() -> None:
    assert render_message(Text("**two stars**"))[0]["content"]["text"] == "**two stars**"


@pytest.mark.parametrize(
    ("kind", "options", "content"),
    [
        ("file", {}, {"type": "file", "text": "Look"}),
        ("image", {}, {"type": "image", "text": "Look", "image": PLACEHOLDER_IMAGE}),
        ("image", {"preview": "data:image/jpg;base64,AA"}, {"type": "image", "text": "Look",
                                                          "image": "data:image/jpg;base64,AA"}),
        ("video", {"seconds": 12}, {"type": "video", "text": "Look", "image": PLACEHOLDER_IMAGE, "duration": 12}),
        ("voice", {"seconds": 5}, {"type": "voice", "text": "Look", "duration": 5}),
    ],
)  # fmt: skip
def test_a_file_is_sent_as_what_it_is(kind: str, options: dict[str, Any], content: dict[str, Any]) -> None:
    [part] = render_message(file("/srv/out/a.bin", kind, "Look", **options))

    assert part == {"op": "send", "content": content, "file": "/srv/out/a.bin"}


def test_long_caption_of_local_file_follows_as_text() -> None:
    first, *rest = render_message(
        file("/srv/out/a.jpg", "image", "word " * 2000, preview="data:image/jpg;base64," + "A" * 9000)
    )

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
        render_message(message)


def test_a_file_of_an_unknown_kind_is_refused_when_it_is_made() -> None:
    with pytest.raises(MessageError, match="image, video, voice or file"):
        file("/a.gif", "sticker")


def test_disappearing_message_has_ttl() -> None:
    assert [part["ttl"] for part in render_message(Text("word " * 8000, metadata={"ttl": 60}))] == [60] * 3
    assert render_message(file("/a.pdf", ttl=60))[0]["ttl"] == 60


def test_growing_message_is_live_unless_too_long() -> None:
    assert render_message(Text("One"), is_growing=True)[0]["live"] is True
    assert all("live" not in part for part in render_message(Text("word " * 8000), is_growing=True))


def test_edit_over_limit_continues_in_new_messages() -> None:
    first, *rest = render_message(Text("word " * 8000), kind="edit", target=0)

    assert (first["op"], {part["op"] for part in rest}) == ("edit", {"send"})


def test_deletions_and_reactions() -> None:
    delete, moderate, react = (
        render(Operation(conversation=HERE, kind=kind, target=target, message_id=id, reaction=reaction))  # type: ignore[arg-type]
        for kind, target, id, reaction in (
            ("delete", 0, "", ""),
            ("delete", None, "21", ""),
            ("react", None, "21", "❤️"),
        )
    )

    assert delete == [{"op": "delete", "item": ""}]
    assert moderate == [{"op": "moderate", "item": "21"}]
    assert react == [{"op": "react", "item": "21", "emoji": "❤"}]


def test_unsupported_reaction_lists_supported_ones() -> None:
    with pytest.raises(MessageError, match="👍 👎 😀"):
        render(Operation(conversation=HERE, kind="react", message_id="21", reaction="🎉"))
