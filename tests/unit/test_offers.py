from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometbot import Bot, Button, Card, Carousel, Choice, Choices, Conversation, Field, Form
from cometbot.events import MessageEvent
from cometbot.models import User
from cometbot.offers import OFFERS, option_not_offered, taken, to_state

HERE = Conversation("cometchat", "app", "helpdesk", "c", "maria")
TEA = Choices("Tea?", [Choice("Green tea", "green"), "Black"], action="tea")
CAKE = Card("Cake?", buttons=[Button("Yes, please", "cake", "yes"), Button("Recipe", url="https://x")])
FORM = Form(
    "Order",
    [
        Field("name", "Your name"),
        Field("size", "Size", "select", [Choice("Small", "s"), Choice("Large", "l")]),
        Field("extras", "", "checkbox", ["Milk", "Sugar"], optional=True),
        Field("note", "Note", default="none"),
    ],
    action="order",
)


def said(text: str, **parts: Any) -> MessageEvent:
    return MessageEvent(key="message:1", id="1", conversation=HERE, sender=User("maria"), text=text, **parts)


def take(text: str, *messages: Any) -> tuple[str, str] | None:
    event = said(text)
    action = taken(event, text, to_state(messages))
    return (action.name, action.value) if action else None


@pytest.mark.parametrize("text", ["Green tea", " green  TEA ", "green", "1", "1.", "1)"])
def test_offer_is_taken_by_label_value_or_number(text: str) -> None:
    assert take(text, TEA) == ("tea", "green")


@pytest.mark.parametrize("text", ["", "0", "3", "1 2", "-1", "１", "tea", "green tea please", "99999999999999999999"])
def test_text_fits_no_offer_nothing_is_taken(text: str) -> None:
    assert take(text, TEA) is None


def test_several_messages_labels_of_all_count_and_numbers_of_the_last() -> None:
    assert take("black", TEA, CAKE) == ("tea", "Black")
    assert take("1", TEA, CAKE) == ("cake", "yes")
    assert take("2", TEA, CAKE) is None


def test_label_that_is_a_number_wins_over_the_number() -> None:
    assert take("2", Choices("How many?", ["2", "1"], action="count")) == ("count", "2")
    assert take("1", Choices("How many?", ["2", "1"], action="count")) == ("count", "1")


def test_label_means_two_things_only_the_number_tells() -> None:
    cards = Carousel([Card("A", buttons=[Button("Buy", "buy", "a")]), Card("B", buttons=[Button("Buy", "buy", "b")])])
    assert take("buy", cards) is None
    assert take("2", cards) == ("buy", "b")


def test_message_is_no_text_nothing_is_taken() -> None:
    assert taken(said("1", type="image"), "1", to_state([TEA])) is None


def test_action_carries_the_message_that_it_was_written_in() -> None:
    event = said("1", thread_id="5", sent_at=7)
    action = taken(event, "1", to_state([TEA]))
    assert action is not None
    assert (action.message, action.key, action.thread_id, action.sent_at) == (event, "message:1", "5", 7)


def test_form_is_filled_in_lines_values_come_by_field_name() -> None:
    text = "**Order**\n**Your name**: Maria\nsize: LARGE\nextras：sugar, milk\nNote: two\nlines\n" + Form.HINT
    action = taken(said(text), text, to_state([FORM]))
    assert action is not None
    assert action.name == "order"
    assert action.values == {"name": "Maria", "size": "l", "extras": "Sugar, Milk", "note": "two\nlines"}


@pytest.mark.parametrize("hint", [Form.HINT, f"_{Form.HINT}_", f"> {Form.HINT}"])
def test_form_is_filled_in_on_its_own_text(hint: str) -> None:
    form = Form("Order", [Field("name"), Field("note")], action="order")
    text = form.to_text().replace("name:", "name: Maria").replace("note:", "note: two\n\nparts")
    action = taken(said(text), text.replace(Form.HINT, hint), to_state([form]))
    assert action is not None
    assert action.values == {"name": "Maria", "note": "two\n\nparts"}


def test_form_without_optional_fields_has_their_defaults() -> None:
    action = taken(said(""), "your NAME: Maria\nSize: s", to_state([FORM]))
    assert action is not None
    assert action.values == {"name": "Maria", "size": "s", "extras": "", "note": "none"}


