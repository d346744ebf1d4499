"""A support desk: what users write goes to the team's group, and what the team answers goes back to the user.

``TEAM`` is the group's GUID, on SimpleX its number.
"""

from __future__ import annotations

import os
import re

from cometbot import Bot, Context, direct, in_group, pattern

TEAM = os.environ.get("TEAM", "support-team")

bot = Bot("support", description="Write to us; a human answers.")
from_team = in_group(TEAM)


@bot.message(from_team & pattern(r"^(?:@|<@uid:)(?P<uid>[\w-]+)>?\s+(?P<answer>.+)", re.DOTALL))
def answer(ctx: Context, uid: str, answer: str) -> None:
    ctx.send(f"{ctx.sender.name}: {answer}", to=ctx.conversation_with(user=uid))
    ctx.react("✅")


@bot.message(from_team)
def talk(ctx: Context) -> None:
    """What the team says among themselves stays there."""


@bot.message(direct)
def ask(ctx: Context) -> str | None:
    files = "".join(f"\n{file.url}" for file in ctx.attachments)
    question = f"**{ctx.sender.name}** writes:\n{ctx.text}{files}\n_Answer with_ @{ctx.sender.uid} …"
    ctx.send(question, to=ctx.conversation_with(group=TEAM))
    if ctx.user_state.increment("questions") == 1:
        return "Thank you. Somebody will answer you here."
    return None
