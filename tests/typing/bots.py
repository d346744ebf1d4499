"""Public use of cometbot as a type checker sees it: checked by mypy, never run."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from cometbot import (
    Bot,
    Button,
    Card,
    Choice,
    Choices,
    Context,
    MembershipEvent,
    Message,
    Outgoing,
    Router,
    contains,
    direct,
    in_group,
    of_type,
    pattern,
)

bot = Bot("helpdesk", description="Answers questions about orders.")
router = Router()


@bot.command
def ping(ctx: Context) -> str:
    return f"pong, {ctx.sender.name}"


def timed(ctx: Context, call_next: Callable[[], object]) -> object:
    return call_next()


async def admins_only(ctx: Context, call_next: Callable[[], Awaitable[object]]) -> object:
    return await call_next() if ctx.sender.uid == "ann" else None


@bot.command("remind", "r", description="Reminds you.", slash_optional=True, retries=2, timeout=5, middleware=[timed])
def remind(ctx: Context, minutes: int, *, what: str = "stretch") -> Message:
    return Card(what, f"in {minutes} minutes")


@router.message("hi", re.compile("hello"), of_type("image") & ~direct | in_group("ops"), lambda ctx: len(ctx.text) > 5)
def greet(ctx: Context) -> None:
    sent = ctx.reply(Choices("How are you?", ["Well", "So so"], action="mood"))
    sent.edit("Never mind.")
    ctx.state["greeted"] = True
    ctx.state.set("greeted", True, expires="1d")


@bot.command
def refund(ctx: Context) -> list[Card | Choices]:
    buttons = [Button("Yes", "decide", {"order": 17}), Button("No", "decide", 0)]
    return [
        Card("Refund?", buttons=buttons, by=["tom", ctx.sender], expires=timedelta(days=1), once=True),
        Choices("How much?", [Choice("All", 100), Choice("Half", 50.5), "none"], "amount", expires="1h"),
    ]


@router.message(contains("x") | "y" | pattern(r"(?P<number>\d+)"))
async def later(ctx: Context, number: int | None = None) -> list[str]:
    return [str(number)]


@bot.action("mood", re.compile("mood-.*"), middleware=(timed, admins_only))
def mood(ctx: Context, value: str) -> str:
    return value


@bot.action
def other(ctx: Context) -> None: ...


@bot.event(MembershipEvent, middleware=[admins_only])
def joined(ctx: Context) -> None: ...


@bot.fallback
def unknown(ctx: Context) -> str:
    return "Try /remind 10"


@bot.outgoing
def redact(message: Message, outgoing: Outgoing) -> Message | None:
    return message if outgoing.event is None or outgoing.conversation.is_group else None


@bot.outgoing()
def keep(message: Message, outgoing: Outgoing) -> Message:
    return message


@bot.error(ValueError)
def explain(ctx: Context, error: ValueError) -> str:
    return str(error)


class Session: ...


@contextmanager
def open_session() -> Iterator[Session]:
    yield Session()


async def open_session_later() -> Session:
    return Session()


async def yield_session() -> AsyncIterator[Session]:
    yield Session()


router.provide(Session, Session)
Router().provide(Session, open_session)
Router().provide(Session, open_session_later)
Router().provide(Session, yield_session)


@router.command
def count(ctx: Context, session: Session, name: str) -> str:
    return name


bot.include(router, prefix="shop-")
bot.send(user="maria", text="Your order is out.")


def use_directly(ctx: Context) -> tuple[Message, str]:
    """Decorated functions keep their types, and what is wrong is an error."""
    ping(1)  # type: ignore[arg-type]
    remind(ctx, "5")  # type: ignore[arg-type]
    return remind(ctx, 5, what="walk"), ping(ctx)


bot.send("maria")  # type: ignore[call-arg]
redact("text")  # type: ignore[call-arg,arg-type]
bot.outgoing(lambda message, outgoing: "text")  # type: ignore[type-var]
bot.message(5)  # type: ignore[arg-type]
bot.fallback(middleware=timed)  # type: ignore[call-overload]
bot.message(middleware=[len])  # type: ignore[list-item]
