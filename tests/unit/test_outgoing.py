"""Outgoing middleware: what it gets and may return, and what becomes of what a handler says."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from cometbot import Bot, BotError, Choices, Context, Field, Form, Message, Text
from cometbot.bot import ERROR_TEXT
from cometbot.errors import RegistrationError
from cometbot.messages import Operation
from cometbot.models import Conversation
from cometbot.outgoing import Outgoing, filter_message, filter_operation, filter_question

TOM = Conversation("test", "app", "helpdesk", "with_tom", "tom")


def mask(message: Message, outgoing: Outgoing) -> Message:
    return replace(message, text=message.text.replace("4711", "****")) if isinstance(message, Text) else message


def drop_secrets(message: Message, outgoing: Outgoing) -> Message | None:
    return None if "secret" in message.to_text() else message


def to_operation(message: Message) -> Operation:
    return Operation(conversation=TOM, message=message)


def test_everything_that_is_said_is_passed_with_its_place(bot: Bot, harness: Any) -> None:
    seen: list[tuple[str, str, str, str | None]] = []

    @bot.outgoing
    def note(message: Message, outgoing: Outgoing) -> Message:
        event = outgoing.event.key if outgoing.event is not None else None
        seen.append((message.to_text(), outgoing.bot.name, outgoing.conversation.target, event))
        return message

    @bot.message("hi")
    def hi(ctx: Context) -> list[str]:
        sent = ctx.reply("replied")
        sent.edit("edited")
        ctx.send("elsewhere", to=ctx.conversation_with(user="tom"))
        ctx.react("👍")
        sent.delete()
        return ["returned", "again"]

    harness.send_text("hi")
    expected = [("replied", "maria"), ("edited", "maria"), ("elsewhere", "tom"), ("returned", "maria")]
    expected.append(("again", "maria"))
    assert seen == [(text, "helpdesk", target, "message:712") for text, target in expected]
    assert [item.kind for item in harness.sink.posted] == ["send", "edit", "send", "react", "delete"]


def test_each_middleware_gets_what_the_one_before_returned(bot: Bot, harness: Any) -> None:
    bot.outgoing(mask)
    bot.outgoing()(lambda message, outgoing: Text(f"{message.text}!"))
    bot.message("hi")(lambda ctx: ctx.reply("your number: 4711") and "4711 again")
    assert harness.send_text("hi") == ["your number: ****!", "**** again!"]


def test_dropped_messages_take_their_ordinals(bot: Bot, harness: Any, caplog: pytest.LogCaptureFixture) -> None:
    bot.outgoing(drop_secrets)

    @bot.message("hi")
    def hi(ctx: Context) -> list[str]:
        ctx.reply("a secret")
        ctx.reply("open")
        assert [item.message for item in ctx.said] == [Text("open")]
        return ["another secret", "done"]

    with caplog.at_level(logging.INFO, "cometbot.outgoing"):
        assert harness.send_text("hi") == ["open", "done"]
    assert [item.is_dropped for item in (*harness.sink.posted, *harness.outcome.operations)] == [True, False] * 2
    assert caplog.text.count("dropped a message in outgoing middleware") == 2
    assert "test_outgoing.drop_secrets" in caplog.text


def test_quick_replies_are_those_of_the_changed_message(bot: Bot, harness: Any) -> None:
    @bot.outgoing
    def translate(message: Message, outgoing: Outgoing) -> Message:
        return Choices("Welche?", ["Rot", "Blau"], "colour") if isinstance(message, Choices) else message

    bot.message("hi")(lambda ctx: Choices("Which?", ["Red", "Blue"], "colour"))
    bot.action("colour")(lambda ctx, value: f"chosen {value}")
    harness.send_text("hi")
    assert harness.send_text("blau") == ["chosen Blau"]


def test_error_of_outgoing_middleware_holds_all_returned_replies_back(bot: Bot, harness: Any) -> None:
    @bot.outgoing
    def check(message: Message, outgoing: Outgoing) -> Message:
        if "bad" in message.to_text():
            raise LookupError("unknown word")
        return message

    bot.message("hi")(lambda ctx: ["good", "bad"])
    assert harness.send_text("hi") == [ERROR_TEXT]
    assert isinstance(harness.outcome.error, LookupError)


def test_error_handler_gets_the_error_of_outgoing_middleware(bot: Bot, harness: Any) -> None:
    @bot.outgoing
    def check(message: Message, outgoing: Outgoing) -> Message:
        if "bad" in message.to_text():
            raise LookupError("unknown word")
        return message

    bot.message("hi")(lambda ctx: ctx.reply("bad"))
    bot.message("worse")(lambda ctx: "bad")
    bot.error(LookupError)(lambda ctx, error: f"held back: {error}")
    assert harness.send_text("hi") == ["held back: unknown word"]
    assert harness.send_text("worse") == ["held back: unknown word"]


def test_middleware_that_always_raises_sends_nothing(bot: Bot, harness: Any, caplog: pytest.LogCaptureFixture) -> None:
    @bot.outgoing
    def fail(message: Message, outgoing: Outgoing) -> Message:
        raise LookupError(message.to_text())

    bot.message("hi")(lambda ctx: "hello")
    assert harness.send_text("hi") == []
    assert harness.outcome.error.args == ("hello",)
    assert "held back a text of the bot" in caplog.text


def test_reply_of_an_error_handler_that_is_dropped_is_not_replaced(bot: Bot, harness: Any) -> None:
    bot.outgoing(drop_secrets)
    bot.message("hi")(lambda ctx: 1 / 0)
    bot.message("ho")(lambda ctx: [][1])
    bot.error(ZeroDivisionError)(lambda ctx, error: "a secret")
    bot.error(IndexError)(lambda ctx, error: ctx.reply("a secret") and None)
    assert harness.send_text("hi") == []
    assert [item.is_dropped for item in harness.outcome.operations] == [True]
    assert harness.send_text("ho") == []


def test_texts_of_cometbot_itself_are_passed(bot: Bot, harness: Any) -> None:
    bot.outgoing(lambda message, outgoing: Text(message.to_text().upper()))
    bot.command("count")(lambda ctx, number: number)
    bot.message("hi")(lambda ctx: 1 / 0)
    assert harness.send_text("hi") == [ERROR_TEXT.upper()]
    [usage] = harness.send_text("/count")
    assert usage == "NUMBER IS MISSING.\nUSAGE: /COUNT NUMBER"
    assert "/COUNT" in harness.send_text("/help")[0]


def test_outgoing_middleware_cannot_send_as_its_bot(bot: Bot, harness: Any) -> None:
    @bot.outgoing
    def copy(message: Message, outgoing: Outgoing) -> Message:
        bot.send(user="auditor", message=message)
        return message

    bot.message("hi")(lambda ctx: ctx.reply("hello") and None)
    harness.send_text("hi")
    assert isinstance(harness.outcome.error, BotError)
    assert "cannot send as helpdesk" in str(harness.outcome.error)


def test_outgoing_middleware_may_send_as_another_bot() -> None:
    bot, auditor = Bot("helpdesk"), Bot("auditor")
    copies: list[Message | None] = []

    @bot.outgoing
    def copy(message: Message, outgoing: Outgoing) -> Message:
        copies.append(filter_message(message, Outgoing(auditor, TOM)))
        return message

    auditor.outgoing(mask)
    assert filter_message(Text("4711"), Outgoing(bot, TOM)) == Text("4711")
    assert copies == [Text("****")]

    @auditor.outgoing
    def back(message: Message, outgoing: Outgoing) -> Message | None:
        return filter_message(message, Outgoing(bot, TOM))

    with pytest.raises(BotError, match="cannot send as helpdesk"):
        filter_message(Text("4711"), Outgoing(bot, TOM))


@pytest.mark.parametrize("returned", ["text", 5, [Text("a")], Text])
def test_anything_but_a_message_is_refused(bot: Bot, returned: Any) -> None:
    bot.outgoing(lambda message, outgoing: returned)
    with pytest.raises(BotError, match=r"expected a message or None, got (str|int|list|type); return the message"):
        filter_message(Text("a"), Outgoing(bot, TOM))


def test_coroutine_is_refused_and_closed(bot: Bot) -> None:
    async def later(message: Message) -> Message:
        return message

    bot.outgoing(lambda message, outgoing: later(message))  # type: ignore[arg-type,return-value]
    with pytest.raises(BotError, match="got coroutine"):
        filter_message(Text("a"), Outgoing(bot, TOM))


async def _later(message: Message, outgoing: Outgoing) -> Message:
    return message


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (_later, "is an async def; outgoing middleware is called inside ctx.reply"),
        (lambda message: message, "must take exactly 2 arguments: def redact"),
        (Text, "is a class"),
        ("mask", "is not a function"),
    ],
)
def test_what_cannot_be_outgoing_middleware_is_refused(bot: Bot, function: Any, expected: str) -> None:
    with pytest.raises(RegistrationError, match=expected):
        bot.outgoing(function)
    assert bot.outgoing_middlewares == ()


def test_operation_is_unchanged_without_outgoing_middleware(bot: Bot) -> None:
    operation = to_operation(Text("4711"))
    assert filter_operation(operation, bot, None) is operation
    bot.outgoing(mask)
    reaction = Operation(conversation=TOM, kind="react", reaction="👍")
    assert filter_operation(reaction, bot, None) is reaction
    assert filter_operation(to_operation(Text("open")), bot, None).message == Text("open")


_COLOURS = Choices("Which?", ["Red", "Blue"], "ask:1")
_FORM = Form("Where?", [Field("name"), Field("day")], "ask:1")


@pytest.mark.parametrize(
    ("asked", "changed"),
    [
        (_COLOURS, replace(_COLOURS, text="Welche?")),
        (_FORM, replace(_FORM, title="Wohin?", fields=[Field("name", "Name"), Field("day", "Tag")])),
        (Text("Who?"), Text("Wer?")),
    ],
)
def test_words_of_a_question_may_change(bot: Bot, make_message: Any, asked: Message, changed: Message) -> None:
    bot.outgoing(lambda message, outgoing: changed)
    assert filter_question(to_operation(asked), bot, make_message("hi")) == changed


@pytest.mark.parametrize(
    ("asked", "changed"),
    [
        (_COLOURS, Choices("Which?", ["Red", "Green"], "ask:1")),
        (_COLOURS, replace(_COLOURS, action="other")),
        (_COLOURS, Text("Which?")),
        (_FORM, replace(_FORM, fields=[Field("name")])),
        (Text("Who?"), _COLOURS),
    ],
)
def test_answers_of_a_question_may_not_change(bot: Bot, make_message: Any, asked: Message, changed: Message) -> None:
    bot.outgoing(lambda message, outgoing: changed)
    with pytest.raises(BotError, match="ask: outgoing middleware changed what can be answered"):
        filter_question(to_operation(asked), bot, make_message("hi"))


def test_question_may_not_be_dropped(bot: Bot, make_message: Any) -> None:
    bot.outgoing(drop_secrets)
    with pytest.raises(BotError, match="ask: outgoing middleware dropped the question"):
        filter_question(to_operation(Text("Your secret?")), bot, make_message("hi"))
