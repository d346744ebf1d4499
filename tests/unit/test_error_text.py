"""Causes in words that every database takes."""

from __future__ import annotations

import pytest

from cometbot.error_text import MAX_TEXT_LENGTH, describe_error, storable_text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("no such order", "no such order"),
        ("two\nlines 😀 ä", "two\nlines 😀 ä"),
        ("a\x00b", "a\ufffdb"),
        ("a\ud800b\udfff", "a\ufffdb\ufffd"),
        ("half \ud83d\ude00 and half", "half 😀 and half"),
    ],
)
def test_characters_that_cannot_be_stored_are_replaced(text: str, kept: str) -> None:
    assert storable_text(text) == kept
    assert storable_text(text).encode().decode() == kept


def test_long_text_is_truncated_with_a_count() -> None:
    assert storable_text("x" * MAX_TEXT_LENGTH) == "x" * MAX_TEXT_LENGTH
    assert storable_text("x" * (MAX_TEXT_LENGTH + 7)) == "x" * MAX_TEXT_LENGTH + "… (7 more characters)"
    assert storable_text("x" * (MAX_TEXT_LENGTH - 1) + "\ud83d\ude00").startswith(
        "x" * (MAX_TEXT_LENGTH - 1) + "\ufffd"
    )


def test_error_is_described_by_class_or_given_name() -> None:
    assert describe_error(ValueError("no\x00 order")) == "ValueError: no\ufffd order"
    assert describe_error(ValueError("no order"), "ERR_ORDER") == "ERR_ORDER: no order"


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit])
def test_error_with_a_failing_str_is_described(raised: type[BaseException]) -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise raised

    assert describe_error(Unreadable()) == "Unreadable: (its text is not available)"
