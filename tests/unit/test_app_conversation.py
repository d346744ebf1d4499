"""The conversation of the reports about a whole app, in which nothing can be said."""

from __future__ import annotations

import pytest

from cometbot import Bot, BotError, CallEvent, Context, Group, MessageEvent, PresenceEvent
from cometbot.models import Conversation
from cometbot.testing import BotClient


def test_app_conversation_is_no_chat() -> None:
    app = Conversation.of_app("cometchat", "app", "guard", "presence")
    assert (app.is_app, app.is_direct, app.is_group) == (True, False, False)
    assert not Conversation("cometchat", "app", "guard", "a_user_b", "a").is_app
    # An id that a client has chosen does not make a chat one.
    assert not Conversation("chat_api", "app", "guard", app.id, "maria").is_app


@pytest.mark.parametrize("call", ["reply", "ask", "return", "hand_off"])
def test_nobody_is_there_to_reply_to(call: str) -> None:
    bot = Bot("guard")

    @bot.event(PresenceEvent)
    def handle(ctx: Context) -> str | None:
        if call == "reply":
            ctx.reply("hello")
        elif call == "ask":
            ctx.ask("Who are you?")
        elif call == "hand_off":
            ctx.hand_off(Group("support"))
        return "hello" if call == "return" else None

    client = BotClient(bot)
    with pytest.raises(BotError, match=r"PresenceEvent happened in no conversation.*ctx\.send"):
        client.event(PresenceEvent, status="online")


def test_bot_that_asks_about_events_takes_the_answers() -> None:
    bot = Bot("guard")
    bot.event(CallEvent)(lambda ctx: None)
    assert not bot.takes(MessageEvent)

    @bot.event(PresenceEvent)
    def handle(ctx: Context) -> None:
        ctx.approve("Let in?", to=Group("moderators"))

    assert bot.takes(MessageEvent)


def test_event_of_app_can_send_elsewhere_and_keep_state() -> None:
    bot = Bot("guard")

    @bot.event(PresenceEvent)
    def handle(ctx: Context) -> None:
        ctx.state["seen"] = ctx.state.get("seen", 0) + 1
        ctx.send(f"You are number {ctx.state['seen']}.", to=ctx.conversation_with(user=ctx.sender.uid))

    client = BotClient(bot)
    client.event(PresenceEvent, status="online")
    client.as_user("tom").event(PresenceEvent, status="online")
    assert [said.text for said in client.said(user="tom")] == ["You are number 2."]


def test_call_with_the_bot_is_in_its_conversation() -> None:
    bot = Bot("guard")

    @bot.event(CallEvent)
    def handle(ctx: Context) -> str:
        return "I cannot take calls."

    assert BotClient(bot).event(CallEvent, id="1", action="initiated").text == "I cannot take calls."
