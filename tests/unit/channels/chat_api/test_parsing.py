"""What is stored of a user's message or event, as the event that a handler gets."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from cometbot.channels.base import IncomingEvent
from cometbot.channels.chat_api.parsing import parse
from cometbot.errors import PayloadError
from cometbot.events import CustomEvent, DeleteEvent, Event, MessageEvent
from cometbot.models import Conversation, Group

HERE = Conversation("chat_api", "local", "helper", "here", "ann")
GROUP = Conversation("chat_api", "local", "helper", "here", "here", is_group=True)
DATES = {"createdAt": "2026-03-01T12:00:00.500Z", "updatedAt": "2026-03-01T12:00:00.500Z"}
USER = {"id": "ann", "name": "Ann", "pictureUrl": "https://e.example/a.png", "profile": '{"plan":"free"}', **DATES}

TEXT = {"type": "text", "text": "x"}
PICTURE = {"type": "image", "imageUrl": "https://e.example/i.png"}
PLACE = {"type": "location", "latitude": 1, "longitude": 2}


def message(payload: object) -> dict[str, Any]:
    return {"id": "msg_1", "conversationId": "here", "userId": "ann", "payload": payload, **DATES}


def read(body: object, place: Conversation = HERE) -> Event:
    return parse(IncomingEvent(place, "message:msg_1", orjson.dumps(body), "ann"))


def test_a_message_says_who_wrote_what_and_when() -> None:
    stored = message({"type": "text", "text": "hi"}) | {"metadata": {"page": 1}}
    event = read({"message": stored, "user": USER})

    assert isinstance(event, MessageEvent)
    assert (event.key, event.id, event.type, event.category, event.text) == (
        "message:msg_1",
        "msg_1",
        "text",
        "message",
        "hi",
    )
    assert (event.sender.uid, event.sender.name, event.sender.avatar) == ("ann", "Ann", "https://e.example/a.png")
    assert event.sender.metadata == {"plan": "free"}
    assert event.sent_at == 1772366400.5
    assert event.metadata == {"page": 1}
    assert event.raw == stored
    assert event.group is None


@pytest.mark.parametrize(
    ("profile", "metadata"), [("", {}), ("free text", {"profile": "free text"}), ("[1]", {"profile": "[1]"})]
)
def test_a_profile_that_is_no_object_is_kept_as_text(profile: str, metadata: dict[str, str]) -> None:
    event = read({"message": message({"type": "text", "text": "hi"}), "user": {**USER, "profile": profile}})
    assert event.sender.metadata == metadata


def test_several_people_are_a_group() -> None:
    event = read({"message": message({"type": "text", "text": "hi"}), "user": USER}, GROUP)
    assert event.group == Group("here")


@pytest.mark.parametrize(
    ("payload", "kind", "category", "has_data"),
    [
        ({"type": "image", "imageUrl": "https://e.example/i.png"}, "image", "message", False),
        ({"type": "location", "latitude": 1, "longitude": 2}, "location", "custom", True),
        ({"type": "choice", "text": "x", "options": []}, "choice", "interactive", True),
        ({"type": "bloc", "items": [TEXT]}, "text", "message", False),
        ({"type": "bloc", "items": [TEXT, PICTURE]}, "image", "message", False),
        ({"type": "bloc", "items": [TEXT, PLACE]}, "location", "custom", True),
        ({"type": "bloc", "items": [TEXT, PICTURE, PLACE]}, "image", "message", True),
        ({"type": "bloc", "items": [PLACE, PICTURE, TEXT]}, "location", "message", True),
    ],
)
def test_each_kind_of_message_is_told_apart(payload: Any, kind: str, category: str, has_data: bool) -> None:
    event = read({"message": message(payload), "user": USER})
    assert isinstance(event, MessageEvent)
    assert (event.type, event.category) == (kind, category)
    assert dict(event.data) == (payload if has_data else {})


def test_an_event_of_an_application_is_one_of_its_own_kind() -> None:
    stored = {**message({"clicked": "buy"}), "id": "evt_1"}
    event = read({"event": stored, "user": USER})
    assert isinstance(event, CustomEvent)
    assert (event.id, event.data, event.raw, event.sender.uid) == ("evt_1", {"clicked": "buy"}, stored, "ann")


def test_deleted_message_has_its_content() -> None:
    event = read({"deleted": message({"type": "text", "text": "hi"}), "user": USER})
    assert isinstance(event, DeleteEvent)
    assert event.message_id == "msg_1"
    assert event.message is not None
    assert event.message.text == "hi"


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"user": USER},
        {"message": message({"type": "text", "text": "hi"})},
        {"message": message({"type": "nonsense"}), "user": USER},
        {"message": {**message({"type": "text", "text": "hi"}), "createdAt": "soon"}, "user": USER},
        {"event": {}, "user": USER},
        {"deleted": None, "user": USER},
    ],
)
def test_what_is_not_as_it_was_stored_does_not_parse(body: object) -> None:
    with pytest.raises(PayloadError):
        read(body)
