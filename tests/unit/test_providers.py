"""What a bot provides to its handlers: what is accepted, how it is opened and closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from cometbot import Bot, BotError, Button, Card, Context, Router
from cometbot.errors import RegistrationError
from cometbot.testing import BotClient


class Session:
    """What the tests provide: it notes how it is opened and closed."""

    def __init__(self, log: list[str], name: str = "session") -> None:
        self.log = log
        self.name = name

    def __enter__(self) -> Session:
        self.log.append("open")
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        self.log.append(f"close {kind.__name__ if kind else None}")
        return True


class AsyncSession:
    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def __aenter__(self) -> AsyncSession:
        self.log.append("open")
        return self

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        self.log.append(f"close {kind.__name__ if kind else None}")
        return True


class Clock:
    time = "noon"


@pytest.fixture
def bot() -> Bot:
    return Bot("helpdesk")


@pytest.fixture
def log() -> list[str]:
    return []


def test_plain_function_makes_the_object_for_each_call(bot: Bot) -> None:
    made: list[Clock] = []

    def make_clock() -> Clock:
        made.append(Clock())
        return made[-1]

    bot.provide(Clock, make_clock)

    @bot.command
    def when(ctx: Context, clock: Clock) -> str:
        return clock.time

    client = BotClient(bot)
    assert client.send("/when").text == "noon"
    assert client.send("/when").text == "noon"
    assert len(made) == 2


def test_parameters_stand_anywhere_among_the_words(bot: Bot) -> None:
    bot.provide(Clock, Clock)

    @bot.command
    def order(ctx: Context, clock: Clock, size: str, second: Clock, count: int = 1, *more: str) -> str:
        return f"{size} {count} {more} {clock.time} {second is not clock}"

    @bot.command
    def note(ctx: Context, *, clock: Clock, text: str) -> str:
        return f"{text} {clock.time}"

    client = BotClient(bot)
    assert client.send("/order M").text == "M 1 () noon True"
    assert client.send("/order M 3 a b").text == "M 3 ('a', 'b') noon True"
    assert client.send("/note buy milk").text == "buy milk noon"
    assert client.send("/order").text.endswith("Usage: /order size [count] [more …]")


def test_each_kind_of_handler_gets_it(bot: Bot) -> None:
    bot.provide(Clock, Clock)

    @bot.action("buy")
    def buy(ctx: Context, clock: Clock, what: str) -> str:
        return f"{what} {clock.time}"

    @bot.message("hi")
    def hi(ctx: Context, clock: Clock) -> Any:
        return Card("x", buttons=[Button("Buy", "buy", "tea")])

    @bot.fallback
    def rest(ctx: Context, word: str = "x", clock: Clock = None) -> str:  # type: ignore[assignment]
        return f"{word} {clock.time}"

    client = BotClient(bot)
    client.send("hi")
    assert client.press("Buy").text == "tea noon"
    assert client.send("ho").text == "x noon"


def test_generator_function_is_finished_after_the_handler(bot: Bot, log: list[str]) -> None:
    def make_clock() -> Iterator[Clock]:
        log.append("open")
        try:
            yield Clock()
            log.append("commit")
        finally:
            log.append("close")

    bot.provide(Clock, make_clock)
    bot.command("when")(lambda ctx: "no clock")

    @bot.command
    def now(ctx: Context, clock: Clock) -> str:
        log.append("handler")
        return clock.time

    @bot.command
    def fail(ctx: Context, clock: Clock) -> None:
        raise KeyError("x")

    client = BotClient(bot)
    client.send("/when")
    assert log == []
    client.send("/now")
    assert log == ["open", "handler", "commit", "close"]
    with pytest.raises(KeyError):
        client.send("/fail")
    assert log[4:] == ["open", "close"]


def test_error_passes_a_context_manager_that_suppresses(bot: Bot, log: list[str]) -> None:
    bot.provide(Session, lambda: Session(log))

    @bot.command
    def fail(ctx: Context, session: Session) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        BotClient(bot).send("/fail")
    assert log == ["open", "close KeyError"]


def test_error_on_closing_is_one_of_the_handler(bot: Bot) -> None:
    def make_clock() -> Iterator[Clock]:
        yield Clock()
        raise OSError("cannot commit")

    bot.provide(Clock, make_clock)

    @bot.command
    def now(ctx: Context, clock: Clock) -> str:
        return "done"

    client = BotClient(bot, raise_errors=False)
    assert client.send("/now").text == bot.error_text
    assert "cannot commit" in client.dead_letters[0].error


def test_objects_are_closed_in_reverse_order(bot: Bot, log: list[str]) -> None:
    bot.provide(Session, lambda: Session(log))

    def make_clock() -> Iterator[Clock]:
        log.append("clock")
        yield Clock()
        log.append("no clock")

    bot.provide(Clock, make_clock)

    @bot.fallback
    def ask(ctx: Context, session: Session, clock: Clock) -> None: ...

    BotClient(bot).send("hi")
    assert log == ["open", "clock", "no clock", "close None"]


@contextlib.asynccontextmanager
async def open_clock() -> AsyncIterator[Clock]:
    yield Clock()


async def make_clock_later() -> Clock:
    await asyncio.sleep(0)
    return Clock()


async def yield_clock() -> AsyncIterator[Clock]:
    yield Clock()


@pytest.mark.parametrize("make", [Clock, open_clock, make_clock_later, yield_clock])
def test_async_handler_gets_plain_and_async_objects(bot: Bot, make: Any) -> None:
    bot.provide(Clock, make)

    @bot.fallback
    async def ask(ctx: Context, clock: Clock) -> str:
        await asyncio.sleep(0)
        return clock.time

    assert BotClient(bot).send("hi").text == "noon"


def test_async_context_manager_gets_the_error(bot: Bot, log: list[str]) -> None:
    bot.provide(AsyncSession, lambda: AsyncSession(log))

    @bot.fallback
    async def fail(ctx: Context, session: AsyncSession) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        BotClient(bot).send("hi")
    assert log == ["open", "close KeyError"]


def test_object_stays_open_for_a_plain_function_that_returns_a_coroutine(bot: Bot, log: list[str]) -> None:
    bot.provide(Session, lambda: Session(log))

    async def work(session: Session) -> str:
        log.append("work")
        return session.name

    @bot.fallback
    def ask(ctx: Context, session: Session) -> Any:
        return work(session)

    assert BotClient(bot).send("hi").text == "session"
    assert log == ["open", "work", "close None"]


@pytest.mark.parametrize("make", [open_clock, make_clock_later, yield_clock])
def test_async_provider_is_refused_for_a_plain_handler(bot: Bot, make: Any) -> None:
    bot.provide(Clock, make)

    @bot.fallback
    def ask(ctx: Context, clock: Clock) -> None: ...

    with pytest.raises(RegistrationError, match=r"ask is a plain function and cannot get Clock from .*async def"):
        bot.check()


def test_async_context_manager_is_refused_for_a_plain_handler_when_it_is_made(bot: Bot, log: list[str]) -> None:
    bot.provide(AsyncSession, lambda: AsyncSession(log))

    @bot.fallback
    def ask(ctx: Context, session: AsyncSession) -> None: ...

    with pytest.raises(BotError, match="only handlers that are async def"):
        BotClient(bot).send("hi")


def test_router_uses_its_own_provider_before_that_of_the_bot(bot: Bot, log: list[str]) -> None:
    inner, outer = Router(), Router()
    inner.provide(Clock, Clock)

    @inner.command
    def now(ctx: Context, clock: Clock, session: Session) -> str:
        return f"{clock.time} {session.name}"

    outer.provide(Session, lambda: Session(log, "of the router"))
    outer.include(inner)
    bot.provide(Session, lambda: Session(log, "of the bot"))
    bot.include(outer)

    @bot.command
    def then(ctx: Context, session: Session) -> str:
        return session.name

    client = BotClient(bot)
    assert client.send("/now").text == "noon of the router"
    assert client.send("/then").text == "of the bot"


def test_parameter_that_nothing_provides_is_refused(bot: Bot) -> None:
    @bot.command
    def now(ctx: Context, clock: Clock) -> None: ...

    with pytest.raises(RegistrationError, match=r"clock: .*Clock.* is neither made from text nor provided; call bot"):
        BotClient(bot)


def test_second_provider_of_a_class_is_refused(bot: Bot) -> None:
    bot.provide(Clock, Clock)
    with pytest.raises(RegistrationError, match="Clock is provided by Clock already"):
        bot.provide(Clock, lambda: Clock())


@pytest.mark.parametrize("kind", [int, str, object])
def test_class_made_from_words_is_refused(bot: Bot, kind: Any) -> None:
    with pytest.raises(RegistrationError, match=f"{kind.__name__} is made from the words of a command"):
        bot.provide(kind, kind)


@pytest.mark.parametrize(
    ("kind", "make", "text"),
    [
        ("Clock", Clock, "expected a class and a function that makes it, got 'Clock'"),
        (Clock, Clock(), "expected a function that makes the object, got"),
        (Clock, lambda name: Clock(), "expected a function without arguments, but .*lambda"),
    ],
)
def test_wrong_registration_names_what_was_expected(bot: Bot, kind: Any, make: Any, text: str) -> None:
    with pytest.raises(RegistrationError, match=text):
        bot.provide(kind, make)


def test_included_router_provides_nothing_more(bot: Bot) -> None:
    router = Router()
    bot.include(router)
    with pytest.raises(RegistrationError, match="included already"):
        router.provide(Clock, Clock)


def test_client_replaces_what_is_provided(bot: Bot, log: list[str]) -> None:
    bot.provide(Session, lambda: Session(log, "real"))

    @bot.fallback
    def ask(ctx: Context, session: Session, clock: Clock) -> str:
        return f"{session.name} {clock.time}"

    client = BotClient(bot, provide={Session: Session(log, "fake"), Clock: Clock})
    assert client.send("hi").text == "fake noon"
    assert log == []
    with pytest.raises(RegistrationError, match="Clock"):
        BotClient(bot)
