"""What bots say, as it is stored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.channels.platform.ids import conversation_of
from cometbot.channels.platform.rendering import TEXT_LIMIT, clean_text, platform_file_id, render
from cometbot.messages import Card, Custom, Media, Operation, Text

BASE = "https://chat.example.com"
HERE = conversation_of("helpdesk", "chat", "maria")
FILE = "01m7yy2hc59czcnwcyps7tbqxp"


def test_a_text_is_one_step_that_knows_what_it_answers() -> None:
    [step] = render(Operation(conversation=HERE, message=Text("hi"), reply_to="m1", stream_id="s1"), BASE)

    assert step == {
        "op": "send",
        "message": "",
        "stream": "s1",
        "body": "hi",
        "content": None,
        "files": [],
        "answers": "m1",
    }


def test_long_text_is_split_and_only_the_first_part_edits() -> None:
    text = "word " * TEXT_LIMIT
    steps = render(Operation(conversation=HERE, kind="edit", message=Text(text), message_id="m1"), BASE)

    assert [step["op"] for step in steps] == ["edit", *["send"] * (len(steps) - 1)]
    assert len(steps) > 2
    assert max(len(step["body"]) for step in steps) <= TEXT_LIMIT
    assert " ".join(step["body"] for step in steps).split() == text.split()


def test_a_card_is_a_text_for_all_and_a_card_for_the_web_chat() -> None:
    [step] = render(Operation(conversation=HERE, message=Card("Tea", "a\0b")), BASE)

    assert step["body"] == "Tea\n\na\ufffdb"
    assert (step["content"]["kind"], step["content"]["text"]) == ("card", "a\ufffdb")


def test_what_the_web_chat_has_no_view_for_is_text() -> None:
    [step] = render(Operation(conversation=HERE, message=Custom("poll", {"a": 1}, "A poll")), BASE)

    assert (step["body"], step["content"]) == ("A poll", None)


@pytest.mark.parametrize(
    ("url", "file"),
    [
        (f"{BASE}/static/images/{FILE}.png", FILE),
        (f"{BASE}/static/files/{FILE}", FILE),
        (f"{BASE}/static/images/{FILE}.png?x=1", ""),
        (f"{BASE}/other/{FILE}.png", ""),
        (f"{BASE}.evil.example/static/images/{FILE}.png", ""),
        (f"https://evil.example/static/images/{FILE}.png", ""),
        (f"{BASE}/static/images/../{FILE}.png", ""),
    ],
)
def test_only_a_url_of_the_platform_is_one_of_its_files(url: str, file: str) -> None:
    assert platform_file_id(url, BASE) == file
    [step] = render(Operation(conversation=HERE, message=Media(url, caption="Look")), BASE)
    assert step["files"] == ([file] if file else [])
    assert (step["body"] == "Look") == bool(file)


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_text_is_fit_for_json_and_databases(text: str) -> None:
    cleaned = clean_text(text)

    assert "\0" not in cleaned
    cleaned.encode()
    assert len(cleaned) <= len(text)
    if "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert cleaned == text


@pytest.mark.parametrize("base", [BASE, ""])
def test_a_file_of_the_bot_is_an_attachment_under_its_own_route(base: str) -> None:
    path = "files/0123456789abcdef0123456789abcdef-abcdefghijklmnopqrstuv/Sales.png"
    media = Media(f"{base}/{path}", "image", "Sales \0.png", "image/png", 70, "This week", is_stored=True)
    [step] = render(Operation(conversation=HERE, message=media), BASE)

    assert (step["body"], step["content"], step["files"]) == ("This week", None, [])
    assert step["stored"] == [
        {
            "id": "0123456789abcdef0123456789abcdef",
            "path": path,
            "name": "Sales \ufffd.png",
            "size": 70,
            "mimeType": "image/png",
        }
    ]
