"""A support desk: who writes to the bot talks to people of the team's group, each user in a thread of their own."""

from __future__ import annotations

import os

from cometbot import Bot, Context, Group, direct

TEAM = os.environ.get("TEAM", "support-team")

bot = Bot("support", description="Write to us; a human answers.")


@bot.message(direct)
def ask(ctx: Context) -> str:
    ctx.reply("Thank you. Somebody will answer you here.")
    ended = ctx.hand_off(Group(TEAM), timeout="3d")
    return "Glad to help. Write again at any time." if ended.status == "done" else "Write again to ask anew."
