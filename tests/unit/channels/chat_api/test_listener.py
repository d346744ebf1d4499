"""What the client reads from a Chat API's answers and streams, however they come."""

from __future__ import annotations

import orjson
import pytest

from cometbot.channels.chat_api import models
from cometbot.channels.chat_api.listener import parse_signal

MESSAGE = {
    "id": "msg_01K0A5",
    "createdAt": "2026-03-01T12:00:04.000Z",
    "conversationId": "conv_01K0A2",
    "userId": "user_01K0B0",
    "payload": {"type": "text", "text": "Hello!"},
}
PARTICIPANT = {"conversationId": "conv_01K0A2", "participantId": "bob"}
DELTA = {
    "streamId": "s",
    "conversationId": "conv_01K0A2",
    "userId": "user_01K0B0",
    "createdAt": "2026-03-01T12:00:04.000Z",
    "sequence": 0,
    "delta": "He",
}


def signal(kind: str, data: object) -> models.Signal:
    return parse_signal(orjson.dumps({"type": kind, "data": data}).decode())


@pytest.mark.parametrize(
    ("kind", "data", "cls"),
    [
        ("message_created", {**MESSAGE, "isBot": True}, models.MessageCreated),
        ("message_created", {**MESSAGE, "isBot": False, "metadata": None, "new": 1}, models.MessageCreated),
        ("message_deleted", {"id": "m", "conversationId": "c", "userId": "u"}, models.MessageDeleted),
        ("event_created", {**MESSAGE, "id": None, "isBot": True}, models.EventCreated),
        ("participant_added", PARTICIPANT, models.ParticipantAdded),
        ("participant_removed", PARTICIPANT, models.ParticipantRemoved),
        ("message_stream_delta", DELTA, models.StreamDelta),
        ("message_stream_complete", {"streamId": "s", "message": MESSAGE}, models.StreamComplete),
        ("message_stream_abort", {"streamId": "s", "conversationId": "c"}, models.StreamAbort),
        ("message_created", MESSAGE, models.UnknownSignal),
        ("message_created", {**MESSAGE, "isBot": "yes"}, models.UnknownSignal),
        ("message_created", {**MESSAGE, "isBot": True, "createdAt": "soon"}, models.UnknownSignal),
        ("webchat_visibility", {}, models.UnknownSignal),
    ],
)
def test_each_signal_has_its_class_and_what_is_none_is_unknown(kind: str, data: object, cls: type) -> None:
    found = signal(kind, data)
    assert type(found) is cls
    assert orjson.loads(found.raw)["type"] == kind


def test_a_message_is_read_with_all_it_says() -> None:
    found = signal("message_created", {**MESSAGE, "isBot": True, "metadata": {"a": 1}})
    assert isinstance(found, models.MessageCreated)
    assert found.is_bot is True
    assert (found.message.id, found.message.user_id, found.message.conversation_id) == (
        "msg_01K0A5",
        "user_01K0B0",
        "conv_01K0A2",
    )
    assert (found.message.payload, found.message.metadata) == (MESSAGE["payload"], {"a": 1})
    assert found.message.created_at.isoformat() == "2026-03-01T12:00:04+00:00"


@pytest.mark.parametrize("text", ["ping", "", "{", "[]", "7", '"text"', "{}", '{"type": 7, "data": {}}'])
def test_what_is_no_signal_is_unknown(text: str) -> None:
    assert parse_signal(text) == models.UnknownSignal()
