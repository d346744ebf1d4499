"""What all channels share: keys that every database takes, and long texts in parts."""

from __future__ import annotations

import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.channels.base import LONGEST_KEY, Incoming, split_text
from cometbot.models import Conversation

HERE = Conversation("cometchat", "app", "helpdesk", "group_ops", "ops", is_group=True)
WORDS = st.sampled_from(["order", "Straße", "naïve", "ok", '"quoted"', "`code`", "вопрос", "a", "88,", "end.", "Why?"])
LINES = st.lists(WORDS, min_size=1, max_size=25).map(" ".join)
BREAKS = st.sampled_from([" ", "\n", "\n\n", "\n- ", "\n\n## ", "\n\n```python\n", "\n```\n\n"])
PROSE = st.lists(st.tuples(LINES, BREAKS).map("".join), min_size=1, max_size=40).map("".join)


def key_of(key: str) -> str:
    return Incoming(HERE, key, b"{}").key


def json_size(text: str) -> int:
    return len(orjson.dumps(text)) - 2


@pytest.mark.parametrize(
    "key",
    [
        "message:90430",
        "edit:90430:1767225690",
        "reaction:712:maria:👨‍👩‍👧:added:5",
        "member:büro:scope_changed:jürgen,müller:0a1b",
        "message:" + "\U0002a6df" * 255,
        "",
    ],
)
def test_a_usual_key_stays_as_it_is(key: str) -> None:
    assert key_of(key) == key


@pytest.mark.parametrize(
    "key",
    [
        "call:a\0b:ended",
        "call:a\nb:ended",
        "call:\x7f:ended",
        "call:\ud800:ended",
        "call:" + "x" * LONGEST_KEY,
        "call:" + "\U0002a6df" * (LONGEST_KEY // 4),
    ],
)
def test_a_key_that_no_index_takes_is_told_by_its_hash(key: str) -> None:
    made = key_of(key)
    assert re.fullmatch("call:[0-9a-f]{64}", made)
    assert key_of(key) == made
    assert key_of(made) == made
    assert key_of(key + "!") != made


def test_the_kind_of_a_key_is_not_kept_where_it_is_odd_itself() -> None:
    for kind in ("a\0b", "x" * 5000, "\U0002a6df" * 5000):
        assert re.fullmatch("[0-9a-f]{64}", key_of(f"{kind}:1"))


@given(PROSE, st.integers(100, 400))
def test_parts_of_a_long_text_hold_all_of_it_and_only_the_last_is_short(text: str, limit: int) -> None:
    for size in (lambda part: len(part.encode()), json_size):
        parts = split_text(text, limit, size)
        assert "".join("".join(parts).split()) == "".join(text.split())
        assert all(0 < size(part) <= limit for part in parts)
        assert all(size(part) >= limit // 3 for part in parts[:-1])


@given(st.text(min_size=1, max_size=300), st.integers(10, 50))
def test_any_text_is_split_without_loss(text: str, limit: int) -> None:
    parts = split_text(text, limit, json_size)
    assert all(json_size(part) <= limit for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a" * 60 + "\n\n" + "b" * 10 + "\n" + "c" * 60, "a" * 60),
        ("a" * 60 + "\n" + "b. " * 30, "a" * 60),
        ("a" * 60 + ". " + "b " * 40, "a" * 60 + "."),
        ("a" * 60 + " " + "b" * 60, "a" * 60),
        ("a" * 150, "a" * 100),
    ],
)
def test_a_part_ends_at_the_best_place_in_its_last_half(text: str, first: str) -> None:
    assert split_text(text, 100)[0] == first


def test_the_half_is_one_of_bytes_where_letters_differ_in_size() -> None:
    text = "a" * 49 + " " + "语" * 30 + " " + "语" * 60
    assert split_text(text, 150)[0] == "a" * 49 + " " + "语" * 30


def test_a_character_that_is_larger_than_the_limit_is_not_cut() -> None:
    assert split_text("👍👍", 3) == ["👍", "👍"]
