"""A bot that hears of blocked messages and reviews them, on the simulated CometChat."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cometbot import BlockEvent, Bot, Context, Group, ModerationEvent, PresenceEvent, ReceiptEvent
from cometbot.errors import NotFound
from cometbot.simulator import Simulator, StoredMessage
from cometbot.testing import BotClient
from cometbot.testing.fakes.cometchat import CometChatFake


def get_fake(client: BotClient) -> CometChatFake:
    assert isinstance(client.fake, CometChatFake)
    return client.fake


def block_message(simulator: Simulator) -> str:
    """Have a message of ann's to maria blocked, report it, and return its id."""
    message = simulator.user("ann").say("casino night", to=simulator.user("maria").uid)
    report_blocked(simulator, message)
    return message.id


def report_blocked(simulator: Simulator, message: StoredMessage) -> None:
    blocked = replace(message, data={**message.data, "moderation": {"status": "disapproved"}})
    simulator.world.message_store.update(blocked)
    data = {"message": simulator.world.serializer.message(blocked), "moderation": []}
    simulator.report("moderation_engine_blocked", data)


def test_bot_that_quotes_what_was_blocked_does_not_hear_of_its_own_messages() -> None:
    bot = Bot("guard")

    @bot.event(ModerationEvent)
    def report(ctx: Context) -> None:
        assert isinstance(ctx.event, ModerationEvent)
        ctx.send(f"Blocked: {ctx.event.message.text}", to=ctx.conversation_with(user="tom"))

    with BotClient(bot, channel="cometchat") as client:
        simulator = get_fake(client).simulator
        simulator.add_user("tom")
        tom = client.as_user("tom")
        block_message(simulator)
        client.send("hello")
        [said] = tom.said()
        report_blocked(simulator, simulator.message(said.id))
        client.send("anything new?")
        assert [said.text for said in tom.said()] == ["Blocked: casino night"]


def test_bot_delivers_a_message_that_was_blocked() -> None:
    bot = Bot("guard")
    heard: list[tuple[str, bool, str, bool]] = []

    @bot.event(ModerationEvent)
    def review(ctx: Context) -> None:
        event = ctx.event
        assert isinstance(event, ModerationEvent)
        heard.append((event.action, event.by_moderator, event.message.text, ctx.conversation.is_app))
        if event.action == "blocked":
            ctx.client.review(event.message.id, approve=True, queue="blocked")

    @bot.message()
    def answer(ctx: Context) -> str:
        return "ok"

    with BotClient(bot, channel="cometchat") as client:
        client.send("hello")
        block_message(get_fake(client).simulator)
        client.send("go on")
        client.send("go on")
    assert heard == [("blocked", False, "casino night", True), ("approved", True, "casino night", True)]


@pytest.mark.parametrize(("word", "status"), [("Approve", "approved"), ("Decline", "disapproved")])
def test_moderators_decide_on_a_blocked_message(word: str, status: str) -> None:
    bot = Bot("guard")

    @bot.event(ModerationEvent)
    def ask(ctx: Context) -> None:
        assert isinstance(ctx.event, ModerationEvent)
        if ctx.event.action == "blocked":
            approval = ctx.approve(f"Deliver {ctx.event.message.text!r}?", to=Group("moderators"))
            ctx.once(ctx.client.review, ctx.event.message.id, approve=bool(approval), queue="blocked")

    with BotClient(bot, channel="cometchat") as client:
        moderator = client.as_user("tom", group="moderators")
        moderator.send("hello")
        simulator = get_fake(client).simulator
        message = block_message(simulator)
        moderator.send("anything new?")
        assert "Deliver 'casino night'?" in moderator.said()[-1].text
        moderator.press(word)
        assert simulator.message(message).data["moderation"]["status"] == status


def test_message_that_is_not_blocked_cannot_be_reviewed() -> None:
    bot = Bot("guard")

    @bot.message()
    def review(ctx: Context) -> str:
        with pytest.raises(NotFound):
            ctx.client.review("12345", approve=True, queue="blocked")
        assert ctx.message is not None
        ctx.client.flag_message(ctx.message.id, "spam", on_behalf_of="guard")
        ctx.client.review(ctx.message.id, approve=True)
        return "reviewed"

    with BotClient(bot, channel="cometchat") as client:
        assert client.send("hello").text == "reviewed"


def test_what_people_do_reaches_the_bot() -> None:
    bot = Bot("guard")
    heard: list[str] = []

    @bot.event(PresenceEvent, BlockEvent, ReceiptEvent)
    def record(ctx: Context) -> None:
        heard.append(f"{type(ctx.event).__name__} {ctx.sender.uid} {ctx.conversation.is_app}")

    @bot.message()
    def answer(ctx: Context) -> str:
        return "ok"

    with BotClient(bot, channel="cometchat") as client:
        said = client.send("hello")
        maria = get_fake(client).simulator.user("maria")
        maria.connect()
        maria.read(said[-1].id)
        get_fake(client).simulator.add_user("tom")
        maria.block("tom")
        client.send("go on")
    assert sorted(heard) == ["BlockEvent maria True", "PresenceEvent maria True", "ReceiptEvent maria False"]
