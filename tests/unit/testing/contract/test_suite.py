"""The table of capabilities says what a channel makes of each kind of message."""

from __future__ import annotations

from cometbot.messages import MESSAGE_CLASSES
from cometbot.testing import EVERYTHING, TEXT_ONLY, FakeChannel
from cometbot.testing.contract import capability_table
from cometbot.testing.contract.suite import capability_rows
from cometbot.testing.plugin import format_table


def test_a_channel_that_shows_everything_says_so() -> None:
    rows = capability_rows(EVERYTHING)

    assert {rows[kind.__name__] for kind in MESSAGE_CLASSES} == {"shown"}
    assert (rows["edit"], rows["threads"], rows["stream"]) == ("yes", "yes", "live, every 0 s")
    assert (rows["tools of clients"], rows["tool calls"]) == ("yes", "shown")


def test_capability_rows_of_a_text_only_channel() -> None:
    rows = capability_rows(TEXT_ONLY)

    assert (rows["Text"], rows["Card"], rows["text in one message"]) == ("shown", "as text", "4000 bytes")
    assert (rows["edit"], rows["delete"], rows["stream"]) == ("sends it again", "no", "when complete")
    assert (rows["tools of clients"], rows["tool calls"]) == ("no", "no")


def test_the_table_is_markdown_with_a_column_a_channel() -> None:
    lines = capability_table([FakeChannel()]).splitlines()

    assert lines[0].split() == ["|", "|", "fake", "|"]
    assert set(lines[1]) == {"|", "-", " "}
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == 2 + len(capability_rows(EVERYTHING))


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert format_table({"a": {"row": "long cell"}, "b": {"row": "x"}}) == (
        "|     | a         | b |\n| --- | --------- | - |\n| row | long cell | x |"
    )


def test_a_table_of_nothing_is_empty_but_for_its_frame() -> None:
    assert format_table({}) == "|  |\n|  |"
