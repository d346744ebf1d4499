"""Events are read from a stream in pieces of any size."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.errors import OutcomeUnknown
from cometbot.http.sse_parser import SseParser

FRAMES = (
    b":\n\n"
    b'event: message\ndata: {"a": "\xc3\xa9\xe2\x80\xa8"}\n\n'
    b"event: other\ndata: lost\n\n"
    b"data: no name\r\n\r\n"
    b"data:first\ndata: second\nid: 7\nretry: 9\nodd\n\n"
    b"event: message\n\n"
    b"data: ping\n\n"
    b"data: not whole\n"
)
EXPECTED = ['{"a": "é\u2028"}', "no name", "first\nsecond", "ping"]


@given(st.lists(st.integers(0, len(FRAMES)), max_size=10))
def test_events_are_read_however_the_stream_is_cut(cuts: list[int]) -> None:
    reader = SseParser()
    places = [0, *sorted(cuts), len(FRAMES)]
    found = [data for start, end in itertools.pairwise(places) for data in reader.feed(FRAMES[start:end])]
    assert found == EXPECTED


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 60, b"data: xxxxxxxx\n" * 10])
def test_an_event_without_an_end_is_not_kept_for_ever(piece: bytes) -> None:
    with pytest.raises(OutcomeUnknown, match="50 bytes"):
        SseParser(limit=50).feed(piece)
