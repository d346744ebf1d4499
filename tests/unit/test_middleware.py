"""Middleware, plain and async, around what :mod:`cometbot.dispatch` runs."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from cometbot import (
    ActionEvent,
    Bot,
    BotError,
    MembershipEvent,
    Router,
)
from cometbot.bot import ERROR_TEXT
from cometbot.errors import RegistrationError


def test_middleware_may_replace_inner_result(bot: Bot, harness: Any) -> None:
    seen: list[Any] = []

    @bot.middleware
    def outer(ctx: Any, call_next: Any) -> None:
        seen.append(call_next())

    @bot.middleware
    def inner(ctx: Any, call_next: Any) -> Any:
        return call_next() + "!"

    bot.message("hi")(lambda ctx: "hello")
    assert harness.send_text("hi") == ["hello!"]
    assert seen == ["hello!"]


def test_middleware_without_call_next_stops_event_and_logs(
    bot: Bot, harness: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @bot.middleware
    def gate(ctx: Any, call_next: Any) -> Any:
        return call_next() if ctx.text == "in" else "closed"

    ran: list[str] = []
    bot.fallback(lambda ctx: ran.append(ctx.text))
    with caplog.at_level(logging.INFO, "cometbot.dispatch"):
        assert harness.send_text("out") == ["closed"]
    assert harness.outcome.stopped_by.endswith("gate")
    assert harness.outcome.handler == ""
    assert ran == []
    assert "gate" in caplog.text
    assert caplog.records[0].event == "message:712"
    assert harness.send_text("in") == []
    assert ran == ["in"]
    assert harness.outcome.stopped_by == ""


def test_middleware_surrounds_events_that_nobody_wants(bot: Bot, harness: Any) -> None:
    bot.middleware(lambda ctx, call_next: f"inner said {call_next()}")
    assert harness.send_text("hi") == ["inner said None"]


def test_middleware_calling_next_twice_raises(bot: Bot, harness: Any) -> None:
    @bot.middleware
    def twice(ctx: Any, call_next: Any) -> None:
        call_next()
        call_next()

    bot.message()(lambda ctx: "x")
    harness.send_text("hi")
    assert isinstance(harness.outcome.error, BotError)
    assert "twice" in str(harness.outcome.error)


def test_middleware_lets_an_exception_pass_or_handles_it(bot: Bot, harness: Any) -> None:
    seen: list[BaseException] = []

    @bot.middleware
    def watch(ctx: Any, call_next: Any) -> Any:
        try:
            return call_next()
        except ValueError as error:
            seen.append(error)
            if ctx.text == "soft":
                return "handled"
            raise

    @bot.message()
    def fail(ctx: Any) -> None:
        raise ValueError("x")

    assert harness.send_text("soft") == ["handled"]
    assert harness.outcome.error is None
    assert harness.send_text("hard") == [ERROR_TEXT]
    assert harness.outcome.error is seen[1]


def test_router_middleware_applies_to_own_handlers_only(bot: Bot, harness: Any) -> None:
    inner, outer = Router(), Router()
    calls: list[str] = []
    for name, group in (("bot", bot), ("outer", outer), ("inner", inner)):
        group.middleware(lambda ctx, call_next, name=name: calls.append(name) or call_next())
    inner.message("in")(lambda ctx: 1 / 0)
    outer.message("out")(lambda ctx: 1 / 0)
    bot.message("top")(lambda ctx: 1 / 0)
    inner.error(ArithmeticError)(lambda ctx, error: "inner")
    bot.error(ZeroDivisionError)(lambda ctx, error: "bot")
    outer.include(inner)
    bot.include(outer)

    assert (harness.send_text("in"), calls) == (["inner"], ["bot", "outer", "inner"])
    calls.clear()
    assert (harness.send_text("out"), calls) == (["bot"], ["bot", "outer"])
    calls.clear()
    assert (harness.send_text("top"), calls) == (["bot"], ["bot"])


def test_middleware_of_handlers_is_inside_that_of_bot_and_routers(bot: Bot, harness: Any) -> None:
    calls: list[str] = []

    def named(name: str) -> Any:
        def middleware(ctx: Any, call_next: Any) -> Any:
            calls.append(name)
            return call_next()

        return middleware

    router = Router()
    bot.middleware(named("bot"))
    router.middleware(named("router"))
    router.command("both", middleware=[named("first"), named("second")])(lambda ctx: calls.append("handler"))
    router.command("plain")(lambda ctx: calls.append("handler"))
    bot.include(router)

    harness.send_text("/both")
    assert calls == ["bot", "router", "first", "second", "handler"]
    calls.clear()
    harness.send_text("/plain")
    assert calls == ["bot", "router", "handler"]


def test_middleware_of_each_decorator_surrounds_its_handler(bot: Bot, harness: Any, make_message: Any) -> None:
    def louder(ctx: Any, call_next: Any) -> Any:
        return f"{call_next()}!"

    def shut(ctx: Any, call_next: Any) -> str:
        return "closed"

    bot.command("go", middleware=[louder])(lambda ctx: "command")
    bot.message("hi", middleware=[louder])(lambda ctx: "message")
    bot.message("closed", middleware=(louder, shut))(lambda ctx: "message")
    bot.action("buy", middleware=[louder])(lambda ctx: "action")
    bot.event(MembershipEvent, middleware=[louder])(lambda ctx: "event")
    bot.fallback(middleware=[louder])(lambda ctx: "fallback")

    assert harness.send_text("/go") == ["command!"]
    assert harness.send_text("hi") == ["message!"]
    assert harness.send_text("closed") == ["closed!"]
    assert harness.outcome.stopped_by.endswith("shut")
    said = make_message("")
    common = {"key": "other:1", "conversation": said.conversation, "sender": said.sender}
    assert harness.send(ActionEvent(**common, name="buy")) == ["action!"]
    assert harness.send(MembershipEvent(**common, action="joined")) == ["event!"]
    assert harness.send_text("what") == ["fallback!"]


def test_middleware_of_handlers_may_be_async(bot: Bot, harness: Any) -> None:
    async def louder(ctx: Any, call_next: Any) -> Any:
        await asyncio.sleep(0)
        return f"{await call_next()}!"

    @bot.message("a", middleware=[louder])
    async def later(ctx: Any) -> str:
        return "async"

    bot.message("b", middleware=[louder])(lambda ctx: "plain")
    assert (harness.send_text("a"), harness.send_text("b")) == (["async!"], ["plain!"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (len, "expected a list such as \\[timed\\], got <built-in function len>"),
        ("timed", "expected a list such as \\[timed\\], got 'timed'"),
        ([lambda ctx: None], "must take exactly 2 arguments: def timed"),
        ([int], "is a class"),
    ],
)
def test_wrong_middleware_of_a_handler_is_refused(bot: Bot, given: Any, expected: str) -> None:
    with pytest.raises(RegistrationError, match=expected):
        bot.command("x", middleware=given)(lambda ctx: None)
    assert bot.handlers == ()


def test_async_handlers_middleware_and_error_handlers_work(bot: Bot, harness: Any) -> None:
    @bot.middleware
    async def outer(ctx: Any, call_next: Any) -> Any:
        await asyncio.sleep(0)
        return f"{await call_next()}!"

    @bot.middleware
    async def inner(ctx: Any, call_next: Any) -> None:
        await call_next()

    @bot.message("a")
    async def later(ctx: Any) -> str:
        await asyncio.sleep(0)
        return "async"

    bot.message("b")(lambda ctx: "plain")

    @bot.message("c")
    async def fail(ctx: Any) -> None:
        raise ValueError("c")

    @bot.error(ValueError)
    async def explain(ctx: Any, error: Exception) -> str:
        return f"sorry {error}"

    assert harness.send_text("a") == ["async!"]
    assert harness.send_text("b") == ["plain!"]
    assert harness.send_text("c") == ["sorry c"]


def test_plain_middleware_around_async(bot: Bot, harness: Any) -> None:
    bot.middleware(lambda ctx, call_next: call_next() + "!")

    @bot.middleware
    async def inner(ctx: Any, call_next: Any) -> Any:
        return await call_next() + "?"

    @bot.message()
    async def later(ctx: Any) -> str:
        return "async"

    assert harness.send_text("x") == ["async?!"]


def test_plain_middleware_between_async(bot: Bot, harness: Any) -> None:
    threads: dict[str, int] = {}

    @bot.middleware
    async def outer(ctx: Any, call_next: Any) -> Any:
        threads["outer"] = threading.get_ident()
        return await call_next() + "!"

    @bot.middleware
    def plain(ctx: Any, call_next: Any) -> Any:
        threads["plain"] = threading.get_ident()
        return call_next() + "?"

    @bot.message("async")
    async def later(ctx: Any) -> str:
        return "async"

    @bot.message("plain")
    def now(ctx: Any) -> str:
        threads["handler"] = threading.get_ident()
        return "plain"

    assert harness.send_text("async") == ["async?!"]
    assert harness.send_text("plain") == ["plain?!"]
    # What is plain does not block the loop of the async middleware around it.
    assert threads["plain"] == threads["handler"] == threading.get_ident() != threads["outer"]


def test_async_middleware_does_not_call_next_the_event_stops(bot: Bot, harness: Any) -> None:
    @bot.middleware
    async def gate(ctx: Any, call_next: Any) -> None:
        return None

    bot.message()(lambda ctx: "x")
    assert harness.send_text("hi") == []
    assert harness.outcome.stopped_by.endswith("gate")
