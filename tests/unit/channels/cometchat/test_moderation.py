"""The requests of CometChat's moderation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cometbot import ContextMessage, ModerationItem, Verdict
from cometbot.channels.cometchat.moderation import make_answer, read_item
from cometbot.errors import PayloadError

SAMPLE = json.loads((Path(__file__).parents[3] / "data" / "cometchat_moderation_request.json").read_text())["body"]


def read(message: Any, *context: Any) -> ModerationItem:
    return read_item({"contextMessages": [*context, {"tom": message}]}, account="app", bot="shop")


def message(**changes: Any) -> dict[str, Any]:
    data = {"text": "hi", **changes.pop("data", {})}
    basis = {"id": "7", "sender": "maria", "receiver": "tom", "receiverType": "user", "category": "message"}
    return {**basis, "type": "text", "conversationId": "maria_user_tom", "data": data, "sentAt": 5, **changes}


def test_documented_sample_is_read() -> None:
    item = read_item(SAMPLE, account="app", bot="shop")
    assert (item.id, item.text, item.type, item.category) == ("30431", "ok", "text", "message")
    # The key of the entry is the receiver's uid.
    assert (item.sender.uid, item.sender.name) == ("cometchat-uid-1", "Andrew Joseph")
    assert item.receiver is not None
    assert (item.receiver.uid, item.receiver.name, item.group) == ("cometchat-uid-2", "George Alan", None)
    assert item.context == (
        ContextMessage("cometchat-uid-1", "Hello there!"),
        ContextMessage("cometchat-uid-2", "Hey, how are you?"),
        ContextMessage("cometchat-uid-1", "Let's team up."),
    )
    assert item.conversation_id == "cometchat-uid-1_user_cometchat-uid-2"
    assert item.sent_at == 1747717214
    assert item.raw["muid"] == "_r49ocm6oj"


def test_message_of_a_group_has_the_group() -> None:
    item = read(message(receiverType="group", receiver="ops", conversationId="group_ops", parentId="3"))
    assert item.group is not None
    assert (item.group.guid, item.receiver, item.thread_id) == ("ops", None, "3")


def test_picture_has_its_file_and_caption() -> None:
    file = {"url": "https://x/a.png", "name": "a.png", "mimeType": "image/png", "extension": "png", "size": 5}
    item = read(message(type="image", data={"attachments": [file], "text": "look"}))
    assert (item.type, item.text) == ("image", "look")
    assert [(found.url, found.mime_type, found.size) for found in item.attachments] == [
        ("https://x/a.png", "image/png", 5)
    ]


def test_unknown_media_keep_their_type() -> None:
    item = read(message(type="hologram", data={"attachments": [{"url": "https://x/a.holo"}, {"url": 5}, "x"]}))
    assert item.type == "hologram"
    assert [file.url for file in item.attachments] == ["https://x/a.holo"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": {"text": 5, "attachments": "x", "mentions": 3, "entities": [], "metadata": "x"}},
        {"data": "text"},
        {"sender": {}, "receiver": [], "receiverType": 5, "sentAt": "soon", "tags": 5, "id": None},
        {"type": [], "category": 7},
    ],
)
def test_wrong_types_count_as_absent(wrong: dict[str, Any]) -> None:
    item = read({**message(), **wrong})
    assert isinstance(item.text, str)
    assert isinstance(item.sender.uid, str)


def test_context_of_other_types_is_left_out() -> None:
    item = read(message(), {"maria": "a"}, {"maria": 5}, "x", None, {"tom": {"text": "b"}}, {"maria": "c", "tom": "d"})
    assert [(entry.uid, entry.text) for entry in item.context] == [("maria", "a"), ("maria", "c"), ("tom", "d")]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"contextMessages": None},
        {"contextMessages": []},
        {"contextMessages": {"maria": message()}},
        {"contextMessages": [{"maria": "only a text"}]},
        {"contextMessages": [{"maria": message()}, {"maria": "the last is a text"}]},
        {"contextMessages": [{"maria": {}}]},
    ],
)
def test_request_without_a_message_is_refused(payload: Any) -> None:
    with pytest.raises(PayloadError, match="contextMessages: expected a list whose last entry"):
        read_item(payload, account="app", bot="shop")


def test_answer_is_that_of_the_documentation() -> None:
    answer = json.loads(make_answer(Verdict(True, 0.95, "ads \ud83d")))
    assert answer == {"isMatchingCondition": True, "confidence": 0.95, "reason": "ads ?"}
