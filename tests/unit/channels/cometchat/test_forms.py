"""Interactive forms: their elements, and what a user's app may send for them."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot import Choice, Field, Form
from cometbot.channels.cometchat.forms import read_submission, render_form
from cometbot.errors import PayloadError

FORM = Form(
    "Your table",
    [
        Field("name", "Name", default="Maria"),
        Field("wishes", kind="long_text", optional=True),
        Field("guests", "Guests", "number", min=1, max=9),
        Field("place", "Place", "select", ["Inside", Choice("Garden", "g")], default="g"),
        Field("menus", "Menus", "multi_select", ["Meat", "Fish, fresh"], default=["Meat", "Fish, fresh"]),
        Field("terms", "Terms", "checkbox", default=True),
        Field("news", "News", "checkbox", optional=True),
    ],
    "book",
    submit="Book",
)


def test_each_field_is_an_element() -> None:
    shown = render_form(FORM, "https://bots.example/x")
    assert shown["title"] == "Your table"
    assert [(item["elementId"], item["elementType"], item["optional"]) for item in shown["formFields"]] == [
        ("name", "textInput", False),
        ("wishes", "textInput", True),
        ("guests", "textInput", False),
        ("place", "dropdown", False),
        ("menus", "checkbox", False),
        ("terms", "checkbox", False),
        ("news", "checkbox", True),
    ]
    assert [item["defaultValue"] for item in shown["formFields"]] == [
        "Maria",
        "",
        "",
        "g",
        ["Meat", "Fish, fresh"],
        ["yes"],
        [],
    ]
    assert [item.get("maxLines") for item in shown["formFields"][:3]] == [1, 5, 1]
    assert shown["formFields"][2]["placeholder"] == {"text": "a number from 1 to 9"}
    assert shown["formFields"][3]["options"] == [
        {"value": "Inside", "label": "Inside"},
        {"value": "g", "label": "Garden"},
    ]


def test_button_posts_the_values_to_the_address() -> None:
    submit = render_form(FORM, "https://bots.example/x")["submitElement"]
    assert (submit["buttonText"], submit["disableAfterInteracted"]) == ("Book", True)
    action = submit["action"]
    assert (action["actionType"], action["method"], action["url"]) == ("apiAction", "POST", "https://bots.example/x")
    assert (action["dataKey"], action["payload"]) == ("form", {})


VALUES = {"name": "Maria", "guests": 3, "menus": ["Meat", "Fish, fresh"], "terms": True, "news": False, "x": None}


@pytest.mark.parametrize(
    "body",
    [
        {"form": VALUES},
        {"form": VALUES, "other": 1},
        {"form": {"appID": "a", "trigger": "ui_message_interacted", "data": {"formData": VALUES}}},
    ],
)
def test_values_are_texts_by_field(body: dict[str, Any]) -> None:
    assert read_submission(body) == {
        "name": "Maria",
        "guests": "3",
        "menus": "Meat, Fish, fresh",
        "terms": "yes",
        "news": "",
        "x": "",
    }


def test_field_may_be_named_data() -> None:
    assert read_submission({"form": {"data": "x"}}) == {"data": "x"}
    assert read_submission({"form": {"data": {"deep": {}}, "y": "z"}}) == {"data": "", "y": "z"}


@pytest.mark.parametrize("body", [{}, {"form": []}, {"form": "x"}, {"form": None}, [], None, "x", 5])
def test_other_body_is_refused(body: Any) -> None:
    with pytest.raises(PayloadError, match="expected an object of values under 'form'"):
        read_submission(body)
