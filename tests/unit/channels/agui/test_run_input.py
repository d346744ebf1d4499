"""What comes in as ``RunAgentInput``: both forms are read, and nothing that is odd is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.channels.agui import schemas
from cometbot.channels.agui.run_input import InputMessage, ResumeEntry, RunInput
from cometbot.channels.agui.schemas import MAX_CLIENT_TOOLS, read_input
from cometbot.models import Attachment, ClientTool

PLAIN_KEY = re.compile(r"(?:message|resume|tool):[A-Za-z0-9._:-]{1,300}")

USER = {"id": "u1", "role": "user", "content": "hello"}
ANSWER = {"id": "a1", "role": "assistant", "content": "Hi!"}
NEXT = {"id": "u2", "role": "user", "content": "and now?"}

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner))
TEXT = st.text(max_size=20) | VALUES
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["text", "image", "audio", "video", "document", "binary", "hologram"]) | VALUES,
        "text": TEXT,
        "url": TEXT,
        "data": TEXT,
        "mimeType": TEXT,
        "filename": TEXT,
        "source": st.fixed_dictionaries({}, optional={"type": TEXT, "value": TEXT, "mimeType": TEXT}) | VALUES,
    },
)
ROLES = st.sampled_from(["user", "assistant", "system", "developer", "tool", "activity", "reasoning", "oracle"])
MESSAGES = st.fixed_dictionaries(
    {}, optional={"role": ROLES | VALUES, "id": TEXT, "content": TEXT | st.lists(PARTS), "toolCallId": TEXT}
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "threadId": TEXT,
        "runId": TEXT,
        "messages": st.lists(MESSAGES | VALUES, max_size=5) | VALUES,
        "tools": st.lists(st.fixed_dictionaries({}, optional={"name": TEXT, "parameters": VALUES}) | VALUES) | VALUES,
        "resume": st.lists(st.fixed_dictionaries({}, optional={"interruptId": TEXT, "payload": VALUES}) | VALUES)
        | VALUES,
        "protocolVersion": TEXT,
        "parentRunId": VALUES,
        "state": VALUES,
        "context": VALUES,
        "forwardedProps": VALUES,
    },
)


def request(*messages: object, **more: Any) -> RunInput:
    return read_input({"threadId": "t", "runId": "r", "messages": list(messages), **more})


def content(value: object) -> InputMessage:
    """Return a user's message with this content."""
    return request({"id": "u", "role": "user", "content": value}).messages[0]


def test_older_form_with_empty_lists_is_a_message() -> None:
    found = request(USER, tools=[], context=[], state={}, forwardedProps={})
    assert (found.thread_id, found.run_id, found.kind, found.is_versioned) == ("t", "r", "message", False)
    assert found.messages == (InputMessage("user", "u1", "hello"),)
    assert (found.tools, found.resume) == ((), ())


def test_form_of_version_1_has_tools_and_a_version() -> None:
    schema = {"type": "object", "properties": {"place": {"type": "string"}}}
    tools = [{"name": "show_map", "description": "Shows a map.", "parameters": schema}]
    found = request(USER, tools=tools, protocolVersion="1.0")
    assert found.is_versioned
    assert found.tools == (ClientTool("show_map", "Shows a map.", schema),)


