"""What users and bots send is checked: actions, for one, must have been offered."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.channels.platform.errors import ApiError
from cometbot.channels.platform.rich_content import to_content
from cometbot.channels.platform.validators import validate_action
from cometbot.messages import Button, Card, Carousel, Choice, Choices, Field, Form, Message, Text

TEA = Card("Tea", buttons=[Button("Buy tea", "buy", "tea"), Button("Recipe", url="https://example.com")])
CAKE = Card("Cake", buttons=[Button("Buy cake", "buy", "cake"), Button("Plain")])
FORM = Form(
    "Sign up",
    [
        Field("name", "Your name"),
        Field("size", "Size", "select", [Choice("Small", "S"), "L"]),
        Field("extras", "Extras", "multi_select", ["milk", "sugar"], optional=True),
        Field("note", default="none"),
    ],
    "signed",
)


@pytest.mark.parametrize(
    ("message", "name", "value"),
    [
        (TEA, "buy", "tea"),
        (Carousel([TEA, CAKE]), "buy", "cake"),
        (CAKE, "Plain", "Plain"),
        (Choices("Colour?", ["Red", Choice("Blue", "navy")], "colour"), "colour", "navy"),
        (Choices("Colour?", ["Red"]), "Red", "Red"),
    ],
)
def test_what_is_offered_is_pressed_as_the_bot_named_it(message: Message, name: str, value: str) -> None:
    expected = {"name": name, "value": value, "values": {}}

    assert validate_action(to_content(message), name, value, {"x": "y"}) == expected


@pytest.mark.parametrize(
    ("message", "name", "value"),
    [
        (TEA, "buy", "cake"),
        (TEA, "Recipe", "https://example.com"),
        (TEA, "", ""),
        (Text("plain"), "buy", "tea"),
        (FORM, "other", ""),
    ],
)
def test_what_is_not_offered_is_refused(message: Message, name: str, value: str) -> None:
    with pytest.raises(ApiError, match="no such button"):
        validate_action(to_content(message), name, value, {})


def test_form_is_submitted_with_values_and_defaults() -> None:
    values = {"name": " Maria ", "size": "S", "extras": "milk, sugar", "stranger": "x"}

    assert validate_action(to_content(FORM), "signed", "whatever", values) == {
        "name": "signed",
        "value": "",
        "values": {"name": "Maria", "size": "S", "extras": "milk, sugar", "note": "none"},
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "  "}, "Please fill in: Your name."),
        ({"size": "XXL"}, "Size: “XXL” is not on offer. Choose one of: Small, L."),
        ({"size": ""}, "Please fill in: Size."),
        ({"extras": "milk, gold"}, "Extras: “gold” is not on offer. Choose any of: milk, sugar."),
    ],
)
def test_a_form_that_is_filled_in_wrongly_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ApiError) as caught:
        validate_action(to_content(FORM), "signed", "", {"name": "Maria", "size": "S", **change})
    assert (caught.value.status, caught.value.message) == (400, says)


def test_a_default_that_was_taken_away_stays_away() -> None:
    form = Form(
        "Consent",
        [
            Field("news", "News", "multi_select", ["Ads", "Offers"], "Ads", optional=True),
            Field("name", default="Bob", optional=True),
            Field("note", default="none"),
        ],
        "signed",
    )

    def values(given: dict[str, str]) -> Any:
        return validate_action(to_content(form), "signed", "", given)["values"]

    assert values({}) == {"news": "Ads", "name": "Bob", "note": "none"}
    assert values({"news": "", "name": " ", "note": "x"}) == {"news": "", "name": "", "note": "x"}
    with pytest.raises(ApiError, match="Please fill in: note"):
        values({"note": ""})


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [
        ("News, weekly", True),
        ("Ads, News, weekly", True),
        ("News, weekly, Ads", True),
        ("News, Ads", False),
        ("weekly", False),
        ("Ads, ", True),
        ("Ads,Ads", True),
        ("a, " * 1000 + "a", True),
        ("a, " * 1000 + "b", False),
    ],
)
def test_an_option_may_have_a_comma_in_it(given: str, is_taken: bool) -> None:
    form = Form("News", [Field("news", "News", "multi_select", ["News, weekly", "Ads", "a", "a, a"])], "signed")
    try:
        validate_action(to_content(form), "signed", "", {"news": given})
    except ApiError:
        assert not is_taken
    else:
        assert is_taken
