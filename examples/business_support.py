"""Support over a SimpleX business address: each customer gets a chat of their own, and the agents are invited to it.

``SUPPORT_AGENTS=4,7 SIMPLEX_BUSINESS_ADDRESS=1 cometbot simplex examples/business_support.py:bot``; agents connect
before the address becomes a business address, and learn their number with ``/whoami``.
"""

from __future__ import annotations

import os
from contextlib import suppress

from cometbot import Bot, ContactEvent, Context, Rejected

AGENTS = tuple(filter(None, os.environ.get("SUPPORT_AGENTS", "").replace(" ", "").split(",")))

bot = Bot("support", description="Write here; a human answers.")


def from_customer(ctx: Context) -> bool:
    return ctx.sender.role == "customer"


@bot.event(ContactEvent)
def welcome(ctx: Context) -> str | None:
    group = ctx.event.group
    if group is None:
        return None
    for agent in AGENTS:
        with suppress(Rejected):  # who is in the chat already
            ctx.client.add_member(group.guid, agent)
    return "Hello! What can we do for you?"


@bot.command("whoami", description="The number that the bot knows you by.")
def whoami(ctx: Context) -> str:
    return ctx.sender.uid


@bot.command("take", hidden=True)
def take(ctx: Context) -> str:
    if ctx.sender.uid not in AGENTS:
        return "Only agents can do that."
    ctx.state["agent"] = ctx.sender.name
    return f"{ctx.sender.name} takes care of you now."


@bot.command("close", hidden=True)
def close(ctx: Context) -> str:
    if ctx.sender.uid not in AGENTS:
        return "Only agents can do that."
    ctx.state.clear()
    return "This is solved. If something comes up, just write again."


@bot.message(from_customer)
def waiting(ctx: Context) -> str | None:
    if "agent" in ctx.state or ctx.state.get("told"):
        return None
    ctx.state["told"] = True
    return "Thank you. The next free agent answers here."


@bot.message()
def talk(ctx: Context) -> None:
    """What agents write, the customer reads without the bot."""
