"""Long texts are cut between characters as readers see them, with code fences closed and opened again."""

from __future__ import annotations

import time
from collections.abc import Callable

import orjson
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from cometbot.splitting import split_text

WORDS = st.sampled_from(["order", "Straße", "naïve", "ok", '"quoted"', "`code`", "вопрос", "a", "88,", "end.", "Why?"])
LINES = st.lists(WORDS, min_size=1, max_size=25).map(" ".join)
BREAKS = st.sampled_from([" ", "\n", "\n\n", "\n- ", "\n\n## "])
PROSE = st.lists(st.tuples(LINES, BREAKS).map("".join), min_size=1, max_size=40).map("".join)
CODE = st.lists(
    st.sampled_from(["x = 1", "    return x", "", "# a long comment. With a sentence"]), min_size=1, max_size=40
)
BLOCKS = st.tuples(st.sampled_from(["```", "```python", "~~~", "````"]), CODE)

CLUSTERS = [
    "👨\u200d👩\u200d👧\u200d👦",
    "🇩🇪",
    "👍🏽",
    "e\u0301\u0301\u0301",
    "\u1112\u1161\u11ab",
    "क्षि",
    "1\ufe0f\u20e3",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "\r\n-",
]


def characters(text: str) -> int:
    return len(text)


def utf8_bytes(text: str) -> int:
    return len(text.encode())


def json_size(text: str) -> int:
    return len(orjson.dumps(text)) - 2


SIZES = (characters, utf8_bytes, json_size)


@given(PROSE, st.integers(100, 400))
def test_parts_hold_whole_text_and_only_last_is_short(text: str, limit: int) -> None:
    for size in SIZES:
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


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("limit", [64, 100, 999])
def test_parts_end_between_clusters(cluster: str, size: Callable[[str], int], limit: int) -> None:
    text = cluster * 500
    parts = split_text(text, limit, size)

    assert all(size(part) <= limit for part in parts)
    assert [found for part in parts for found in clusters(part)] == clusters(text)


def clusters(text: str) -> list[str]:
    return [found for found in regex.findall(r"\X", text) if not found.isspace()]


def test_cluster_over_the_limit_is_cut_between_code_points() -> None:
    text = "Z" + "\u0336" * 1000
    parts = split_text(text, 100)

    assert "".join(parts) == text
    assert max(map(utf8_bytes, parts)) <= 100


def test_mark_on_a_space_stays_on_it() -> None:
    parts = split_text("word \u0301" * 100, 100, characters)

    assert not any(part.startswith("\u0301") for part in parts)


@given(st.lists(st.tuples(LINES, BLOCKS), min_size=1, max_size=6), st.integers(120, 400))
def test_code_blocks_are_closed_and_opened_again(said: list[tuple[str, tuple[str, list[str]]]], limit: int) -> None:
    text = "\n\n".join(
        f"{prose}\n\n{mark}\n" + "\n".join(code) + f"\n{mark.removesuffix('python')}" for prose, (mark, code) in said
    )
    for size in SIZES:
        parts = split_text(text, limit, size)
        assert all(size(part) <= limit for part in parts)
        assert all(sum(line.startswith(("```", "~~~")) for line in part.split("\n")) % 2 == 0 for part in parts)
        assert code_lines("\n".join(parts)) == code_lines(text)


def code_lines(text: str) -> list[str]:
    """The lines with code in ``text``, indentation included."""
    return [line for line in text.split("\n") if line in ("x = 1", "    return x")]


def test_code_goes_on_in_its_language() -> None:
    text = "Look:\n\n```python\n" + "    return 1\n" * 20 + "```\nDone."
    parts = split_text(text, 120, characters)

    assert parts[0].startswith("Look:\n\n```python\n    return 1\n")
    assert all(part.startswith("```python\n    return 1\n") for part in parts[1:])
    assert all(part.endswith("    return 1\n```") for part in parts[:-1])
    assert parts[-1].endswith("```\nDone.")
    assert sum(part.count("return 1") for part in parts) == 20


def test_part_does_not_end_with_the_first_line_of_a_block() -> None:
    text = "a" * 80 + "\n```\n" + "b" * 50 + "\n```"

    assert split_text(text, 90, characters) == ["a" * 80, "```\n" + "b" * 50 + "\n```"]


def test_closing_fence_does_not_open_an_empty_block() -> None:
    text = "```\n" + "b" * 90 + "\n```\nafter " + "c" * 60

    assert split_text(text, 100, characters)[1] == "after " + "c" * 60


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "piece", ["x ", "x", "👍🏽", "\u0336", "\n", " ", "```\n", "~~~ a\n", " \u0301", ". ", "\n\n ``"]
)
def test_time_grows_with_the_length(piece: str, size: Callable[[str], int]) -> None:
    text = piece * (400_000 // len(piece))

    def fastest(length: int) -> float:
        rounds = []
        for _ in range(3):
            begun = time.thread_time()
            split_text(text[:length], 4000, size)
            rounds.append(time.thread_time() - begun)
        return min(rounds)

    slow = fastest(400_000)
    assert slow < 0.05 or slow < 24 * fastest(50_000)  # 8 times the text; what is quadratic takes 64 times as long
