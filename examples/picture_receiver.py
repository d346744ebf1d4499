"""Takes pictures: downloads them, measures them, and answers with what they are."""

from __future__ import annotations

import struct

from cometbot import Bot, ChannelError, Context, of_type

LIMIT = 20 * 1024 * 1024

bot = Bot("pictures", description="Send me a PNG, and I tell you how large it is.")


@bot.message(of_type("image"))
def measure(ctx: Context) -> list[str]:
    return [describe(file.name, file.read(limit=LIMIT)) for file in ctx.attachments]


@bot.error(ChannelError)
def not_loaded(ctx: Context, error: ChannelError) -> str:
    ctx.log.warning("could not load a picture: %s", error)
    return "I could not load that picture. Is it larger than 20 MB?"


@bot.fallback
def ask(ctx: Context) -> str:
    return "Send me a picture."


def describe(name: str, content: bytes) -> str:
    """One line about a picture; width and height stand at the beginning of every PNG."""
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return f"{name}: {len(content)} bytes, and no PNG."
    width, height = struct.unpack(">II", content[16:24])
    return f"{name}: {width} x {height} pixels, {len(content)} bytes."
