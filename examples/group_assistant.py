"""A group's assistant: knows who is on call, and speaks only when it is spoken to."""

from __future__ import annotations

import re

from cometbot import Bot, Context, in_group, mentioned

ON_CALL = re.compile(r"\bi am on call\b", re.IGNORECASE)
WHO = re.compile(r"\bwho is on call\b", re.IGNORECASE)

bot = Bot("assistant", description="Knows who is on call. Mention me in a group.")


@bot.message(in_group & mentioned & ON_CALL)
def take_over(ctx: Context) -> None:
    ctx.state["on call"] = ctx.sender.uid
    ctx.reply("Noted.", quote=True)


@bot.message(in_group & mentioned & WHO)
def who(ctx: Context) -> str:
    uid = ctx.state.get("on call")
    return f"<@uid:{uid}> is on call." if uid else "Nobody is. Say: I am on call."


@bot.message(in_group & mentioned)
def hint(ctx: Context) -> str:
    return f"{ctx.sender.name}, ask me who is on call."
