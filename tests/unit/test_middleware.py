"""Middleware, plain and async, around what :mod:`cometbot.dispatch` runs."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from unittest.mock import Mock

import pytest

from cometbot import (
    Bot,
    BotError,
    Router,
)
from cometbot.bot import ERROR_TEXT


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


def test_plain_middleware_around_async_runs_one_loop(bot: Bot, harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Mock(wraps=asyncio.run)
    monkeypatch.setattr(asyncio, "run", run)
    bot.middleware(lambda ctx, call_next: call_next() + "!")

    @bot.middleware
    async def inner(ctx: Any, call_next: Any) -> Any:
        return await call_next() + "?"

    @bot.message()
    async def later(ctx: Any) -> str:
        return "async"

    assert harness.send_text("x") == ["async?!"]
    assert run.call_count == 1


def test_plain_middleware_between_async_is_refused(bot: Bot, harness: Any) -> None:
    @bot.middleware
    async def outer(ctx: Any, call_next: Any) -> Any:
        return await call_next()

    bot.middleware(lambda ctx, call_next: call_next())

    @bot.message("async")
    async def later(ctx: Any) -> str:
        return "async"

    bot.message("plain")(lambda ctx: "plain")
    harness.send_text("async")
    assert isinstance(harness.outcome.error, BotError)
    assert "make that middleware async def" in str(harness.outcome.error)
    assert harness.send_text("plain") == ["plain"]


def test_async_middleware_does_not_call_next_the_event_stops(bot: Bot, harness: Any) -> None:
    @bot.middleware
    async def gate(ctx: Any, call_next: Any) -> None:
        return None

    bot.message()(lambda ctx: "x")
    assert harness.send_text("hi") == []
    assert harness.outcome.stopped_by.endswith("gate")
