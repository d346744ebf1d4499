"""The messages of the Chat API as texts: cards and choices, and what users have chosen."""

from __future__ import annotations

import pytest

from cometbot.channels.chat_api.payloads import kind_of, to_payloads
from cometbot.channels.chat_api.transcript import show_as_texts
from cometbot.events import MessageEvent
from cometbot.messages import Button, Card, Choice, Choices, Location, Message, Text
from cometbot.models import Conversation, User

HERE = Conversation("chat_api", "chat", "shop", "c1", "maria")


def said(message: Message) -> MessageEvent:
    """Return a message of the bot as the history has it."""
    [payload] = to_payloads(message)
    data = {} if kind_of(payload) in ("text", "image") else payload
    return MessageEvent(
        key="k", conversation=HERE, sender=User("shop"), id="1", text=payload.get("text", ""), data=data
    )


def written(text: str) -> MessageEvent:
    return MessageEvent(key="k", conversation=HERE, sender=User("maria"), id="2", text=text)


def texts(*messages: MessageEvent) -> list[str]:
    return [message.text for message in show_as_texts(messages, "shop")]


@pytest.mark.parametrize(
    "message",
    [
        Text("plain"),
        Card("Tea", "Green", "https://example.com/tea.png", [Button("More", url="https://example.com/")]),
        Location(1.0, 2.0, "There"),
    ],
)
def test_messages_of_the_bot_have_their_content_as_text(message: Message) -> None:
    assert texts(said(message)) == [message.to_text()]


def test_a_chosen_value_is_shown_as_its_label() -> None:
    offered = said(Choices("How much?", [Choice("100 g", "small"), Choice("500 g", "large")], "size"))
    assert texts(offered, written("large"), written("small")) == ["How much?\n\n1. 100 g\n\n2. 500 g", "500 g", "100 g"]


def test_a_value_is_a_text_once_the_bot_has_answered() -> None:
    tea = said(Card("Tea", buttons=[Button("Buy tea", "buy", "tea")]))
    assert texts(tea, said(Text("or not?")), written("tea"))[-1] == "Buy tea"
    assert texts(tea, written("no"), said(Text("All right.")), written("tea"))[-1] == "tea"
