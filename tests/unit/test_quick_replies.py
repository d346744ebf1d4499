from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot import Bot, Button, Card, Carousel, Choice, Choices, Conversation, Field, Form
from cometbot.events import MessageEvent
from cometbot.models import User
from cometbot.quick_replies import QUICK_REPLIES_KEY, find_invalid_value, resolve_quick_reply, serialize_quick_replies

HERE = Conversation("cometchat", "app", "helpdesk", "c", "maria")
TEA = Choices("Tea?", [Choice("Green tea", "green"), "Black"], action="tea")
CAKE = Card("Cake?", buttons=[Button("Yes, please", "cake", "yes"), Button("Recipe", url="https://x")])
FORM = Form(
    "Order",
    [
        Field("name", "Your name"),
        Field("size", "Size", "select", [Choice("Small", "s"), Choice("Large", "l")]),
        Field("extras", "", "multi_select", ["Milk", "Sugar"], optional=True),
        Field("note", "Note", default="none"),
    ],
    action="order",
)


def make_text_event(text: str, **parts: Any) -> MessageEvent:
    return MessageEvent(key="message:1", id="1", conversation=HERE, sender=User("maria"), text=text, **parts)


def resolve_text(text: str, *messages: Any) -> tuple[str, str] | None:
    event = make_text_event(text)
    action = resolve_quick_reply(event, text, serialize_quick_replies(messages))
    return (action.name, action.value) if action else None


@pytest.mark.parametrize("text", ["Green tea", " green  TEA ", "green", "1", "1.", "1)"])
def test_reply_is_resolved_by_label_value_or_number(text: str) -> None:
    assert resolve_text(text, TEA) == ("tea", "green")


@pytest.mark.parametrize("text", ["", "0", "3", "1 2", "-1", "１", "tea", "green tea please", "99999999999999999999"])
def test_other_text_is_not_resolved(text: str) -> None:
    assert resolve_text(text, TEA) is None


def test_labels_of_all_messages_but_numbers_of_last() -> None:
    assert resolve_text("black", TEA, CAKE) == ("tea", "Black")
    assert resolve_text("1", TEA, CAKE) == ("cake", "yes")
    assert resolve_text("2", TEA, CAKE) is None


def test_label_that_is_a_number_wins_over_the_number() -> None:
    assert resolve_text("2", Choices("How many?", ["2", "1"], action="count")) == ("count", "2")
    assert resolve_text("1", Choices("How many?", ["2", "1"], action="count")) == ("count", "1")


def test_ambiguous_label_is_resolved_by_number_only() -> None:
    cards = Carousel([Card("A", buttons=[Button("Buy", "buy", "a")]), Card("B", buttons=[Button("Buy", "buy", "b")])])
    assert resolve_text("buy", cards) is None
    assert resolve_text("2", cards) == ("buy", "b")


def test_message_without_text_is_not_resolved() -> None:
    assert resolve_quick_reply(make_text_event("1", type="image"), "1", serialize_quick_replies([TEA])) is None


def test_action_carries_the_message_that_it_was_written_in() -> None:
    event = make_text_event("1", thread_id="5", sent_at=7)
    action = resolve_quick_reply(event, "1", serialize_quick_replies([TEA]))
    assert action is not None
    assert (action.message, action.key, action.thread_id, action.sent_at) == (event, "message:1", "5", 7)


def test_form_is_filled_in_lines_values_come_by_field_name() -> None:
    text = "**Order**\n**Your name**: Maria\nsize: LARGE\nextras：sugar, milk\nNote: two\nlines\n" + Form.HINT
    action = resolve_quick_reply(make_text_event(text), text, serialize_quick_replies([FORM]))
    assert action is not None
    assert action.name == "order"
    assert action.values == {"name": "Maria", "size": "l", "extras": "Milk, Sugar", "note": "two\nlines"}


@pytest.mark.parametrize("hint", [Form.HINT, f"_{Form.HINT}_", f"> {Form.HINT}"])
def test_form_is_filled_in_on_its_own_text(hint: str) -> None:
    form = Form("Order", [Field("name"), Field("note")], action="order")
    text = form.to_text().replace("name:", "name: Maria").replace("note:", "note: two\n\nparts")
    action = resolve_quick_reply(make_text_event(text), text.replace(Form.HINT, hint), serialize_quick_replies([form]))
    assert action is not None
    assert action.values == {"name": "Maria", "note": "two\n\nparts"}


def test_form_without_optional_fields_has_their_defaults() -> None:
    action = resolve_quick_reply(make_text_event(""), "your NAME: Maria\nSize: s", serialize_quick_replies([FORM]))
    assert action is not None
    assert action.values == {"name": "Maria", "size": "s", "extras": "", "note": "none"}


