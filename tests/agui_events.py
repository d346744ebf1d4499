"""Reads the events of an AG-UI answer and asserts the protocol's rules about their order."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

JsonObject = dict[str, Any]

ENDS = ("RUN_FINISHED", "RUN_ERROR")


def read_events(answer: bytes | Iterable[bytes]) -> list[JsonObject]:
    """Return the events in the bytes of an answer. Only comments may stand between them."""
    whole = answer if isinstance(answer, bytes) else b"".join(answer)
    assert b"\r" not in whole
    assert whole.endswith(b"\n\n"), whole[-100:]
    frames = whole.decode().split("\n\n")[:-1]
    assert all(frame.startswith(("data: {", ": ")) and "\n" not in frame for frame in frames), frames
    return [json.loads(frame.removeprefix("data: ")) for frame in frames if not frame.startswith(":")]


def check_events(events: list[JsonObject]) -> None:
    """Assert the order of a whole answer: one beginning, one end, nothing open at it, ids used once, no empty piece."""
    kinds = [event["type"] for event in events]
    assert kinds[0] == "RUN_STARTED", kinds
    assert [kind for kind in kinds if kind in ENDS] == kinds[-1:], kinds
    assert kinds.count("RUN_STARTED") == 1
    open_text = open_call = ""
    messages, calls, results = set[str](), set[str](), set[str]()
    for event in events:
        match event["type"]:
            case "TEXT_MESSAGE_START":
                assert not open_text
                assert not open_call
                assert event["role"] == "assistant"
                assert event["messageId"] not in messages
                open_text = event["messageId"]
                messages.add(open_text)
            case "TEXT_MESSAGE_CONTENT":
                assert event["messageId"] == open_text
                assert event["delta"]
            case "TEXT_MESSAGE_END":
                assert event["messageId"] == open_text
                open_text = ""
            case "TOOL_CALL_START":
                assert not open_text
                assert not open_call
                assert event["toolCallId"] not in calls
                open_call = event["toolCallId"]
                calls.add(open_call)
            case "TOOL_CALL_ARGS":
                assert event["toolCallId"] == open_call
                assert isinstance(json.loads(event["delta"]), dict)
            case "TOOL_CALL_END":
                assert event["toolCallId"] == open_call
                open_call = ""
            case "TOOL_CALL_RESULT":
                assert not open_call
                assert event["toolCallId"] in calls - results
                assert event["messageId"] not in messages
                assert isinstance(event["content"], str)
                results.add(event["toolCallId"])
                messages.add(event["messageId"])
            case "CUSTOM":
                assert event["name"]
                assert "value" in event
            case kind:
                assert kind in ("RUN_STARTED", *ENDS), kind
                assert not open_text
                assert not open_call


def texts_of(events: Iterable[JsonObject]) -> list[str]:
    """Return the texts of the messages, in the order in which they began."""
    texts: dict[str, str] = {}
    for event in events:
        if event["type"] == "TEXT_MESSAGE_START":
            texts[event["messageId"]] = ""
        elif event["type"] == "TEXT_MESSAGE_CONTENT":
            texts[event["messageId"]] += event["delta"]
    return list(texts.values())
