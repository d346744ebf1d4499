"""Steps belong into handlers: not into matchers, error handlers, middleware, or functions around them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cometbot import Bot, BotError, Context, Router
from cometbot.commands import UsageError
from cometbot.testing import BotClient

Step = Callable[[Context], Any]

STEPS: list[Step] = [
    lambda ctx: ctx.ask("Which?"),
    lambda ctx: ctx.once(list),
    lambda ctx: ctx.sleep("1h"),
]

steps = pytest.mark.parametrize("step", STEPS, ids=["ask", "once", "sleep"])


@pytest.fixture
def bot() -> Bot:
    return Bot("shop")


def check_refused(bot: Bot, text: str = "hi") -> None:
    client = BotClient(bot)
    with pytest.raises(BotError, match="in a handler only, not in middleware, a matcher, an error handler"):
        client.send(text)
    assert client.waiting is None


@steps
def test_matcher(bot: Bot, step: Step) -> None:
    bot.message(lambda ctx: step(ctx))(lambda ctx: "matched")
    check_refused(bot)


@steps
@pytest.mark.parametrize("is_late", [False, True])
def test_middleware(bot: Bot, step: Step, is_late: bool) -> None:
    @bot.middleware
    def watch(ctx: Context, call_next: Any) -> Any:
        if is_late:
            call_next()
        return step(ctx)

    bot.fallback(lambda ctx: "handled")
    check_refused(bot)


@steps
@pytest.mark.parametrize("is_late", [False, True])
def test_async_middleware_around_async_handler(bot: Bot, step: Step, is_late: bool) -> None:
    @bot.middleware
    async def watch(ctx: Context, call_next: Any) -> Any:
        if is_late:
            await call_next()
        return step(ctx)

    @bot.fallback
    async def handle(ctx: Context) -> str:
        await asyncio.sleep(0)
        return str(ctx.once(list))

    check_refused(bot)


@steps
def test_middleware_of_a_router(bot: Bot, step: Step) -> None:
    router = Router()
    router.middleware(lambda ctx, call_next: [call_next(), step(ctx)])
    router.fallback(lambda ctx: ctx.once(list))
    bot.include(router)
    check_refused(bot)


@steps
def test_middleware_of_a_handler(bot: Bot, step: Step) -> None:
    bot.fallback(middleware=[lambda ctx, call_next: [call_next(), step(ctx)]])(lambda ctx: ctx.once(list))
    check_refused(bot)


@steps
@pytest.mark.parametrize("is_async", [False, True])
def test_error_handler(bot: Bot, step: Step, is_async: bool) -> None:
    @bot.fallback
    def fail(ctx: Context) -> None:
        ctx.once(list)
        raise KeyError("x")

    if is_async:

        @bot.error
        async def explain_later(ctx: Context, error: Exception) -> Any:
            return step(ctx)

    else:

        @bot.error
        def explain(ctx: Context, error: Exception) -> Any:
            return step(ctx)

    check_refused(bot)


@steps
def test_handler_of_usage_errors(bot: Bot, step: Step) -> None:
    @bot.command
    def order(ctx: Context, count: int) -> None: ...

    bot.error(UsageError)(lambda ctx, error: step(ctx))
    check_refused(bot, "/order many")


@steps
def test_context_that_outlives_its_handler(bot: Bot, step: Step) -> None:
    kept: list[Context] = []
    bot.fallback(lambda ctx: kept.append(ctx) or ctx.once(list))
    BotClient(bot).send("hi")
    with pytest.raises(BotError, match="can be called in a handler only"):
        step(kept[0])


@steps
def test_error_handler_after_a_resume(bot: Bot, step: Step) -> None:
    @bot.fallback
    def fail(ctx: Context) -> None:
        ctx.ask("Which?")
        raise KeyError("x")

    bot.error(lambda ctx, error: step(ctx))
    client = BotClient(bot)
    client.send("hi")
    with pytest.raises(BotError, match="can be called in a handler only"):
        client.send("M")
