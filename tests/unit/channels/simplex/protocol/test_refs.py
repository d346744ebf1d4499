"""How chats are named in commands."""

from __future__ import annotations

import pytest

from cometbot.channels.simplex.protocol import ChatRef
from cometbot.channels.simplex.protocol.refs import MAX_ID
from cometbot.errors import MessageError


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        (ChatRef("direct", 4), "@4"),
        (ChatRef("group", 3), "#3"),
        (ChatRef("group", 3, "support"), "#3(_support)"),
        (ChatRef("group", 3, "support", 11), "#3(_support:11)"),
        (ChatRef("local", 1), "*1"),
        (ChatRef("connection", 21), ":21"),
        (ChatRef("direct", MAX_ID), f"@{MAX_ID}"),
    ],
)
def test_a_chat_is_written_as_commands_name_it_and_read_back(ref: ChatRef, text: str) -> None:
    assert str(ref) == text
    assert ChatRef.from_text(text) == ref


@pytest.mark.parametrize(
    "text", ["", "4", "@", "@alice", "@4 ", "@-4", "@0", "#3(_support:)", "#3()", "@4(_support)", "@²", "%4"]
)
def test_a_text_that_names_no_chat_is_refused(text: str) -> None:
    with pytest.raises(MessageError):
        ChatRef.from_text(text)


@pytest.mark.parametrize("number", [0, -1, True, "4", 4.0, None, MAX_ID + 1])
def test_an_id_is_a_whole_number_from_1_up(number: object) -> None:
    with pytest.raises(MessageError, match="whole number"):
        ChatRef("direct", number)  # type: ignore[arg-type]


def test_only_groups_have_a_support_scope() -> None:
    with pytest.raises(MessageError, match="only a group"):
        ChatRef("direct", 4, "support")
    with pytest.raises(MessageError, match="scope='support'"):
        ChatRef("group", 4, member_id=11)
    with pytest.raises(MessageError, match="scope of a chat"):
        ChatRef("group", 4, "other")  # type: ignore[arg-type]
    with pytest.raises(MessageError, match="a chat is"):
        ChatRef("contact", 4)  # type: ignore[arg-type]
