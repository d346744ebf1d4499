"""Streams as a type checker sees them: checked by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cometbot import Bot, Context
from cometbot.sent import Sent

if TYPE_CHECKING:
    from typing_extensions import assert_type

bot = Bot("assistant")


@dataclass
class Chunk:
    content: str | None


def words() -> Iterator[str]:
    yield "one"


def pieces() -> Iterator[str | None]:
    yield None


async def words_later() -> AsyncIterator[str]:
    yield "one"


async def chunks() -> AsyncIterator[Chunk]:
    yield Chunk("one")


async def create() -> AsyncIterator[Chunk]:
    return chunks()


def read(chunk: Chunk) -> str | None:
    return chunk.content


@bot.command
def plain(ctx: Context, texts: list[str]) -> None:
    sent = ctx.stream(texts)
    assert_type(sent, Sent | None)
    if sent is not None:
        assert_type(sent.text, str)
    ctx.stream("whole")
    ctx.stream(words())
    ctx.stream(words)
    ctx.stream(pieces, key="answer")
    ctx.stream(words_later())
    ctx.stream(words_later)
    ctx.stream(chunks(), text=read)
    ctx.stream(create, read)
    ctx.stream(create, text=lambda chunk: chunk.content)
    ctx.stream([1, 2], text=str)
    ctx.stream(chunks())  # type: ignore[arg-type]
    ctx.stream([b"bytes"])  # type: ignore[list-item]
    ctx.stream(create, text=len)  # type: ignore[arg-type, misc]
    ctx.stream(7)  # type: ignore[call-overload]


@bot.command
async def later(ctx: Context) -> None:
    assert_type(ctx.stream(words_later()), Sent | None)
    ctx.stream(await create(), text=read)
