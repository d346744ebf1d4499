"""Turns as a type checker sees them: checked by mypy, never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cometbot import Attachment, Bot, Context, ToolCall, Turn
from cometbot.turns import embed_images, to_anthropic, to_openai

if TYPE_CHECKING:
    from typing_extensions import assert_type

bot = Bot("assistant")


@bot.redact
def hide(text: str) -> str:
    return text.replace("4711", "…")


@bot.redact()
def hide_more(text: str) -> str:
    return hide(text)


@bot.redact  # type: ignore[type-var]
def parse(text: str) -> int:
    return len(text)


@bot.fallback
def answer(ctx: Context) -> str:
    turns = ctx.turns(8000, limit=20, count=len, since=ctx.event.sent_at)
    assert_type(turns, list[Turn])
    assert_type(to_openai(turns), list[Any])
    assert_type(to_anthropic(turn for turn in turns), list[Any])
    assert_type(embed_images(turns, ctx.client.download), list[Turn])
    assert_type(turns[0].images, tuple[Attachment, ...])
    assert_type(turns[0].tool_calls, tuple[ToolCall, ...])
    assert_type(Turn("user", "Hello").to_openai(), Any)
    Turn("bot", "Hello")  # type: ignore[arg-type]
    ctx.turns(budget="many")  # type: ignore[arg-type]
    turns[0].text = "changed"  # type: ignore[misc]
    return hide_more("done")
