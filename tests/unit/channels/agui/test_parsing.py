"""What is stored of a request, as the event that a handler gets, and the request's messages as the history."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.action_values import decode_value
from cometbot.channels.agui.ids import make_conversation
from cometbot.channels.agui.parsing import make_body, parse, to_history, to_history_rows
from cometbot.channels.agui.schemas import read_input
from cometbot.channels.base import IncomingEvent
from cometbot.errors import PayloadError
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.models import Attachment, ClientTool

HERE = make_conversation("shop", "t", "maria")
USER = {"id": "u1", "role": "user", "content": "hello"}


def to_event(*messages: Any, **more: Any) -> Event:
    """Return the event of a request with these messages."""
    raw = {"threadId": "t", "runId": "r", "messages": list(messages), **more}
    run_input = read_input(raw)
    body = make_body(raw, "maria", run_input.kind)
    return parse(IncomingEvent(HERE, run_input.event_key, body, "maria", received_at=7.0))


def test_message_says_who_wrote_what_and_when() -> None:
    tools = [{"name": "show_map", "parameters": {"type": "object"}}]
    event = to_event(USER, tools=tools)
    assert isinstance(event, MessageEvent)
    assert event.key == f"message:{event.id}"
    assert (event.conversation, event.sender.uid, event.sender.name) == (HERE, "maria", "")
    assert (event.text, event.type, event.sent_at) == ("hello", "text", 7.0)
    assert event.client_tools == (ClientTool("show_map", "", {"type": "object"}),)
    assert event.raw["messages"] == [USER]


def test_message_with_a_file_has_its_type() -> None:
    source = {"type": "url", "value": "https://a.example/b.png", "mimeType": "image/png"}
    content = [{"type": "text", "text": "look"}, {"type": "image", "source": source, "filename": "b.png"}]
    event = to_event({**USER, "content": content})
    assert isinstance(event, MessageEvent)
    assert (event.type, event.text) == ("image", "look")
    assert event.attachments == (Attachment("https://a.example/b.png", "b.png", "image/png"),)


@pytest.mark.parametrize("payload", ["M", "=17", 17, 2.5, True, ["a", 1], ""])
def test_answer_to_an_interrupt_presses_its_question(payload: Any) -> None:
    event = to_event(USER, resume=[{"interruptId": "m1.0.2", "status": "resolved", "payload": payload}])
    assert isinstance(event, ActionEvent)
    assert (event.name, event.values, event.cancels) == ("cometbot:ask:m1.0.2", {}, False)
    assert decode_value(event.value) == payload


def test_object_answers_a_form() -> None:
    payload = {"name": "Maria", "count": 3, "extras": ["milk"]}
    event = to_event(USER, resume=[{"interruptId": "m1.0.2:name", "status": "resolved", "payload": payload}])
    assert isinstance(event, ActionEvent)
    assert event.name == "cometbot:ask:m1.0.2:name"
    assert event.values == {"name": "Maria", "count": "3", "extras": '["milk"]'}


def test_cancelled_interrupt_has_no_value() -> None:
    event = to_event(resume=[{"interruptId": "m1.0.2", "status": "cancelled", "payload": "ignored"}])
    assert isinstance(event, ActionEvent)
    assert (event.cancels, event.value) == (True, "")


def test_result_of_a_tool_answers_its_call() -> None:
    event = to_event(USER, {"role": "tool", "toolCallId": "m1.0.2", "content": '=[1, "a"]'})
    assert isinstance(event, ActionEvent)
    assert event.name == "cometbot:ask:m1.0.2"
    assert decode_value(event.value) == '=[1, "a"]'


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"user": "u"}', b'{"input": {}, "user": "u"}'])
def test_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        parse(IncomingEvent(HERE, "message:x", body, "maria"))


def test_history_is_both_sides_of_the_request() -> None:
    raw = {
        "threadId": "t",
        "messages": [
            {"role": "system", "content": "Be kind."},
            USER,
            {"id": "a1", "role": "assistant", "content": "Hi!"},
            {"id": "a2", "role": "assistant", "toolCalls": []},
            {"id": "b1", "role": "tool", "toolCallId": "x", "content": "{}"},
            {"id": "u2", "role": "user", "content": "and now?"},
        ],
    }
    run_input = read_input(raw)
    found = list(to_history(to_history_rows(run_input), run_input.event_key, HERE, 7.0))
    assert [(event.sender.uid, event.text) for event in found] == [
        ("maria", "hello"),
        ("shop", "Hi!"),
        ("maria", "and now?"),
    ]
    assert (found[-1].key, found[-1].sent_at) == (run_input.event_key, 7.0)
    assert len({event.key for event in found}) == 3
    assert found[1].id == "a1"


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@given(TEXTS.filter(str.strip), TEXTS, st.lists(TEXTS, max_size=3))
def test_stored_message_is_the_last_of_its_history(text: str, user: str, before: list[str]) -> None:
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": item} for n, item in enumerate(before)]
    raw = {"threadId": "t", "messages": [*messages, {"role": "user", "content": text}]}
    run_input = read_input(raw)
    event = parse(IncomingEvent(HERE, run_input.event_key, make_body(raw, user, run_input.kind), user))
    [*_, last] = to_history(
        orjson.loads(orjson.dumps(to_history_rows(run_input))), run_input.event_key, HERE, event.sent_at
    )
    assert isinstance(event, MessageEvent)
    assert (last.key, last.id, last.text) == (event.key, event.id, event.text)
