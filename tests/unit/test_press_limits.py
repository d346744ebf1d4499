"""Limits travel in the names of actions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cometbot import Button, Card, Carousel, Choice, Choices, Field, Form, Text, User
from cometbot.press_limits import apply_limits, find_presses, has_limits, keep_limited
from cometbot.presses import DEFAULT_LIFETIME, PRESS_PREFIX, Press, PressRules, parse_press
from cometbot.quick_replies import serialize_quick_replies

NOW = 1000.0
TEA = Card("Tea", buttons=[Button("Buy", "buy", 5), Button("More", url="https://x"), Button("Skip")], once=True)


@pytest.mark.parametrize(
    "message", [Text("x"), Card("x", buttons=[Button("y")]), Carousel([Card("x")]), Choices("x", ["y"])]
)
def test_message_without_limits_stays_as_it_is(message: Any) -> None:
    assert not has_limits(message)
    assert apply_limits(message, "m1.0.0", NOW) is message
    assert find_presses(message) == []


def test_card_has_its_limits_in_each_button() -> None:
    limited: Any = apply_limits(TEA, "m1.0.0", NOW)
    rules = PressRules((), NOW + DEFAULT_LIFETIME, once=True)
    assert not has_limits(limited)
    assert [parse_press(offer.name) for offer in limited.offers()] == [
        Press("m1.0.0", rules, "buy"),
        Press("m1.0.0", rules, "Skip"),
    ]
    assert [offer.value for offer in limited.offers()] == ["=5", "Skip"]
    assert limited.to_text() == TEA.to_text()
    assert [press.id for press in find_presses(limited)] == ["m1.0.0"]


def test_cards_of_a_carousel_have_limits_of_their_own() -> None:
    limited: Any = apply_limits(Carousel([TEA, Card("x", buttons=[Button("y")]), TEA]), "m1.0.0", NOW)
    assert [press.id for press in find_presses(limited)] == ["m1.0.0-0", "m1.0.0-2"]
    assert limited.cards[1] == Card("x", buttons=[Button("y")])


def test_choices_and_form_have_their_limits_in_the_action() -> None:
    users = ["tom", User("ann", lasting_id="ann:7")]
    choices = apply_limits(Choices("?", ["a", Choice("b", "c")], by=users, expires=timedelta(minutes=1)), "x", NOW)
    form = apply_limits(Form("?", [Field("a")], "send", expires=60), "x", NOW)
    assert find_presses(choices) == [Press("x", PressRules(("tom", "ann:7"), NOW + 60), "")]
    assert find_presses(form) == [Press("x", PressRules((), NOW + 60), "send")]


@pytest.mark.parametrize("rest", ["", "[", "[]", "5", "null", '["a", 1, 2, true, "b"]', '["a", [], "soon", true, "b"]'])
def test_name_of_another_version_is_no_press(rest: str) -> None:
    assert parse_press(PRESS_PREFIX + rest) is None
    assert parse_press("buy") is None


def test_limited_quick_replies_are_kept_until_a_day_after_their_end() -> None:
    limited = apply_limits(Card("x", buttons=[Button("y")], expires="1h"), "m1.0.0", NOW)
    stored = serialize_quick_replies([limited, TEA, Form("?", [Field("a")], "send")])
    [kept] = keep_limited([*stored, {"question": True}], NOW + 3600 + 86399)
    assert kept == {**stored[0], "kept": True}
    assert keep_limited(stored, NOW + 3600 + 86400) == []
    assert keep_limited([kept], NOW) == [kept]


def test_at_most_twenty_messages_are_kept() -> None:
    limited = [apply_limits(TEA, f"m{number}.0.0", NOW) for number in range(30)]
    kept = keep_limited(serialize_quick_replies(limited), NOW)
    assert [parse_press(item["offers"][0][1]).id for item in kept] == [f"m{number}.0.0" for number in range(10, 30)]  # type: ignore[union-attr]
