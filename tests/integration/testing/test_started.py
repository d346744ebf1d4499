"""The beginning of a conversation reaches the bot once, on each channel that reports it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from cometbot import Bot, ContactEvent, Context, ConversationStarted, Event, MembershipEvent
from cometbot.store.tables import mailbox
from cometbot.testing import BotClient
from cometbot.testing.fakes.base import Unsupported

DIRECT = ["fake", "chat_api", "platform", "simplex"]
GROUPS = ["fake", "cometchat", "simplex"]


def make_bot(kind: type[Event]) -> Bot:
    bot = Bot("greeter")

    @bot.event(kind)
    def greet(ctx: Context) -> str:
        return f"Welcome, {ctx.sender.name}! ({type(ctx.event).__name__})"

    @bot.message()
    def answer(ctx: Context) -> str:
        return "Yes?"

    return bot


@pytest.mark.parametrize("channel", DIRECT)
def test_user_who_opens_a_conversation_is_greeted_once(channel: str) -> None:
    with BotClient(make_bot(ConversationStarted), user="maria", channel=channel) as client:
        assert client.start().text.startswith("Welcome, Maria!")
        assert not client.start()
        assert client.send("hi").text == "Yes?"
        assert client.as_user("tom").start().text.startswith("Welcome, Tom!")


@pytest.mark.parametrize("channel", GROUPS)
def test_bot_that_is_added_to_a_group_greets_it(channel: str) -> None:
    for kind in (ConversationStarted, MembershipEvent):
        with BotClient(make_bot(kind), user="maria", channel=channel) as client:
            group = client.in_group("ops")
            assert group.start().text == "Welcome, Maria! (GroupStarted)"
            assert not group.start()


def test_contact_is_the_same_event() -> None:
    with BotClient(make_bot(ContactEvent), user="maria", channel="simplex") as client:
        assert client.start().text == "Welcome, Maria! (ContactStarted)"


@pytest.mark.parametrize("channel", ["cometchat", "agui"])
def test_other_channels_do_not_report_it(channel: str) -> None:
    with BotClient(make_bot(ConversationStarted), user="maria", channel=channel) as client:
        with pytest.raises(Unsupported, match="does not report that a conversation begins"):
            client.start()
        assert client.send("hi").text == "Yes?"


@pytest.mark.parametrize("channel", ["chat_api", "platform"])
def test_bot_without_a_handler_gets_no_event(channel: str) -> None:
    with BotClient(make_bot(MembershipEvent), user="maria", channel=channel) as client:
        client.start()
        with client._harness.database.read() as connection:
            assert connection.execute(sa.select(mailbox.c.seq)).all() == []
