"""Patterns of form fields: those that could take long for some text are refused."""

from __future__ import annotations

import re
import time

import pytest

from cometbot.pattern_cost import check_pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "[A-Z]{1,3}-[0-9]+",
        r"\d+(\.\d{2})?",
        "(?i:[a-z]+)-[a-z]+",
        "(Mr|Mrs|Dr)? ?[A-Z][a-z]*",
        r"(\d{3}-)*\d{4}",
        r"#(?P<code>[0-9a-f]{6})$",
        ".*",
        "",
    ],
)
def test_fast_pattern_is_accepted(pattern: str) -> None:
    check_pattern(pattern, 1000)


@pytest.mark.parametrize(
    "pattern", ["(a+)+b", "(a|a)*b", "(a?){50}a{50}", r"(\w+\s?)*", "a*a*a*b", "(([a-z])+.)+[A-Z]", "(x+x+)+y"]
)
def test_slow_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="fast for any text of 1000 characters"):
        check_pattern(pattern, 1000)


def test_short_text_makes_a_pattern_fast() -> None:
    check_pattern("a*a*a*b", 90)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "unterminated subpattern"),
        ("*", "nothing to repeat"),
        (r"(a)\1", "got groupref"),
        ("(?=a)a", "got assert"),
        ("(?<!a)b", "got assert_not"),
        ("(" * 5000, "regular expression"),
    ],
)
def test_other_pattern_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_pattern(pattern, 1000)


@pytest.mark.parametrize("pattern", [r"[^@]+@[^@]+", "(a|b|ab)?.*x.*y", r"\d*\.?\d*"])
@pytest.mark.parametrize("text", ["a", "@", "x", "xy", "1", "1.", "ab"])
def test_accepted_pattern_is_fast_for_any_text(pattern: str, text: str) -> None:
    check_pattern(pattern, 300)
    begun = time.thread_time()
    re.fullmatch(pattern, text * (300 // len(text)) + "!")
    assert time.thread_time() - begun < 0.5
