"""Takes reports of damage: pictures and words in any number of messages, which are answered together."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cometbot import Attachment, Bot, ChannelError, Context, direct

FOLDER = Path(os.environ.get("REPORTS", "reports"))
LIMIT = 10 * 1024 * 1024

bot = Bot("claims", description="Send pictures of the damage, and say what happened.", burst_pause="5s")


@bot.message(direct, concurrency="burst")
def take(ctx: Context) -> str:
    words = " ".join(message.text for message in ctx.messages if message.text)
    files = [file for message in ctx.messages for file in message.attachments]
    if not files:
        files = [ctx.ask("Please send a picture of it, too.", type=Attachment)]
    if not words:
        words = ctx.ask("What has happened?")
    names = [save(file.read(limit=LIMIT)) for file in files]
    return f"Thank you. We have {len(set(names))} file(s), and “{words}”. You hear from us tomorrow."


@bot.error(ChannelError)
def not_loaded(ctx: Context, error: ChannelError) -> str:
    ctx.log.warning("could not load a file: %s", error)
    return "I could not load that file. Is it larger than 10 MB?"


def save(content: bytes) -> str:
    """Save a file under a name of our own, which is the same if the handler runs again."""
    name = hashlib.sha256(content).hexdigest()
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / name).write_bytes(content)
    return name
