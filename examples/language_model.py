"""A bot over any language model: a function from the conversation so far to text, whole or piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from cometbot import Bot, Context, direct, mentioned

Turn = dict[str, str]
Model = Callable[[list[Turn]], Iterable[str]]
"""Gets turns as ``{"role": "user" or "assistant", "content": …}``, the oldest first; gives the answer's pieces."""


def make_bot(model: Model, name: str = "assistant") -> Bot:
    """A bot that answers one-to-one, and in groups where it is mentioned."""
    bot = Bot(name, description="Ask me anything. /forget begins anew.", handler_timeout=120)

    @bot.command("forget", description="Begin anew.")
    def forget(ctx: Context) -> str:
        ctx.state["since"] = ctx.event.sent_at
        return "Forgotten."

    @bot.message(direct | mentioned)
    def answer(ctx: Context) -> None:
        ctx.stream(model(turns(ctx)))

    return bot


def turns(ctx: Context, limit: int = 20) -> list[Turn]:
    """What was said here, as models want it."""
    since = ctx.state.get("since", 0)
    return [
        {"role": "assistant" if message.sender.uid in ctx.bot.ids else "user", "content": message.text}
        for message in ctx.history(limit)
        if message.text and message.sent_at > since
    ] or [{"role": "user", "content": ctx.text}]


def parrot(conversation: list[Turn]) -> Iterator[str]:
    """Stands in for a model: says the last turn word by word."""
    for word in f"You said: {conversation[-1]['content']}".split(" "):
        yield f"{word} "


bot = make_bot(parrot)
