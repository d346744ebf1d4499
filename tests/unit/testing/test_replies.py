"""What a bot said can be looked at as text, and as what it was."""

from __future__ import annotations

import pytest

from cometbot import Button, Card, Carousel, Choices, Conversation, Field, Form, Message, Text
from cometbot.testing import Replies, SentMessage

HERE = Conversation("fake", "test", "bot", "c", "maria")


def said(message: Message, id: str = "1") -> SentMessage:
    return SentMessage(id, HERE, message)


def test_a_text_offers_nothing() -> None:
    text = said(Text("hello"))

    assert (text.text, text.buttons, text.links, text.choices, text.fields, text.offers) == (
        "hello",
        [],
        {},
        [],
        [],
        (),
    )


def test_a_carousel_has_the_buttons_of_all_its_cards() -> None:
    cards = Carousel([Card("A", buttons=[Button("Buy")]), Card("B", buttons=[Button("See", url="https://b.example")])])

    assert said(cards).buttons == ["Buy", "See"]
    assert said(cards).links == {"See": "https://b.example"}
    assert [offer.label for offer in said(cards).offers] == ["Buy"]


def test_choices_and_fields_are_named() -> None:
    assert said(Choices("Which?", ["A", "B"])).choices == ["A", "B"]
    assert said(Form("F", [Field("name"), Field("age")], "sent")).fields == ["name", "age"]


def test_replies_are_a_sequence_and_a_text() -> None:
    replies = Replies(
        [said(Text("one"), "1"), said(Choices("two", ["A"]), "2"), said(Card("c", buttons=[Button("B")]), "3")]
    )

    assert len(replies) == 3
    assert replies[-1].id == "3"
    assert replies[:1].texts == ["one"]
    assert replies.text.startswith("one\ntwo\n\n1. A")
    assert (replies.choices, replies.buttons) == (["A"], ["B"])
    assert replies == Replies(list(replies))
    assert hash(replies) == hash(Replies(list(replies)))
    assert replies != Replies()
    assert replies != ["one"]


def test_empty_replies_are_false_and_index_fails() -> None:
    assert not Replies()
    with pytest.raises(IndexError, match="no reply 0; the bot sent nothing"):
        Replies()[0]
    with pytest.raises(IndexError, match="no reply 1; the bot sent \\['one'\\]"):
        Replies([said(Text("one"))])[1]
