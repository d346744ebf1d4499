"""What people write goes to a few trusted readers, and their answers go back.

``FEEDBACK_READERS=4,7 cometbot simplex examples/feedback.py:bot``; ``/whoami`` tells a reader's number. On CometChat
the readers are UIDs.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from cometbot import Bot, Context, direct, has_attachment

READERS = tuple(filter(None, os.environ.get("FEEDBACK_READERS", "").replace(" ", "").split(",")))


def make_bot(readers: Collection[str] = READERS, name: str = "feedback") -> Bot:
    """A bot that forwards to ``readers`` (uids)."""
    bot = Bot(name, description="Tell us what you think.")

    def from_reader(ctx: Context) -> bool:
        return ctx.sender.uid in readers

    @bot.command("whoami", description="The number that the bot knows you by.")
    def whoami(ctx: Context) -> str:
        return ctx.sender.uid

    @bot.command("answer", hidden=True)
    def answer(ctx: Context, uid: str, *, text: str) -> str:
        if not from_reader(ctx):
            return "Only readers can answer."
        ctx.send(text, to=ctx.conversation_with(user=uid))
        return "Sent."

    @bot.message(direct & from_reader)
    def explain(ctx: Context) -> str:
        return "Answer somebody with /answer NUMBER your text"

    @bot.message(direct & has_attachment)
    def file(ctx: Context) -> str:
        return "I can only pass on texts, sorry. Tell us in words?"

    @bot.message(direct)
    def forward(ctx: Context) -> str | None:
        for reader in readers:
            written = f"{ctx.sender.name} writes:\n{ctx.text}\n\n/answer {ctx.sender.uid} …"
            ctx.send(written, to=ctx.conversation_with(user=reader))
        return "Thank you! We read it." if ctx.user_state.increment("texts") == 1 else None

    return bot


bot = make_bot()
