"""Frames in every shape that a CLI gave them."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.channels.simplex.protocol import Command, Record, decode_frame, encode_command
from tests.simplex_reference import EVENTS, RESPONSES, UNDOCUMENTED_EVENTS, example

OK: dict[str, Any] = {"type": "cmdOk", "user_": {"userId": 1}}
CHAT_ERROR = {"type": "error", "errorType": {"type": "commandError", "message": "Failed reading: empty"}}
FAILED = {"type": "chatCmdError", "chatError": CHAT_ERROR}


@pytest.mark.parametrize(
    ("frame", "corr_id", "record"),
    [
        ({"corrId": "7", "resp": OK}, "7", OK),
        ({"corrId": "7", "resp": {"Right": OK}}, "7", OK),
        ({"corrId": "7", "resp": {"Left": FAILED}}, "7", FAILED),
        ({"corrId": "7", "remoteHostId": 1, "resp": OK}, "7", OK),
        ({"corrId": "7", "remoteHostId": None, "resp": {"Right": OK}}, "7", OK),
        ({"result": OK}, "", OK),
        ({"error": CHAT_ERROR}, "", FAILED),
        ({"resp": OK}, "", OK),
        ({"corrId": None, "resp": OK}, "", OK),
        ({"corrId": "", "resp": OK}, "", OK),
        ({"corrId": 7, "resp": OK}, "", OK),
        (
            {"resp": {"Left": {"type": "chatError", "chatError": CHAT_ERROR}}},
            "",
            {"type": "chatError", "chatError": CHAT_ERROR},
        ),
        ({"resp": {"type": "neverHeardOf", "Right": OK}}, "", {"type": "neverHeardOf", "Right": OK}),
    ],
)
def test_a_frame_is_read_in_every_shape(frame: object, corr_id: str, record: dict[str, Any]) -> None:
    for data in (json.dumps(frame), json.dumps(frame).encode()):
        found = decode_frame(data)
        assert found.corr_id == corr_id
        assert found.record is not None
        assert (found.record.type, found.record.raw, found.problem) == (record["type"], record, "")


@pytest.mark.parametrize(
    ("data", "corr_id", "problem"),
    [
        ("", "", "no JSON"),
        ("hello", "", "no JSON"),
        ('{"corrId":"7","resp":{"type":', "", "no JSON"),
        (b"\xff\xfe\x00", "", "no JSON"),
        ("[" * 100_000, "", "no JSON"),
        ("[]", "", "no object"),
        ("5", "", "no object"),
        ("null", "", "no object"),
        ("{}", "", "no resp"),
        ('{"corrId":"7"}', "7", "no resp"),
        ('{"corrId":"7","resp":null}', "7", "no resp"),
        ('{"corrId":"7","resp":{}}', "7", "no record"),
        ('{"corrId":"7","resp":{"type":5}}', "7", "no record"),
        ('{"corrId":"7","resp":{"type":""}}', "7", "no record"),
        ('{"corrId":"7","resp":"ok"}', "7", "no record"),
        ('{"corrId":"7","resp":{"Right":{"Right":{"type":"cmdOk"}}}}', "7", "no record"),
        ('{"resp":{"_owsf":true,"newChatItems":{}}}', "", "no record"),
    ],
)
def test_unreadable_frame_has_a_problem(data: str | bytes, corr_id: str, problem: str) -> None:
    frame = decode_frame(data)
    assert frame.record is None
    assert frame.corr_id == corr_id
    assert problem in frame.problem


@given(
    st.one_of(
        st.text(),
        st.binary(),
        st.builds(
            json.dumps,
            st.recursive(
                st.none() | st.text(max_size=5) | st.integers(),
                lambda inner: (
                    st.lists(inner)
                    | st.dictionaries(
                        st.sampled_from(["corrId", "resp", "type", "Right", "Left", "error", "result"]), inner
                    )
                ),
                max_leaves=8,
            ),
        ),
    )
)
def test_no_frame_makes_the_reader_raise(data: str | bytes) -> None:
    frame = decode_frame(data)
    assert (frame.record is None) == bool(frame.problem)


@pytest.mark.parametrize(
    ("kind", "tag"), [("responses", tag) for tag in RESPONSES] + [("events", tag) for tag in EVENTS]
)
@pytest.mark.parametrize("form", ["flat", "either"])
def test_every_documented_record_goes_through_unchanged(kind: str, tag: str, form: str) -> None:
    whole = example(tag, kind)
    side = "Left" if tag in ("chatCmdError", "chatError") else "Right"
    frame = decode_frame(json.dumps({"corrId": "1", "resp": whole if form == "flat" else {side: whole}}))
    assert frame.record is not None
    assert frame.record.type == tag
    assert json.loads(json.dumps(frame.record.raw)) == whole
    assert Record.from_object(json.loads(json.dumps(whole))) == frame.record
    assert frame.record.is_error == (tag == "chatCmdError")


@pytest.mark.parametrize("tag", UNDOCUMENTED_EVENTS)
def test_undocumented_events_are_records(tag: str) -> None:
    frame = decode_frame(json.dumps({"resp": {"type": tag, "user": {"userId": 1}}}))
    assert frame.record == Record(tag, {"type": tag, "user": {"userId": 1}})
    assert not frame.record.is_error


def test_a_record_names_its_profile() -> None:
    for tag in EVENTS:
        record = Record.from_object(example(tag))
        assert record is not None
        assert record.user_id == (1 if "user" in EVENTS[tag]["fields"] else None)
    assert Record("cmdOk", OK).user_id == 1
    assert Record("x", {"user": 5}).user_id is None


def test_command_is_encoded_as_one_json_object() -> None:
    text = encode_command("9", Command.raw('/_x json {"text":"say \\"hi\\"\\nnow"}'))
    assert text == '{"corrId":"9","cmd":"/_x json {\\"text\\":\\"say \\\\\\"hi\\\\\\"\\\\nnow\\"}"}'
    assert json.loads(json.loads(text)["cmd"].partition("json ")[2]) == {"text": 'say "hi"\nnow'}


@pytest.mark.parametrize("depth", [300, 1000, 1100, 20_000])
def test_deeply_nested_value_becomes_null(depth: int) -> None:
    deep = "[" * depth + '"]\\"[{"' + "]" * depth
    record = '{"type":"apiChat","deep":{"it":' + deep + '},"after":{"text":"}]\\"["}}'
    frame = decode_frame(f'{{"corrId":"7","resp":{record}}}')

    assert frame.record is not None
    assert (frame.corr_id, frame.record.type) == ("7", "apiChat")
    assert frame.record.raw["after"] == {"text": '}]"['}
    assert orjson.loads(orjson.dumps(frame.record.raw)) == frame.record.raw


def test_what_is_deep_and_no_json_is_none() -> None:
    assert decode_frame('{"corrId":"7","resp":' + "[" * 2000).record is None


@pytest.mark.parametrize(
    "odd", ["1e400", "-1e400", "9" * 5000, '"\\ud800"', '"a\\udc00b"', '{"\\ud800": 1}', "[1e999, 5, 0.5]"]
)
def test_unparsable_value_does_not_lose_the_answer(odd: str) -> None:
    frame = decode_frame('{"corrId":"7","resp":{"type":"apiChat","odd":' + odd + ',"text":"\\ud83d\\ude00","n":-5}}')

    assert frame.record is not None
    assert (frame.corr_id, frame.record.raw["text"], frame.record.raw["n"]) == ("7", "😀", -5)
    assert orjson.loads(orjson.dumps(frame.record.raw))["n"] == -5
