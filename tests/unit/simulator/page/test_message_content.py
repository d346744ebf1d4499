"""A message's Markdown and quick replies, as the page gets them."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot import Button, Card, Carousel, Choices, Field, Form
from cometbot.simulator.page.message_content import quick_replies, with_content


def message(category: str = "message", kind: str = "text", **data: Any) -> dict[str, Any]:
    return {"id": "1", "category": category, "type": kind, "data": data}


def test_text_is_rendered_with_its_mentions() -> None:
    shown = with_content(message(text="**Hi** <@uid:Tom>"))
    assert shown["html"] == '<p><strong>Hi</strong> <span class="mention">tom</span></p>'
    assert shown["quickReplies"] is None
    assert shown["hasQuickReplies"] is False


@pytest.mark.parametrize("data", [{}, {"text": None}, {"text": 3}, {"text": ["a"]}])
def test_any_data_is_shown(data: dict[str, Any]) -> None:
    assert isinstance(with_content(message(**data))["html"], str)


def test_deleted_message_stays_as_it_is() -> None:
    deleted = {**message(text="x"), "deletedAt": 5}
    assert with_content(deleted) == deleted


def test_choices_become_options_between_their_texts() -> None:
    parts = quick_replies(Choices("**Tea?**", ["Assam", "Darjeeling"], action="tea").to_text())
    assert parts == [
        {"kind": "text", "html": "<p><strong>Tea?</strong></p>"},
        {
            "kind": "choices",
            "options": [
                {"number": 1, "label": "Assam", "value": "Assam"},
                {"number": 2, "label": "Darjeeling", "value": "Darjeeling"},
            ],
        },
    ]


def test_equal_labels_are_answered_by_number() -> None:
    cards = [Card(title, buttons=[Button("Buy", "buy", value=title)]) for title in ("Tea", "Mate")]
    parts = quick_replies(Carousel(cards).to_text()) or []
    assert [part["kind"] for part in parts] == ["text", "choices", "text", "choices"]
    assert [option["value"] for part in parts for option in part.get("options", [])] == ["1", "2"]


def test_blank_lines_do_not_split_a_list_of_choices() -> None:
    parts = quick_replies("Tea?\n\n1. Assam\n\n2. Mate\n\nAnswer 2 for “Mate”, or write it out.") or []
    assert [part["kind"] for part in parts] == ["text", "choices"]


@pytest.mark.parametrize(
    "text",
    [
        "Do this:\n1. Breathe in\n2. Breathe out",
        "1. Tea\n\nAnswer 2 for “Mate”, or write it out.",
        f"1. Tea\n\nAnswer {'9' * 5000} for “Mate”, or write it out.",
        "No fields\n\nAnswer with these lines filled in.",
        "Title\n\nName:\nnot a field\n\nAnswer with these lines filled in.",
        "Answer with these lines filled in.",
    ],
    ids=range(6),
)
def test_other_text_has_no_quick_replies(text: str) -> None:
    assert quick_replies(text) is None


def test_form_has_the_fields_of_its_text() -> None:
    form = Form(
        "Your order:",
        [
            Field("name", "Name"),
            Field("colour", "Colour", kind="select", options=["Red", "Blue"]),
            Field("extras", "Extras", kind="multi_select", options=["Milk"], optional=True),
            Field("note", "Note", optional=True),
            Field("count", "Count", "number", min=1, max=9),
            Field("day", "Day", "date", optional=True),
            Field("at", "At", "time"),
            Field("gift", "Gift", "checkbox", optional=True),
            Field("mail", "Mail", "email"),
            Field("phone", "Phone", "phone"),
            Field("plate", "Plate", hint="such as B-1"),
        ],
        action="order",
    )
    title, shown = quick_replies(form.to_text()) or []
    assert title == {"kind": "text", "html": "<p>Your order:</p>"}
    assert [(field["label"], field["kind"], field["optional"]) for field in shown["fields"]] == [
        ("Name", "text", False),
        ("Colour", "select", False),
        ("Extras", "multi_select", True),
        ("Note", "text", True),
        ("Count", "number", False),
        ("Day", "date", True),
        ("At", "time", False),
        ("Gift", "checkbox", True),
        ("Mail", "email", False),
        ("Phone", "phone", False),
        ("Plate", "text", False),
    ]
    assert [field["hint"] for field in shown["fields"]][4::6] == ["a number from 1 to 9", "such as B-1"]
    assert shown["fields"][1]["options"] == [{"label": "Red", "value": "Red"}, {"label": "Blue", "value": "Blue"}]


def test_markdown_inside_a_card_is_rendered() -> None:
    body = [{"type": "row", "items": [{"type": "markdown", "content": "*a*"}]}, {"type": "text", "content": "*b*"}]
    shown = with_content(message("card", text="", card={"body": body}))["data"]["card"]["body"]
    assert shown[0]["items"][0]["html"] == "<p><em>a</em></p>"
    assert "html" not in shown[1]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (message("card", card={"body": [{"type": "button", "action": {"type": "sendMessage"}}]}), True),
        (message("card", card={"body": [{"type": "button", "action": {"type": "openUrl"}}]}), False),
        (message("interactive", interactiveData={"text": "1. A\n\nAnswer 1 for “A”, or write it out."}), True),
        (message("interactive", interactiveData="x"), False),
        (message("message", "image", text="1. A\n\nAnswer 1 for “A”, or write it out."), True),
        (message("custom", text="1. A\n\nAnswer 1 for “A”, or write it out."), False),
    ],
    ids=range(6),
)
def test_messages_whose_quick_replies_can_expire_are_marked(sent: dict[str, Any], expected: bool) -> None:
    assert with_content(sent)["hasQuickReplies"] is expected
