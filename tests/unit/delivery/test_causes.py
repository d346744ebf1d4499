"""Causes in words that every database takes."""

from __future__ import annotations

import pytest

from cometbot.delivery.causes import LONGEST, describe, storable


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
def test_what_no_database_takes_is_replaced_and_all_else_is_kept(text: str, kept: str) -> None:
    assert storable(text) == kept
    assert storable(text).encode().decode() == kept


def test_a_text_is_kept_up_to_its_limit_and_what_is_left_out_is_said() -> None:
    assert storable("x" * LONGEST) == "x" * LONGEST
    assert storable("x" * (LONGEST + 7)) == "x" * LONGEST + "… (7 more characters)"
    assert storable("x" * (LONGEST - 1) + "\ud83d\ude00").startswith("x" * (LONGEST - 1) + "\ufffd")


def test_an_error_is_described_by_its_class_or_the_name_that_it_is_given() -> None:
    assert describe(ValueError("no\x00 order")) == "ValueError: no\ufffd order"
    assert describe(ValueError("no order"), "ERR_ORDER") == "ERR_ORDER: no order"


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_whose_text_cannot_be_read_is_described_all_the_same(raised: type[BaseException]) -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise raised

    assert describe(Unreadable()) == "Unreadable: (its text cannot be read)"
