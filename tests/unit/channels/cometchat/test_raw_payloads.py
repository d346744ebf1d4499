"""Which bodies are read, and whatever is read without the schemas is what the schemas read."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cometbot.channels.cometchat import parsing, schemas
from cometbot.channels.cometchat.payloads import Notification, read_notification
from cometbot.channels.cometchat.raw_payloads import is_plain_message, read_body, read_plain_text
from cometbot.errors import PayloadError
from cometbot.events import MessageEvent
from cometbot.json_depth import MAX_DEPTH
from cometbot.models import Conversation

Make = Callable[..., dict[str, Any]]

DIRECT = Conversation("cometchat", "app", "helpdesk", "helpdesk-bot_user_maria-k", "maria-k")
GROUP = Conversation("cometchat", "app", "helpdesk", "group_ops-room", "ops-room", is_group=True)
USER = {"uid": "tom", "name": "Tom"}
SCHEMAS = [schemas.ENVELOPE, schemas.MESSAGE, schemas.MessageDataSchema(), schemas.USER]
KNOWN_KEYS = [name for schema in SCHEMAS for name in schema.fields]
KNOWN_KEYS += ["by", "on", "for", "entity", "guid", "message", "call", "webhook", "sessionid", "statusMessage"]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["maria-k", "MARIA-K", "helpdesk-bot", "User", "user", "group", "", "\x00", "x" * 256, "\ud83d"]),
    st.sampled_from(
        ["message", "text", "image", "action", "call", "custom", "after_message", "message_sent", "<@uid:"]
    ),
    st.sampled_from(["<@uid:tom> hi", "<@all>", "1767225690", "17.5", 10**15, 10**15 - 1, -1, 0, 17.5, 1.0, 10**400]),
    st.sampled_from([{}, [], ["vip", 5], {"a": 1}, {"status": "approved"}, USER, {"entity": USER}, {"tom": USER}]),
    st.sampled_from([[{"url": "https://x/a.png"}], {"id": "7", "sender": "tom", "data": {"text": "q"}}]),
)


def paths_of(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all objects in ``value``, and of ``value`` itself."""
    if isinstance(value, dict):
        yield path
        for key, inner in value.items():
            yield from paths_of(inner, (*path, key))


@st.composite
def changed(draw: st.DrawFn, payload: dict[str, Any]) -> dict[str, Any]:
    """The payload with a few values set, added or removed."""
    result = copy.deepcopy(payload)
    for _ in range(draw(st.integers(0, 3))):
        holder: Any = result
        for key in draw(st.sampled_from(sorted(paths_of(result)))):
            holder = holder[key]
        key = draw(st.sampled_from([*sorted(holder), *KNOWN_KEYS]))
        if draw(st.booleans()):
            holder[key] = copy.deepcopy(draw(VALUES))
        else:
            holder.pop(key, None)
    return result


@pytest.fixture
def usual(callback_of: Make, message_of: Make, group_message_of: Make) -> list[dict[str, Any]]:
    return [
        callback_of(),
        callback_of(message_of(parentId="90400", data={"text": "", "metadata": {"a": {}}})),
        callback_of(message_of(data={"moderation": {"status": "approved"}})),
        callback_of(group_message_of(data={"text": "who is on call?"})),
    ]


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_plain_text_is_the_event_of_the_schemas(usual: list[dict[str, Any]], data: st.DataObject) -> None:
    payload = data.draw(changed(data.draw(st.sampled_from(usual))))
    conversation = data.draw(st.sampled_from([DIRECT, DIRECT, GROUP]))
    event = read_plain_text(payload, conversation=conversation, key="message:1")
    if event is not None:
        by_schemas = parsing.parse(payload, conversation=conversation, key="message:1")
        assert isinstance(by_schemas, MessageEvent)
        assert repr(event) == repr(by_schemas)
        assert dataclasses.asdict(event) == dataclasses.asdict(by_schemas)  # with the raw payloads, which == omits


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_plain_message_is_routed_as_by_the_schemas(usual: list[dict[str, Any]], data: st.DataObject) -> None:
    payload = data.draw(changed(data.draw(st.sampled_from(usual))))
    if is_plain_message(payload):
        message, notification = payload["data"], read_notification(payload, b"")
        assert notification is not None
        assert dataclasses.replace(notification, mentioned=frozenset()) == Notification(
            key=f"message:{message['id']}",
            sender=message["sender"],
            event=MessageEvent,
            author=message["sender"],
            receiver=message["receiver"],
            conversation_id=message["conversationId"].lower(),
            is_group=message["receiverType"] == "group",
            is_new_message=True,
        )


def test_a_text_of_the_usual_shape_is_read_without_the_schemas(callback_of: Make, sample: dict[str, Any]) -> None:
    for payload in (callback_of(), sample):
        event = read_plain_text(orjson.loads(orjson.dumps(payload)), conversation=DIRECT, key="message:1")
        assert event == parsing.parse(payload, conversation=DIRECT, key="message:1")


@pytest.mark.parametrize(
    "special",
    [
        {"tags": ["vip"]},
        {"quotedMessageId": "7"},
        {"deletedAt": 5},
        {"category": "custom"},
        {"type": "image"},
        {"receiverType": "group"},
        {"data": {"metadata": "a"}},
        {"data": {"moderation": {"status": 5}}},
        {"data": {"text": "<@uid:helpdesk-bot> hi"}},
        {"data": {"attachments": []}},
    ],
)
def test_any_other_message_is_left_to_the_schemas(callback_of: Make, message_of: Make, special: Any) -> None:
    assert read_plain_text(callback_of(message_of(**special)), conversation=DIRECT, key="message:1") is None


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
