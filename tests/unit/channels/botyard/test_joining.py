"""Several replies as one message."""

from __future__ import annotations

from cometbot.channels.botyard.joining import Joined
from cometbot.chat import ChatMessage, Scope


def message(**fields: object) -> ChatMessage:
    given: dict[str, object] = {"payload": {"body": "one"}, "metadata": None, "client_id": "c1", **fields}
    return ChatMessage(Scope("botyard", "bot"), "m1", "chat", "bot", True, at=5, **given)  # type: ignore[arg-type]


def test_parts_that_answer_the_same_are_one_text_with_empty_lines_between() -> None:
    one = Joined.first("q1", "c1", "one")
    two = one.with_part("q1", "c2", "two")

    assert two is not None
    assert two.body == "one\n\ntwo"
    assert (two.place("c1"), two.place("c2"), two.place("c3")) == (0, 1, None)
    assert one.with_part("q2", "c2", "two") is None
    assert one.with_part("", "c2", "two") is None
    assert Joined.first("", "c1", "one").with_part("", "c2", "two") is None


def test_what_is_kept_is_read_back_and_what_was_kept_before_is_one_part() -> None:
    joined = Joined("q1", [("c1", "one"), ("c2", "two")])

    assert Joined.of(message(metadata=joined.to_metadata())) == joined
    assert Joined.of(message()) == Joined("", [("c1", "one")])


def test_a_part_has_a_name_of_its_own() -> None:
    assert [Joined.name("m1", part) for part in (0, 1, 2)] == ["m1", "m1#1", "m1#2"]
    assert [Joined.split(name) for name in ("m1", "m1#2", "m1#", "m1#x")] == [
        ("m1", 0),
        ("m1", 2),
        ("m1", 0),
        ("m1", 0),
    ]


def test_a_part_can_say_something_else_or_nothing() -> None:
    joined = Joined("q1", [("c1", "one"), ("c2", "two")])

    assert joined.with_body(1, "TWO").body == "one\n\nTWO"
    assert joined.without(0).body == "two"
    assert joined.without(0).without(1).body == ""
