"""What the chat server keeps, as clients of the Chat API read it."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import pytest

from cometbot.channels.chat_api import schemas, serializers
from cometbot.chat import (
    CONVERSATION_DELETED,
    CONVERSATION_UPDATED,
    EVENT_CREATED,
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    PARTICIPANT_ADDED,
    PARTICIPANT_REMOVED,
    ChatConversation,
    ChatEvent,
    ChatMessage,
    ChatUser,
    Scope,
    Signal,
    Topic,
)

SCOPE = Scope("chat_api", "helper")
TOPIC = Topic("chat_api", "helper", "here")
AT = 1772366400007
DATE = "2026-03-01T12:00:00.007Z"


def message(*, is_bot: bool = False, metadata: Any = None) -> ChatMessage:
    return ChatMessage(SCOPE, "msg_1", "here", "ann", is_bot, {"type": "text", "text": "hi"}, metadata, "", AT)


@pytest.mark.parametrize(
    ("at", "text"), [(0, "1970-01-01T00:00:00.000Z"), (AT, DATE), (1772366400999, "2026-03-01T12:00:00.999Z")]
)
def test_dates_are_utc_with_milliseconds_and_a_z(at: int, text: str) -> None:
    assert serializers.format_timestamp(at) == text


def test_objects_load_in_the_schemas_of_the_answers() -> None:
    user = serializers.to_user(ChatUser(SCOPE, "ann", {"name": "Ann"}, AT, AT, AT))
    conversation = serializers.to_conversation(ChatConversation(SCOPE, "here", "ann", {}, AT, AT, AT, 0))
    event = serializers.to_event(ChatEvent(SCOPE, "evt_1", "here", "ann", {"a": 1}, AT))

    assert user == {"id": "ann", "name": "Ann", "createdAt": DATE, "updatedAt": DATE}
    assert conversation == {"id": "here", "createdAt": DATE, "updatedAt": DATE}
    assert schemas.UserSchema().load(user).name == "Ann"
    assert schemas.ConversationSchema().load(conversation).created_at == datetime.fromtimestamp(AT / 1000, timezone.utc)
    assert schemas.EventSchema().load(event).payload == {"a": 1}
    assert schemas.MessageSchema().load(serializers.to_message(message())).metadata == {}


def test_metadata_stands_beside_the_payload_or_not_at_all() -> None:
    assert serializers.to_message(message(metadata={"page": 1}))["metadata"] == {"page": 1}
    assert "metadata" not in serializers.to_message(message())


def test_user_message_is_serialized_whatever_its_metadata() -> None:
    told = serializers.to_signal_payloads(Signal(TOPIC, MESSAGE_CREATED, message=message(metadata={"streamId": "s"})))
    assert [item["type"] for item in told] == ["message_created"]
    assert told[0]["data"]["isBot"] is False


@pytest.mark.parametrize(
    ("metadata", "kinds"),
    [
        (None, ["message_created"]),
        ({"streamId": 7}, ["message_created"]),
        ({"streamId": "s"}, ["message_stream_complete", "message_created"]),
    ],
)
def test_stream_complete_precedes_its_message(metadata: Any, kinds: list[str]) -> None:
    told = serializers.to_signal_payloads(
        Signal(TOPIC, MESSAGE_CREATED, message=message(is_bot=True, metadata=metadata))
    )
    assert [item["type"] for item in told] == kinds
    assert told[-1]["data"]["isBot"] is True


@pytest.mark.parametrize(
    ("signal", "told"),
    [
        (
            Signal(TOPIC, MESSAGE_DELETED, data={"id": "msg_1", "sender": "ann"}),
            {"type": "message_deleted", "data": {"id": "msg_1", "conversationId": "here", "userId": "ann"}},
        ),
        (
            Signal(TOPIC, PARTICIPANT_ADDED, data={"user": "bob"}),
            {"type": "participant_added", "data": {"conversationId": "here", "participantId": "bob"}},
        ),
        (
            Signal(TOPIC, PARTICIPANT_REMOVED, data={"user": "bob"}),
            {"type": "participant_removed", "data": {"conversationId": "here", "participantId": "bob"}},
        ),
        (
            Signal(TOPIC, EVENT_CREATED, at=AT, data={"sender": "helper", "payload": {"a": 1}}),
            {
                "type": "event_created",
                "data": {
                    "id": None,
                    "createdAt": DATE,
                    "conversationId": "here",
                    "userId": "helper",
                    "payload": {"a": 1},
                    "isBot": True,
                },
            },
        ),
        (
            Signal(TOPIC, serializers.STREAM_ABORT, data={"streamId": "s"}),
            {"type": serializers.STREAM_ABORT, "data": {"streamId": "s"}},
        ),
    ],
)
def test_each_signal_is_serialized(signal: Signal, told: dict[str, Any]) -> None:
    assert serializers.to_signal_payloads(signal) == [told]


@pytest.mark.parametrize("kind", [CONVERSATION_DELETED, CONVERSATION_UPDATED, "typing"])
def test_unsupported_signals_are_skipped(kind: str) -> None:
    assert serializers.to_signal_payloads(Signal(TOPIC, kind)) == []


def test_a_refusal_has_exactly_what_the_official_client_needs() -> None:
    body = serializers.to_error_body(403, "Forbidden", "no", datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc))
    assert set(body) == {"id", "code", "type", "message"}
    assert re.fullmatch(r"err_20260301120000x[0-9A-F]{8}", body["id"])
    assert (body["code"], body["type"], body["message"]) == (403, "Forbidden", "no")
