"""Whatever is read without the schemas is what the schemas read."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cometbot.channels.cometchat import parsing
from cometbot.channels.cometchat.payloads import Notification, read_notification
from cometbot.channels.cometchat.plain_messages import is_plain_message, read_plain_text
from cometbot.events import MessageEvent
from cometbot.models import Conversation

Make = Callable[..., dict[str, Any]]

DIRECT = Conversation("cometchat", "app", "helpdesk", "helpdesk-bot_user_maria-k", "maria-k")
GROUP = Conversation("cometchat", "app", "helpdesk", "group_ops-room", "ops-room", is_group=True)
USER = {"uid": "tom", "name": "Tom"}
KNOWN_KEYS = [
    "id", "conversationId", "sender", "receiverType", "receiver", "category", "type", "data", "sentAt", "updatedAt",
    "muid", "parentId", "tags", "editedAt", "editedBy", "deletedAt", "deletedBy", "quotedMessageId", "quotedMessage",
    "text", "url", "attachments", "mentions", "metadata", "moderation", "customData", "interactiveData", "card",
    "entities", "action", "by", "on", "for", "entity", "uid", "guid", "name", "avatar", "link", "role", "status",
    "message", "call", "webhook", "trigger", "statusMessage", "resource",
]  # fmt: skip
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
        callback_of(message_of(parentId="90400", data={"text": ""})),
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
        {"data": {"metadata": {"a": 1}}},
        {"data": {"text": "<@uid:helpdesk-bot> hi"}},
        {"data": {"attachments": []}},
    ],
)
def test_any_other_message_is_left_to_the_schemas(callback_of: Make, message_of: Make, special: Any) -> None:
    assert read_plain_text(callback_of(message_of(**special)), conversation=DIRECT, key="message:1") is None
