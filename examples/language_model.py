"""A bot over any language model: a function from the conversation so far to text, whole or piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cometbot import Bot, Context, direct, mentioned
from cometbot.turns import to_openai

Model = Callable[[list[dict[str, Any]]], Iterable[str]]
"""Gets messages as OpenAI's API and many others want them, the oldest first; gives the answer's pieces."""


def make_bot(model: Model, name: str = "assistant") -> Bot:
    """Return a bot that answers one-to-one, and in groups where it is mentioned."""
    bot = Bot(name, description="Ask me anything. /forget begins anew.", handler_timeout=120)

    @bot.command("forget", description="Begin anew.")
    def forget(ctx: Context) -> str:
        ctx.state["since"] = ctx.event.sent_at
        return "Forgotten."

    @bot.message(direct | mentioned)
    def answer(ctx: Context) -> None:
        ctx.stream(lambda: model(to_openai(ctx.turns(8000, since=ctx.state.get("since", 0)))))

    return bot


def parrot(conversation: list[dict[str, Any]]) -> Iterator[str]:
    """Stand in for a model: say the last turn word by word."""
    for word in f"You said: {conversation[-1]['content']}".split(" "):
        yield f"{word} "


bot = make_bot(parrot)
