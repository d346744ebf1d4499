"""No value of a user makes JSON unreadable, or what was read unwritable."""

from __future__ import annotations

import json

import orjson
import pytest

from cometbot.lenient_json import dump_json, load_json

_MANY = [[] for _ in range(250)]
"""Brackets that let a text count as one that may be nested too deep."""


@pytest.mark.parametrize("depth", [1, 200, 221, 222, 252, 253, 254, 1000, 20_000])
def test_what_was_read_can_be_written_inside_something_else(depth: int) -> None:
    text = json.dumps(_MANY)[:-1] + ", " + "[" * depth + "]" * depth + "]"
    value = load_json(text)
    assert value[: len(_MANY)] == _MANY
    assert orjson.loads(orjson.dumps({"user": "ann", "input": {"state": value}}))["input"]["state"] == value


def test_values_that_are_nested_deeply_but_not_too_deep_are_kept() -> None:
    text = json.dumps(_MANY)[:-1] + ", " + "[" * 200 + "]" * 200 + "]"
    assert load_json(text) == json.loads(text)


def test_text_that_is_no_json_is_an_error() -> None:
    for text in ("", "{", "nul", "[1,]", b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            load_json(text)


@pytest.mark.parametrize("value", [{"n": 2**64}, {"n": -(10**30), "text": "é\n"}, [[1, None], "x"]])
def test_whole_numbers_of_any_length_are_written_on_one_line(value: object) -> None:
    written = dump_json(value)
    assert json.loads(written) == value
    assert b"\n" not in written
