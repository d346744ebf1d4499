"""What is stored of a message, read as an event."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot.channels.base import IncomingEvent
from cometbot.channels.platform.ids import conversation_of
from cometbot.channels.platform.parsing import parse
from cometbot.errors import PayloadError
from cometbot.events import ActionEvent, MessageEvent
from cometbot.models import Attachment, User

HERE = conversation_of("helpdesk", "chat", "u1")
FILE = {"id": "f1", "path": "static/images/f1.png", "name": "p.png", "size": 69, "mimeType": "image/png"}


def stored(**changes: Any) -> IncomingEvent:
    message = {"id": "m1", "chatId": "chat", "senderId": "u1", "body": "hi", "timestamp": 1_795_225_563_088}
    body = {
        "message": message | changes.get("message", {}),
        "user": {"id": "u1", "nickname": "Maria"},
        "action": changes.get("action"),
    }
    return IncomingEvent(HERE, "message:m1", orjson.dumps(body), "u1")


def test_message_has_sender_time_and_attachments() -> None:
    event = parse(stored(message={"attachments": [FILE]}), "https://chat.example.com")

    assert isinstance(event, MessageEvent)
    assert (event.key, event.id, event.text, event.type) == ("message:m1", "m1", "hi", "image")
    assert event.sender == User("u1", "Maria")
    assert event.sent_at == 1_795_225_563.088
    assert event.attachments == (
        Attachment("https://chat.example.com/static/images/f1.png", "p.png", "image/png", "png", 69),
    )


@pytest.mark.parametrize(
    ("mime_type", "kind"),
    [("audio/ogg", "audio"), ("video/mp4", "video"), ("text/plain", "file"), ("application/pdf", "file")],
)
def test_the_first_attachment_says_what_kind_of_message_it_is(mime_type: str, kind: str) -> None:
    event = parse(stored(message={"attachments": [{**FILE, "mimeType": mime_type}]}), "")

    assert isinstance(event, MessageEvent)
    assert event.type == kind


@pytest.mark.parametrize(
    ("path", "name", "extension"),
    [
        ("static/files/f1.docx", "Offer.DOCX", "docx"),
        ("static/images/f1.jpg", "photo.exe", "jpg"),
        ("static/files/f1", "Offer.v2.XLSX", "xlsx"),
        ("static/files/f1", "noname", ""),
    ],
)
def test_attachment_extension_is_of_its_path_else_its_name(path: str, name: str, extension: str) -> None:
    event = parse(stored(message={"attachments": [{**FILE, "path": path, "name": name}]}), "")

    assert isinstance(event, MessageEvent)
    assert [file.extension for file in event.attachments] == [extension]


def test_a_press_is_an_action_about_the_message_that_offered_it() -> None:
    action = {"name": "buy", "value": "tea", "values": {"a": "b"}, "messageId": "m0"}
    event = parse(stored(action=action), "")

    assert isinstance(event, ActionEvent)
    assert (event.name, event.value, event.values, event.message_id) == ("buy", "tea", {"a": "b"}, "m0")
    assert event.sender.name == "Maria"


@given(st.binary(max_size=200))
def test_any_other_body_is_refused_and_nothing_worse(body: bytes) -> None:
    with pytest.raises(PayloadError):
        parse(IncomingEvent(HERE, "message:m1", body, "u1"), "")
