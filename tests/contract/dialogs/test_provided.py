"""What a bot provides to handlers that ask: made in each run, closed before the run ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from cometbot import Bot, BotError, Context
from cometbot.testing import BotClient


class Session:
    """A session whose rows last with its commit."""

    def __init__(self, table: list[str]) -> None:
        self.table = table
        self.added: list[str] = []

    def add(self, row: str) -> None:
        self.added.append(row)


@pytest.fixture
def bot() -> Bot:
    return Bot("shop")


@pytest.fixture
def table(bot: Bot) -> list[str]:
    """Provide a session to the bot's handlers, and return its table."""
    rows: list[str] = []

    def make_session() -> Iterator[Session]:
        session = Session(rows)
        yield session
        rows.extend(session.added)

    bot.provide(Session, make_session)
    return rows


def test_question_rolls_back_and_the_last_run_commits(bot: Bot, table: list[str]) -> None:
    @bot.command
    def order(ctx: Context, session: Session) -> str:
        session.add("begun")
        size = ctx.ask("Which size?")
        session.add(size)
        return "done"

    client = BotClient(bot)
    client.send("/order")
    assert table == []
    assert client.send("M").text == "done"
    assert table == ["begun", "M"]


def test_async_question_rolls_back(bot: Bot) -> None:
    rows: list[str] = []

    async def make_session() -> AsyncIterator[Session]:
        session = Session(rows)
        yield session
        await asyncio.sleep(0)
        rows.extend(session.added)

    bot.provide(Session, make_session)

    @bot.command
    async def order(ctx: Context, session: Session) -> str:
        session.add(ctx.ask("Which size?"))
        return "done"

    client = BotClient(bot)
    client.send("/order")
    assert rows == []
    assert client.send("M").text == "done"
    assert rows == ["M"]


@pytest.mark.parametrize("kind", ["suppressed", "returned", "async"])
def test_swallowed_suspension_rolls_back(bot: Bot, table: list[str], kind: str) -> None:
    def swallow(ctx: Context, session: Session) -> str:
        session.add("row")
        with suppress(BaseException):
            return ctx.ask("Which size?")
        return "swallowed"

    if kind == "async":

        @bot.fallback
        async def ask(ctx: Context, session: Session) -> str:
            return swallow(ctx, session)

    elif kind == "returned":

        @bot.fallback
        def finish(ctx: Context, session: Session) -> Any:
            async def later() -> str:
                return swallow(ctx, session)

            return later()

    else:
        bot.fallback(swallow)
    client = BotClient(bot)
    client.send("hi")
    assert table == []
    assert client.send("M").text == "M"
    assert table == ["row"]


def test_other_path_rolls_back(bot: Bot, table: list[str]) -> None:
    runs: list[int] = []

    @bot.command
    def order(ctx: Context, session: Session) -> str:
        runs.append(1)
        session.add("row")
        if len(runs) == 1:
            ctx.ask("Which size?")
        return "done"

    client = BotClient(bot, raise_errors=False, check_paths=False)
    client.send("/order")
    client.send("M")
    assert table == []
    assert BotError.__name__ in client.dead_letters[0].error


def test_cancelled_question_rolls_back(bot: Bot, table: list[str]) -> None:
    @bot.command
    def order(ctx: Context, session: Session) -> None:
        session.add("row")
        ctx.ask("Which size?")

    client = BotClient(bot)
    client.send("/order")
    assert client.send("/cancel").text == "All right, cancelled."
    assert table == []
