"""What a message may hold, how large it may be, and how a long text is cut."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.channels.simplex.protocol import ComposedMessage, UpdatedMessage
from cometbot.channels.simplex.protocol.contents import (
    MESSAGE_LIMIT,
    REACTIONS,
    chat_content,
    file_content,
    image_content,
    json_size,
    link_content,
    make_reaction,
    report_content,
    split_message_text,
    text_content,
    video_content,
    voice_content,
)
from cometbot.errors import MessageError
from tests.simplex_reference import UNIONS, find_errors

PICTURE = "data:image/jpg;base64,/9j/4AAQ"


@pytest.mark.parametrize(
    "content",
    [
        text_content("Hello *bold*"),
        link_content("https://example.org", "https://example.org", title="Example", image=PICTURE),
        image_content("A cat", PICTURE),
        video_content("", PICTURE, 12),
        voice_content(5),
        file_content("March report"),
        report_content("ads", "spam"),
        chat_content(
            "Join us", {"type": "group", "connLink": "https://x", "groupProfile": {"displayName": "T", "fullName": ""}}
        ),
        chat_content(
            "me",
            {"type": "invitation", "invLink": "x", "profile": {"displayName": "T", "fullName": ""}},
            {"chatBinding": "a", "ownerSig": "b"},
        ),
    ],
    ids=lambda content: content["type"],
)
def test_a_content_has_the_shape_of_the_reference(content: dict[str, object]) -> None:
    assert find_errors(content, "MsgContent") == []


def test_there_is_a_builder_for_every_content_but_the_unknown() -> None:
    assert set(UNIONS["MsgContent"]) == {"text", "link", "image", "video", "voice", "file", "report", "chat", "unknown"}


def test_a_message_has_the_shape_of_the_reference() -> None:
    message = ComposedMessage(text_content("x"), quoted_item_id=20, file_path="a.jpg", mentions={"bob": 11})
    assert find_errors(message.to_object(), "ComposedMessage") == []
    assert find_errors(UpdatedMessage(text_content("x"), {"bob": 11}).to_object(), "UpdatedMessage") == []


WRONG: list[Callable[[], object]] = [
    lambda: text_content(None),  # type: ignore[arg-type]
    lambda: text_content("a\0b"),
    lambda: text_content("\udc00"),
    lambda: image_content("x", "https://example.org/a.jpg"),
    lambda: image_content("x", PICTURE + "A" * 20_000),
    lambda: voice_content(-1),
    lambda: voice_content(True),
    lambda: report_content("x", "boring"),
    lambda: ComposedMessage({}),
    lambda: ComposedMessage("text"),  # type: ignore[arg-type]
    lambda: ComposedMessage(text_content("x" * MESSAGE_LIMIT)),
    lambda: ComposedMessage(text_content("x"), quoted_item_id=0),
    lambda: ComposedMessage(text_content("x"), file_path="a\nb"),
    lambda: ComposedMessage(text_content("x"), file_path="a\0b"),
    lambda: ComposedMessage(text_content("x"), mentions={"bob": "11"}),  # type: ignore[dict-item]
    lambda: UpdatedMessage(text_content('"' * (MESSAGE_LIMIT // 2))),
]


@pytest.mark.parametrize("build", WRONG, ids=range(len(WRONG)))
def test_a_wrong_message_is_refused_with_a_sentence(build: Callable[[], object]) -> None:
    with pytest.raises(MessageError) as error:
        build()
    assert len(str(error.value)) > 15


def test_oversized_message_names_size_and_fix() -> None:
    with pytest.raises(MessageError, match=r"15629 bytes.*split_message_text"):
        ComposedMessage(text_content("x" * 15_604))


def test_message_at_the_limit_is_accepted() -> None:
    room = MESSAGE_LIMIT - len('{"type":"text","text":""}')
    assert ComposedMessage(text_content("x" * room))
    with pytest.raises(MessageError):
        ComposedMessage(text_content("x" * (room + 1)))


@pytest.mark.parametrize("emoji", REACTIONS)
def test_supported_reactions_ignore_variation_selector(emoji: str) -> None:
    assert make_reaction(emoji) == make_reaction(f"{emoji}\ufe0f") == {"type": "emoji", "emoji": emoji}
    assert len(REACTIONS) == 8
    assert all(len(item) == 1 for item in REACTIONS)


@pytest.mark.parametrize("emoji", ["🦊", "", "👍👍", "👍🏽", None, 5])
def test_any_other_reaction_is_refused_and_the_eight_are_named(emoji: object) -> None:
    with pytest.raises(MessageError, match="🚀"):
        make_reaction(emoji)  # type: ignore[arg-type]


# Cutting


def words(parts: list[str]) -> list[str]:
    return "\n".join(parts).split()


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=400), st.integers(30, 120))
def test_parts_fit_and_lose_nothing_visible(text: str, limit: int) -> None:
    parts = split_message_text(text, limit)
    assert all(0 < json_size(part) <= limit for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_short_text_is_unchanged_and_blank_gives_none() -> None:
    assert split_message_text(" hello ") == [" hello "]
    assert split_message_text("") == split_message_text(" \n ") == []


def test_text_is_split_at_the_best_boundary() -> None:
    assert split_message_text("aaaa bbbb. cccc\ndddd\n\neeee ffff", 27) == ["aaaa bbbb. cccc\ndddd", "eeee ffff"]
    assert split_message_text("aaaa bbbb. cccc\ndddd eeee", 20) == ["aaaa bbbb. cccc", "dddd eeee"]
    assert split_message_text("aaaa bbbb. cccc dddd", 16) == ["aaaa bbbb.", "cccc dddd"]
    assert split_message_text("aaaa bbbb cccc", 12) == ["aaaa bbbb", "cccc"]


def test_bytes_and_escapes_count_not_characters() -> None:
    assert [len(part) for part in split_message_text("é" * 100, 50)] == [25] * 4
    assert [len(part) for part in split_message_text('"' * 100, 50)] == [25] * 4
    assert [len(part) for part in split_message_text("\x01" * 20, 60)] == [10, 10]


def test_signs_that_are_one_to_the_eye_stay_together() -> None:
    family = "👩\u200d👩\u200d👧"
    assert [split_message_text("x" * 30 + family + "y" * 10, limit)[0] for limit in (36, 45)] == ["x" * 30] * 2
    assert split_message_text("a" * 19 + "e\u0301" + "b" * 10, 20)[0] == "a" * 19


def test_a_text_of_a_megabyte_is_cut_quickly() -> None:
    began = time.monotonic()
    parts = split_message_text('say "hi"\n' * 120_000)
    assert time.monotonic() - began < 30
    assert all(ComposedMessage(text_content(part)) for part in parts)
    assert len(parts) > 70
