"""The `Range` header, as it is left for Werkzeug."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.wrappers import Response

from cometbot.http.ranges import simplify_range

CONTENT = b"0123456789"
SIMPLE = [
    ("bytes=0-1", "bytes=0-1"),
    ("Bytes = 4-", "bytes=4-"),
    ("bytes=,4-5 ,", "bytes=4-5"),
    ("bytes=-3", "bytes=-3"),
    ("bytes=-10", "bytes=0-"),
    ("bytes=-999", "bytes=0-"),
    ("bytes=-0", "bytes=-0"),
    ("bytes=10-", "bytes=10-"),
]
IGNORED = [
    "bytes=0-1,5-6",
    "bytes=5-6,0-1",
    "bytes=0-,0-,0-",
    "bytes=" + ",".join(["0-"] * 5000),
    "bytes=5-2",
    "bytes=-",
    "bytes=",
    "bytes",
    "bytes=a-b",
    "bytes=0-1;5-6",
    "bytes=0-" + "9" * 5000,
    "bytes=٣-٥",
    "lines=0-1",
    "",
]


def environ(header: str, **more: str) -> dict[str, Any]:
    return {"REQUEST_METHOD": "GET", "HTTP_RANGE": header, **more}


@pytest.mark.parametrize(("given", "left"), SIMPLE)
def test_one_range_of_bytes_is_left(given: str, left: str) -> None:
    made = environ(given)
    simplify_range(made, len(CONTENT))

    assert made["HTTP_RANGE"] == left


@pytest.mark.parametrize("given", IGNORED)
def test_several_ranges_and_unreadable_ones_are_ignored(given: str) -> None:
    made = environ(given)
    simplify_range(made, len(CONTENT))

    assert "HTTP_RANGE" not in made


@pytest.mark.parametrize("method", ["HEAD", "POST"])
def test_a_range_of_another_method_than_get_is_ignored(method: str) -> None:
    made = environ("bytes=0-1", REQUEST_METHOD=method)
    simplify_range(made, len(CONTENT))

    assert "HTTP_RANGE" not in made


def test_a_request_without_a_range_stays_as_it_is() -> None:
    made: dict[str, Any] = {"REQUEST_METHOD": "GET"}
    simplify_range(made, len(CONTENT))

    assert made == {"REQUEST_METHOD": "GET"}


@pytest.mark.parametrize("header", [left for _, left in SIMPLE if left not in ("bytes=-0", "bytes=10-")])
def test_werkzeug_answers_what_is_left_with_206(header: str) -> None:
    made = environ(header)
    simplify_range(made, len(CONTENT))
    response = Response(CONTENT).make_conditional(made, accept_ranges=True, complete_length=len(CONTENT))

    assert response.status_code == 206
