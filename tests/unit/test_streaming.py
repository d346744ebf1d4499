"""Updates of a streamed text: which there are, and how many bytes they have together."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from cometbot import streaming
from cometbot.splitting import utf8_size
from cometbot.streaming import MAX_DELTA_LENGTH, DeltaBuffer, PreviewThrottle

LONG = "Grüße an alle, die lange Antworten lesen. " * 340
"""About 14 kB, as a language model writes it."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Advance the clock by a second at each reading."""
    seconds = itertools.count()
    monkeypatch.setattr(streaming, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


def previews_of(text: str, step: int, interval: float = 0.0) -> list[str]:
    edits = PreviewThrottle(interval)
    return [shown for end in range(step, len(text) + 1, step) if (shown := edits.next_text(text[:end]))]


@pytest.mark.parametrize("step", [1, 4, 50, 3000])
def test_edits_of_a_long_text_have_no_more_bytes_than_it(step: int) -> None:
    shown = previews_of(LONG, step)

    assert sum(map(utf8_size, shown)) <= utf8_size(LONG)
    assert all(LONG.startswith(text.rstrip()) for text in shown)
    assert all(utf8_size(one) < utf8_size(other) for one, other in itertools.pairwise(shown))


def test_edits_of_a_long_text_go_on_until_its_second_half() -> None:
    assert len(previews_of(LONG, 4)) >= 8
    assert utf8_size(previews_of(LONG, 4)[-1]) > utf8_size(LONG) / 8


@pytest.mark.parametrize("size", range(1, 120))
def test_edits_of_a_short_text_are_bounded_too(size: int) -> None:
    shown = previews_of("x" * size, 1)

    assert shown[0] == "x"
    assert sum(map(len, shown)) <= size


def test_edits_wait_for_the_interval() -> None:
    assert previews_of("x" * 10, 1, interval=3.0) == ["x", "xxx", "xxxxxx"]
    assert previews_of("x" * 10, 1, interval=30.0) == ["x"]


def test_pieces_are_the_text_once_and_become_longer_with_it() -> None:
    pieces = DeltaBuffer(0.0)
    shown = [piece for start in range(0, len(LONG), 4) for piece in pieces.add(LONG[start : start + 4])]
    shown += pieces.flush()

    assert "".join(shown) == LONG
    assert len(shown) <= 60
    assert max(map(len, shown)) <= MAX_DELTA_LENGTH
    assert pieces.flush() == []


def test_pieces_begin_with_the_first_letter() -> None:
    pieces = DeltaBuffer(0.0)

    assert [pieces.add(part) for part in ("", " ", "\n", "a")] == [[], [], [], [" \na"]]


def test_pieces_wait_for_the_interval() -> None:
    pieces = DeltaBuffer(3.0)

    assert [pieces.add(part) for part in "abcde"] == [["a"], [], [], ["bcd"], []]
    assert pieces.flush() == ["e"]
