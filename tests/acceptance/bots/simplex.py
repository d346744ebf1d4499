"""A bot that does on SimpleX all that can be done there, and says what it saw."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from cometbot import (
    Bot,
    Button,
    Card,
    ContactEvent,
    Context,
    EditEvent,
    Media,
    MembershipEvent,
    Message,
    ReactionEvent,
    has_attachment,
)
from cometbot.channels.simplex import file
from tests.acceptance.bots import short_leases  # noqa: F401 - tests set how short

bot = Bot("trial", description="Tries everything.")


@bot.event(ContactEvent)
def contact(ctx: Context) -> str:
    assert isinstance(ctx.event, ContactEvent)
    return f"{ctx.event.action}: {ctx.sender.name}"


@bot.event(EditEvent)
def edited(ctx: Context) -> str:
    assert isinstance(ctx.event, EditEvent)
    return f"edited: {ctx.event.message.text}"


@bot.event(ReactionEvent)
def reacted(ctx: Context) -> str:
    assert isinstance(ctx.event, ReactionEvent)
    return f"reaction: {ctx.event.reaction}"


@bot.event(MembershipEvent)
def member(ctx: Context) -> str:
    assert isinstance(ctx.event, MembershipEvent)
    return f"{ctx.event.action}: {ctx.event.members[0].name}"


@bot.message(has_attachment)
def received(ctx: Context) -> str:
    path = ctx.client.receive(ctx.attachments[0])
    return f"{ctx.attachments[0].name}: {path.read_bytes().decode()}"


@bot.command("file", description="A file.")
def send_file(ctx: Context) -> Message:
    path = Path(os.environ["COMETBOT_TEST_MARKS"], "report.txt")
    path.write_text("all is well")
    return file(str(path), caption="The report")


@bot.command("change", description="Says something, then something else.")
def change(ctx: Context) -> None:
    ctx.reply("working").edit("done")


@bot.command("like", description="Likes it.")
def like(ctx: Context) -> None:
    ctx.react("👍")


@bot.command("show", description="Shows what is at an address.")
def show(ctx: Context, url: str) -> Media:
    return Media(url, caption="Look")


@bot.command("link", description="Shows a link with the picture at an address.")
def link(ctx: Context, url: str) -> Card:
    return Card("Tea", "Green", url, [Button("Read on", url="https://example.com/tea")])


@bot.command("quote", description="Quotes you.")
def quote(ctx: Context) -> None:
    ctx.reply("that", quote=True)


@bot.command("stream", description="Writes before your eyes, and ends when the gate of this name is open.")
def stream(ctx: Context, name: str) -> None:
    ctx.stream(_words(name))


def _words(name: str) -> Iterator[str]:
    for number in range(8):
        yield f"word{number} "
        if number == 3:
            _wait_at_gate(name)


@bot.command("gate", description="Waits until the gate of this name is open.")
def gate(ctx: Context, name: str) -> str:
    _wait_at_gate(name)
    return "through"


def _wait_at_gate(name: str) -> None:
    ends_at = time.monotonic() + 100
    while not Path(os.environ["COMETBOT_TEST_MARKS"], f"{name}.gate").exists():
        assert time.monotonic() < ends_at, "nobody opened the gate"
        time.sleep(0.02)


@bot.fallback
def repeat(ctx: Context) -> str:
    return f"re: {ctx.text}"
