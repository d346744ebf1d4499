"""What the schemas take, for what is not seen through the views."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from cometbot.channels.chat_api import schemas
from cometbot.errors import PayloadError

AT = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
CONVERSATION = {"id": "here", "updatedAt": "2026-03-01T12:00:00.000Z"}


@pytest.mark.parametrize(
    "text", ["2026-03-01T12:00:00.000Z", "2026-03-01T12:00:00+00:00", "2026-03-01T13:00:00.000+01:00"]
)
def test_a_date_is_read_with_its_zone(text: str) -> None:
    assert schemas.ConversationSchema().load({**CONVERSATION, "createdAt": text}).created_at == AT


@pytest.mark.parametrize("text", ["2026-03-01T12:00:00", "soon", "", 7, None, "Z", ["2026-03-01T12:00:00.000Z"]])
def test_what_is_no_date_is_refused(text: object) -> None:
    with pytest.raises(PayloadError, match="createdAt"):
        schemas.load(schemas.ConversationSchema(), {**CONVERSATION, "createdAt": text})


def test_error_lists_at_most_five_field_errors() -> None:
    payload = {"type": "carousel", "items": [{"type": "card"} for _ in range(9)]}
    with pytest.raises(PayloadError) as caught:
        schemas.load(schemas.CreateMessageBody(), {"payload": payload})
    assert "conversationId" in caught.value.details
    assert "payload.items.8.title" in caught.value.details
    assert str(caught.value).count("Missing data") == 5


@pytest.mark.parametrize("kind", list(schemas.PAYLOADS))
def test_a_payload_comes_back_as_it_was_given(kind: str) -> None:
    samples = {
        "text": {"text": "x"},
        "markdown": {"markdown": "x"},
        "image": {"imageUrl": "x"},
        "audio": {"audioUrl": "x"},
        "video": {"videoUrl": "x"},
        "file": {"fileUrl": "x"},
        "location": {"latitude": 1, "longitude": -2.5, "address": "", "title": ""},
        "card": {"title": "x", "actions": []},
        "carousel": {"items": []},
        "choice": {"text": "x", "options": []},
        "dropdown": {"text": "x", "options": []},
        "bloc": {"items": [{"type": "text", "text": "x", "inner": [1]}]},
    }
    payload = {"type": kind, **samples[kind], "extra": {"kept": None}}
    body = schemas.load(schemas.CreateMessageBody(), {"conversationId": "x", "payload": payload, "unknown": 1})
    assert body == {"conversationId": "x", "payload": payload}