@pytest.mark.parametrize(
    "text",
    ["Maria", "Your name: Maria", "Your name:\nSize: s", "Your name: Maria\nSize: huge", "Size: s\nNote: x", "a: b"],
)
def test_form_lacks_a_field_or_has_a_wrong_option_it_is_not_taken(text: str) -> None:
    assert taken(said(text), text, to_state([FORM])) is None


def test_form_of_optional_fields_is_not_taken_by_any_text() -> None:
    form = Form("Note", [Field("note", optional=True)], action="note")
    assert taken(said("hello"), "hello", to_state([form])) is None


@given(st.text(), st.sampled_from([None, "x", [], to_state([TEA, CAKE, FORM])]))
def test_any_text_is_taken_or_not_without_failing(text: str, kept: Any) -> None:
    taken(said(text), text, kept)


def test_offer_in_a_talk_is_an_action_and_unknown_ones_stay_messages(bot: Bot, talk: Any) -> None:
    bot.message("tea")(lambda ctx: TEA)
    bot.message("green")(lambda ctx: "a message")
    talk.say("tea")
    assert talk.say("green") == ["a message"]

    @bot.action("tea")
    def tea(ctx: Any, kind: str) -> str:
        return f"{kind} {ctx.event.name} {ctx.text}"

    talk.say("tea")
    assert talk.say("<@uid:helpdesk> 1") == ["green tea 1"]


def test_offer_stands_until_something_else_is_said_in_answer_to_a_later_event(bot: Bot, talk: Any) -> None:
    bot.message("tea")(lambda ctx: TEA)
    bot.message("quiet")(lambda ctx: None)
    bot.action("tea")(lambda ctx, kind: None)
    bot.fallback(lambda ctx: "else")
    talk.say("tea")
    talk.say("quiet")
    assert talk.say("1") == []
    assert talk.say("2") == []
    talk.say("something")
    assert talk.say("1") == ["else"]


def test_offers_made_by_reply_edit_and_return_for_one_event_add_up(bot: Bot, talk: Any) -> None:
    @bot.message("menu")
    def menu(ctx: Any) -> Any:
        ctx.reply(TEA)
        ctx.reply("wait").edit(CAKE)
        return "Well?"

    bot.action(lambda ctx: ctx.event.name)
    talk.say("menu")
    assert talk.say("black") == ["tea"]
    talk.say("menu")
    assert talk.say("1") == ["cake"]


def test_offer_made_before_the_handler_raised_still_stands(bot: Bot, talk: Any) -> None:
    @bot.message("menu")
    def menu(ctx: Any) -> None:
        ctx.state["x"] = 1
        ctx.reply(TEA)
        raise ValueError

    bot.action("tea")(lambda ctx, kind: kind)
    talk.say("menu")
    assert [sorted(change.values) for change in talk.outcome.changes] == [[OFFERS]]
    assert talk.say("1") == ["green"]


def test_offer_sent_to_another_conversation_stands_there(bot: Bot, talk: Any, group: Conversation) -> None:
    bot.message("ask")(lambda ctx: ctx.send(TEA, to=group) and None)
    bot.message("tell")(lambda ctx: ctx.send("news", to=group) and None)
    bot.action("tea")(lambda ctx, kind: kind)
    talk.say("ask")
    talk.say("tell")
    assert talk.say("1") == []
    assert talk.say("1", conversation=group) == ["green"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Your name: Maria\nSize: Huge", "Size: “Huge” is not on offer. Choose one of: Small, Large."),
        ("extras: milk, honey, rum", "extras: “honey” and “rum” is not on offer. Choose any of: Milk, Sugar."),
    ],
)
def test_option_not_offered_is_named(text: str, problem: str) -> None:
    found = option_not_offered(said(text), text, to_state([FORM]))
    assert found is not None
    assert (found[0].name, found[1]) == ("order", problem)


@pytest.mark.parametrize("text", ["Size: small", "Huge", "Name: Huge", "Your name: Maria", ""])
def test_option_not_offered_ignores_other_texts(text: str) -> None:
    assert option_not_offered(said(text), text, to_state([FORM])) is None


def test_option_not_offered_needs_a_form() -> None:
    assert option_not_offered(said("Size: Huge"), "Size: Huge", to_state([TEA])) is None
    assert option_not_offered(said("Size: Huge"), "Size: Huge", None) is None
