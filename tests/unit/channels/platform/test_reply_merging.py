"""Several replies as one message."""

from __future__ import annotations

from cometbot.channels.platform.reply_merging import MergedReply
from cometbot.chat import ChatMessage, Scope


def message(**fields: object) -> ChatMessage:
    given: dict[str, object] = {"payload": {"body": "one"}, "metadata": None, "client_id": "c1", **fields}
    return ChatMessage(Scope("platform", "bot"), "m1", "chat", "bot", True, at=5, **given)  # type: ignore[arg-type]


def test_replies_to_one_message_are_joined_by_blank_lines() -> None:
    one = MergedReply.single("q1", "c1", "one")
    two = one.with_part("q1", "c2", "two")

    assert two is not None
    assert two.body == "one\n\ntwo"
    assert (two.part_index("c1"), two.part_index("c2"), two.part_index("c3")) == (0, 1, None)
    assert one.with_part("q2", "c2", "two") is None
    assert one.with_part("", "c2", "two") is None
    assert MergedReply.single("", "c1", "one").with_part("", "c2", "two") is None


def test_metadata_round_trips_and_old_messages_are_one_part() -> None:
    joined = MergedReply("q1", [("c1", "one"), ("c2", "two")])

    assert MergedReply.from_message(message(metadata=joined.to_metadata())) == joined
    assert MergedReply.from_message(message()) == MergedReply("", [("c1", "one")])


def test_a_part_has_a_name_of_its_own() -> None:
    assert [MergedReply.part_id("m1", part) for part in (0, 1, 2)] == ["m1", "m1#1", "m1#2"]
    assert [MergedReply.split_part_id(name) for name in ("m1", "m1#2", "m1#", "m1#x")] == [
        ("m1", 0),
        ("m1", 2),
        ("m1", 0),
        ("m1", 0),
    ]


def test_a_part_can_say_something_else_or_nothing() -> None:
    joined = MergedReply("q1", [("c1", "one"), ("c2", "two")])

    assert joined.with_body(1, "TWO").body == "one\n\nTWO"
    assert joined.with_body(0, "").body == "two"
    assert joined.with_body(0, "").with_body(1, "").body == ""