@pytest.mark.parametrize(
    ("value", "text", "files"),
    [
        ("plain", "plain", []),
        ([{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "one\ntwo", []),
        (
            [{"type": "image", "source": {"type": "url", "value": "https://a.example/b.png", "mimeType": "image/png"}}],
            "",
            [Attachment("https://a.example/b.png", "", "image/png")],
        ),
        (
            [{"type": "document", "source": {"type": "data", "value": "JVBERg==", "mimeType": "application/pdf"}}],
            "",
            [Attachment("data:application/pdf;base64,JVBERg==", "", "application/pdf")],
        ),
        (
            [{"type": "binary", "mimeType": "image/png", "url": "https://a.example/b.png", "filename": "b.png"}],
            "",
            [Attachment("https://a.example/b.png", "b.png", "image/png")],
        ),
        (
            [{"type": "binary", "mimeType": "image/png", "data": "iVBORw=="}],
            "",
            [Attachment("data:image/png;base64,iVBORw==", "", "image/png")],
        ),
        ([{"type": "image", "source": {"type": "file", "value": "file-7"}}], "", []),
        ([{"type": "hologram", "text": "not shown"}, {"type": "text", "text": "shown"}, 7, None], "shown", []),
        ("a\0b", "a\ufffdb", []),
        (None, "", []),
        (7, "", []),
        ({"text": "x"}, "", []),
        ([[{"type": "text", "text": "nested"}]], "", []),
    ],
)
def test_content_is_a_text_or_parts(value: object, text: str, files: list[Attachment]) -> None:
    message = content(value)
    assert (message.text, list(message.attachments)) == (text, files)


@pytest.mark.parametrize("name", ["threadId", "runId", "messages", "tools", "resume", "protocolVersion"])
@pytest.mark.parametrize("value", [None, True, 7, 1.5, [[]], {"a": 1}, [None, 1, "x"]])
def test_member_of_another_type_is_absent(name: str, value: object) -> None:
    whole = {"threadId": "t", "runId": "r", "messages": [USER]}
    absent = read_input({key: item for key, item in whole.items() if key != name})
    assert read_input({**whole, name: value}) == absent


def test_messages_that_are_none_are_left_out() -> None:
    found = request(7, None, [], "x", USER)
    assert [message.text for message in found.messages] == ["hello"]


@pytest.mark.parametrize("messages", [[], [ANSWER], [{"role": "system", "content": "x"}, {"role": "oracle"}]])
def test_request_without_a_message_of_the_user_is_for_nothing(messages: list[Any]) -> None:
    found = request(*messages)
    assert (found.kind, found.event_key) == (None, "")


def test_result_of_a_tool_goes_before_the_message_that_called_it() -> None:
    found = request(USER, ANSWER, {"role": "tool", "toolCallId": "m1.0.2", "content": "{}"})
    assert (found.kind, found.event_key) == ("tool", "tool:t:m1.0.2")
    assert request(USER, {"role": "tool", "content": "no id"}).kind == "message"
    assert request({"role": "tool", "toolCallId": "m1.0.2", "content": "{}"}, USER).kind == "message"


def test_answer_to_an_interrupt_goes_before_messages() -> None:
    resume = [{"interruptId": "m1.0.2", "status": "resolved", "payload": {"size": "M"}}, {"status": "resolved"}]
    found = request(USER, resume=resume)
    assert (found.kind, found.event_key.rpartition(":")[0]) == ("resume", "resume:t:m1.0.2")
    assert found.resume == (ResumeEntry("m1.0.2", False, {"size": "M"}),)
    assert request(USER, resume=[{"interruptId": "i", "status": "cancelled"}]).resume[0].is_cancelled


def test_another_answer_to_an_interrupt_is_another_request() -> None:
    entry = {"interruptId": "m1.0.2", "status": "resolved", "payload": {"a": 1, "b": 2}}
    same = {**entry, "payload": {"b": 2, "a": 1}}
    others = [{**entry, "payload": "M"}, {**entry, "payload": None}, {**entry, "status": "cancelled"}]
    keys = [request(USER, resume=[given]).event_key for given in (entry, same, *others)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == len(keys) - 1


def test_key_does_not_depend_on_the_clients_ids() -> None:
    numbered = [{**message, "id": f"new-{number}"} for number, message in enumerate((USER, ANSWER, NEXT))]
    assert request(USER, ANSWER, NEXT).event_key == request(*numbered, runId="another").event_key


def test_key_depends_on_everything_up_to_the_message() -> None:
    other_thread = read_input({"threadId": "u", "messages": [USER, ANSWER, NEXT]})
    picture = {"type": "image", "source": {"type": "url", "value": "https://a.example/b.png"}}
    different = [
        request(USER, ANSWER, NEXT),
        request(USER, NEXT),
        request(USER, {**ANSWER, "content": "Hi"}, NEXT),
        request({**USER, "role": "developer"}, ANSWER, NEXT),
        request(USER, ANSWER, {**NEXT, "content": [{"type": "text", "text": "and now?"}, picture]}),
        other_thread,
    ]
    assert len({found.event_key for found in different}) == len(different)


def test_what_follows_the_message_does_not_change_its_key() -> None:
    assert request(USER, ANSWER).event_key == request(USER).event_key


@pytest.mark.parametrize("odd", ["x" * 100_000, "a b", "é", "../..", "\n", "a\ufffd", " "])
def test_odd_ids_make_plain_keys(odd: str) -> None:
    keys = [
        request(USER, resume=[{"interruptId": odd}]).event_key,
        request(USER, {"role": "tool", "toolCallId": odd, "content": ""}).event_key,
    ]
    assert all(PLAIN_KEY.fullmatch(key) for key in keys), keys


def test_no_more_than_200_tools_are_kept() -> None:
    tools = [{"name": f"tool{number}"} for number in range(300)] + [{"name": " "}, {"description": "none"}]
    assert [tool.name for tool in request(USER, tools=tools).tools] == [f"tool{n}" for n in range(MAX_CLIENT_TOOLS)]


def test_empty_objects_are_left_out_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    load = schemas._load
    monkeypatch.setattr(schemas, "_load", lambda kind, value: read.append(value) or load(kind, value))
    empty: list[Any] = [{}] * 1000
    content = [*empty, {"type": "text", "text": "hi"}]
    tools = [{"name": f"tool{number}"} for number in range(1000)]
    resume = [{"interruptId": "m1.0.2"}] * 1000
    body = {"messages": [*empty, {**USER, "content": content}], "tools": [*empty, *tools], "resume": [*empty, *resume]}
    assert read_input(body).messages[0].text == "hi"
    assert len(read) < 2 * MAX_CLIENT_TOOLS


@given(REQUESTS)
def test_any_object_is_read(value: dict[str, Any]) -> None:
    found = read_input(value)
    key = found.event_key
    assert bool(key) == (found.kind is not None)
    assert key == read_input(value).event_key
    assert len(found.message_keys()) == len(found.messages)
    for message in found.messages:
        message.text.encode()
        assert "\0" not in message.text


@given(st.dictionaries(st.text(max_size=12), VALUES))
def test_unknown_members_change_nothing(more: dict[str, Any]) -> None:
    whole = {"threadId": "t", "runId": "r", "messages": [USER]}
    assert read_input({**more, **whole}) == read_input(
        {**{name: more[name] for name in more if name in KNOWN}, **whole}
    )


KNOWN = {"tools", "resume", "protocolVersion"}
