"""What is stored of messages and of the ends of events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cometbot import Button, Card, Choices, Custom, Form, Media, Text
from cometbot.channels.agui.rows import make_end_row, make_message_row
from cometbot.channels.base import EventEnd
from cometbot.errors import MessageError
from cometbot.messages import ClientCall, Field, Message
from cometbot.steps import APPROVE, ASK, CALL, Waiting
from cometbot.token_usage import ModelUsage

CARD = Card("Tea", "Green", buttons=[Button("Buy", "buy", {"id": 7})])


def wait(kind: str, **more: Any) -> Waiting:
    return Waiting(step=2, kind=kind, **{"key": "", "code": "", "text": "", **more})


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (CARD, "cometbot.card"),
        (Choices("Size?", ["S", "M"], "size"), "cometbot.choices"),
        (Form("Order", [Field("size")], "order"), "cometbot.form"),
        (Media("https://example.com/tea.png", caption="Our tea"), "cometbot.media"),
        (Custom("poll", {"question": "Tea?"}, "Tea?"), "cometbot.custom"),
    ],
)
def test_message_is_its_text_and_what_it_is_besides(message: Message, name: str) -> None:
    row = json.loads(json.dumps(make_message_row(message, "")))
    assert row["text"] == message.to_text()
    assert row["custom"]["name"] == name
    assert "stream" not in row


def test_text_is_only_that() -> None:
    row = make_message_row(Text("hello"), "m1-0")
    assert (row["text"], row["stream"], "custom" in row) == ("hello", "m1-0", False)


def test_card_has_what_an_application_needs_to_show_it() -> None:
    value = make_message_row(CARD, "")["custom"]["value"]
    assert (value["title"], value["text"], value["buttons"][0]["label"]) == ("Tea", "Green", "Buy")


def test_call_has_its_arguments() -> None:
    row = make_message_row(ClientCall("show_map", {"place": "Rome"}, "m1.0.2"), "")
    assert (row["name"], row["arguments"], row["id"]) == ("show_map", {"place": "Rome"}, "m1.0.2")


def test_message_that_is_no_json_is_refused() -> None:
    with pytest.raises(MessageError, match="must be JSON"):
        make_message_row(Custom("poll", {"nan": float("nan")}, "x"), "")


def test_end_names_the_event_and_how_it_ended() -> None:
    row = make_end_row(EventEnd("message:1", "failed", 2))
    assert (row["event"], row["end"], row["generation"]) == ("message:1", "failed", 2)
    assert "interrupt" not in row
    assert "pending" not in row


def test_question_is_an_interrupt_with_the_schema_of_its_answer() -> None:
    offers = ({"offers": [["Small", "ask", "S"], ["Two", "ask", "=2"]]},)
    waiting = wait(ASK, question_text="Which?", offers=offers, expires_at=1_700_000_000.5)
    interrupt = make_end_row(EventEnd("message:1", "done", 0, "m1.0", waiting))["interrupt"]
    assert interrupt == {
        "id": "m1.0.2",
        "reason": "cometbot.question",
        "message": "Which?",
        "responseSchema": {"enum": ["S", 2]},
        "expiresAt": "2023-11-14T22:13:20.500Z",
    }


def test_question_for_a_text_takes_one() -> None:
    interrupt = make_end_row(EventEnd("k", "done", 0, "m1.0", wait(ASK, question_text="Name?")))["interrupt"]
    assert interrupt["responseSchema"] == {"type": "string"}
    assert "expiresAt" not in interrupt


def test_field_of_a_form_is_in_the_id() -> None:
    waiting = wait(ASK, question_text="Size?", fields=("size", "name"), asked_field="size")
    assert make_end_row(EventEnd("k", "done", 0, "m1.0", waiting))["interrupt"]["id"] == "m1.0.2:size"


def test_call_of_the_client_is_pending_and_an_approval_is_nothing() -> None:
    assert make_end_row(EventEnd("k", "done", 0, "m1.0", wait(CALL)))["pending"] == "m1.0.2"
    row = make_end_row(EventEnd("k", "done", 0, "m1.0", wait(APPROVE, question_text="Pay?")))
    assert not {"interrupt", "pending"} & row.keys()


def test_tokens_of_each_model_are_added() -> None:
    calls = (ModelUsage("small", 10, 2, 1), ModelUsage("large", 5, 1, 0), ModelUsage("small", 30, 4, 0))
    assert make_end_row(EventEnd("k", usage=calls))["usage"] == [
        {"model": "small", "inputTokens": 40, "outputTokens": 6, "cachedInputTokens": 1},
        {"model": "large", "inputTokens": 5, "outputTokens": 1, "cachedInputTokens": 0},
    ]
    assert "usage" not in make_end_row(EventEnd("k"))