@pytest.mark.parametrize(
    "text",
    ["Maria", "Your name: Maria", "Your name:\nSize: s", "Your name: Maria\nSize: huge", "Size: s\nNote: x", "a: b"],
)
def test_incomplete_form_is_not_resolved(text: str) -> None:
    assert resolve_quick_reply(make_text_event(text), text, serialize_quick_replies([FORM])) is None


def test_form_of_optional_fields_needs_a_field() -> None:
    form = Form("Note", [Field("note", optional=True)], action="note")
    assert resolve_quick_reply(make_text_event("hello"), "hello", serialize_quick_replies([form])) is None


@given(st.text(), st.sampled_from([None, "x", [], serialize_quick_replies([TEA, CAKE, FORM])]))
def test_any_text_is_resolved_without_failing(text: str, kept: Any) -> None:
    resolve_quick_reply(make_text_event(text), text, kept)


def test_quick_reply_is_dispatched_as_action(bot: Bot, harness: Any) -> None:
    bot.message("tea")(lambda ctx: TEA)
    bot.message("green")(lambda ctx: "a message")
    harness.send_text("tea")
    assert harness.send_text("green") == ["a message"]

    @bot.action("tea")
    def tea(ctx: Any, kind: str) -> str:
        return f"{kind} {ctx.event.name} {ctx.text}"

    harness.send_text("tea")
    assert harness.send_text("<@uid:helpdesk> 1") == ["green tea 1"]


def test_quick_replies_last_until_next_reply(bot: Bot, harness: Any) -> None:
    bot.message("tea")(lambda ctx: TEA)
    bot.message("quiet")(lambda ctx: None)
    bot.action("tea")(lambda ctx, kind: None)
    bot.fallback(lambda ctx: "else")
    harness.send_text("tea")
    harness.send_text("quiet")
    assert harness.send_text("1") == []
    assert harness.send_text("2") == []
    harness.send_text("something")
    assert harness.send_text("1") == ["else"]


def test_quick_replies_of_one_event_add_up(bot: Bot, harness: Any) -> None:
    @bot.message("menu")
    def menu(ctx: Any) -> Any:
        ctx.reply(TEA)
        ctx.reply("wait").edit(CAKE)
        return "Well?"

    bot.action(lambda ctx: ctx.event.name)
    harness.send_text("menu")
    assert harness.send_text("black") == ["tea"]
    harness.send_text("menu")
    assert harness.send_text("1") == ["cake"]


def test_quick_reply_survives_raising_handler(bot: Bot, harness: Any) -> None:
    @bot.message("menu")
    def menu(ctx: Any) -> None:
        ctx.state["x"] = 1
        ctx.reply(TEA)
        raise ValueError

    bot.action("tea")(lambda ctx, kind: kind)
    harness.send_text("menu")
    assert [sorted(change.values) for change in harness.outcome.changes] == [[QUICK_REPLIES_KEY]]
    assert harness.send_text("1") == ["green"]


def test_quick_reply_sent_elsewhere_is_stored_there(bot: Bot, harness: Any, group: Conversation) -> None:
    bot.message("ask")(lambda ctx: ctx.send(TEA, to=group) and None)
    bot.message("tell")(lambda ctx: ctx.send("news", to=group) and None)
    bot.action("tea")(lambda ctx, kind: kind)
    harness.send_text("ask")
    harness.send_text("tell")
    assert harness.send_text("1") == []
    assert harness.send_text("1", conversation=group) == ["green"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Your name: Maria\nSize: Huge", "Size: “Huge” is not on offer. Choose one of: Small, Large."),
        ("extras: milk, honey, rum", "extras: “honey” and “rum” is not on offer. Choose any of: Milk, Sugar."),
    ],
)
def test_invalid_option_is_named(text: str, problem: str) -> None:
    found = find_invalid_value(make_text_event(text), text, serialize_quick_replies([FORM]))
    assert found is not None
    assert (found[0].name, found[1]) == ("order", problem)


@pytest.mark.parametrize("text", ["Size: small", "Huge", "Name: Huge", "Your name: Maria", ""])
def test_invalid_option_ignores_other_texts(text: str) -> None:
    assert find_invalid_value(make_text_event(text), text, serialize_quick_replies([FORM])) is None


def test_invalid_option_needs_a_form() -> None:
    assert find_invalid_value(make_text_event("Size: Huge"), "Size: Huge", serialize_quick_replies([TEA])) is None
    assert find_invalid_value(make_text_event("Size: Huge"), "Size: Huge", None) is None
