"""Which bodies are read as a JSON object, and as which one."""

from __future__ import annotations

import copy
import json
from typing import Any

import orjson
import pytest

from cometbot.channels.cometchat.json_body import read_body
from cometbot.errors import PayloadError
from cometbot.json_depth import MAX_DEPTH


@pytest.mark.parametrize(
    "body",
    [
        b"", b"   ", b"hi", b"[]", b'"text"', b"{", b"null", b"{}{}", b'{"a":"\x00"}', b'{"a":nan}', b"\xef\xbb\xbf",
        b"\xef\xbb\xbf[]", b'{"a":"\\', b'{"a":"\\"}', b'"' * 1001, b'\\"' * 1000, b'{"a":' * 5000, b"]" * 5000,
        b"[1" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        read_body(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"\xef\xbb\xbf{}", {}),
        ('{"a":"\u00e4"}'.encode("utf-16"), {"a": "\u00e4"}),
        (b'{"a":NaN,"b":[-Infinity]}', {"a": None, "b": [None]}),
        (b'{"a":1e999,"b":-1e999}', {"a": None, "b": None}),
        (b'{"a":"\\ud83d"}', {"a": "\ufffd"}),
        (b'{"a":"\\ude00\\ud83d\\ude00\\ud83d"}', {"a": "\ufffd\U0001f600\ufffd"}),
        (b'{"\\ud83d":1}', {"\ufffd": 1}),
        (b'{"a":"\xff"}', {"a": "\ufffd"}),
        (b'{"a":NaN,"a":2}', {"a": 2}),
        (b'{"a":1,"\\u0061":"\\ud83d"}', {"a": "\ufffd"}),
        (b'{"a":NaN,"b":"[{\\"]}"}', {"a": None, "b": '[{"]}'}),
    ],
)
def test_what_a_strict_parser_refuses_is_read(body: bytes, value: Any) -> None:
    payload, stored = read_body(body)
    assert payload == value
    assert orjson.loads(stored) == json.loads(stored) == value


def test_what_any_parser_reads_is_stored_as_it_came() -> None:
    body = b'{ "b": 1, "b": 2, "a": [1.0] }'
    assert read_body(body) == ({"b": 2, "a": [1.0]}, body)


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 2000, 100_000])
def test_what_is_nested_too_deeply_is_null(depth: int) -> None:
    payload = read_body(b'{"a":' + b"[" * depth + b"]" * depth + b',"b":NaN,"c":3}')[0]
    assert (payload["b"], payload["c"]) == (None, 3)
    levels, value = 0, payload["a"]
    while value:
        levels, value = levels + 1, value[0]
    assert levels <= MAX_DEPTH


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 500, 1000])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_deep_strict_json_can_be_copied_and_written(depth: int, encoding: str) -> None:
    text = '{"a":' + "[" * depth + '"]}\u00e4"' + "]" * depth + ',"b":"\u00e4"}'
    payload, stored = read_body(text.encode(encoding))
    assert payload["b"] == "\u00e4"
    assert orjson.loads(stored) == payload == copy.deepcopy(payload)
    assert json.loads(json.dumps(payload, indent=1)) == orjson.loads(orjson.dumps(payload)) == payload


def test_many_shallow_brackets_are_preserved() -> None:
    body = b'{"a":[' + b"[],{}," * MAX_DEPTH + b'1],"b":"' + b"[{" * MAX_DEPTH + b'"}'
    assert read_body(body) == (orjson.loads(body), body)


def test_numbers_of_any_length_are_read_alike() -> None:
    digits = b"1" * 30
    assert read_body(b'{"a":' + digits + b"}")[0] == read_body(b'{"a":' + digits + b',"a":' + digits + b"}")[0]
    assert read_body(b'{"n":NaN,"a":' + digits + b"}")[0]["a"] == read_body(b'{"a":' + digits + b"}")[0]["a"]
    assert read_body(b'{"n":NaN,"a":' + b"1" * 100_000 + b"}")[0]["a"] is None
