"""What trusted publishers write goes to everybody who is connected with the bot, at a pace.

``PUBLISHERS=4,7 cometbot simplex examples/broadcast.py:bot``; ``/whoami`` tells the numbers. Elsewhere than on SimpleX
give :func:`make_bot` what lists your audience.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from time import sleep

from cometbot import Bot, Context, Media, Message, Rejected, Text, direct

PUBLISHERS = frozenset(filter(None, os.environ.get("PUBLISHERS", "").replace(" ", "").split(",")))
PER_SECOND = 10.0

Audience = Callable[[Context], Iterable[str]]


def contacts(ctx: Context) -> Iterable[str]:
    """All who are connected with the bot on SimpleX, the newest last."""
    return map(str, sorted(contact.contact_id for contact in ctx.client.contacts() if contact.status == "active"))


def copies(ctx: Context) -> list[Message]:
    """What was written, to be said to others; files too. One of SimpleX has no address: it is loaded and sent anew."""
    said: list[Message] = []
    for file in ctx.attachments:
        caption = "" if said else ctx.text
        if file.url.startswith("http"):
            said.append(Media(file.url, name=file.name, mime_type=file.mime_type, size=file.size, caption=caption))
            continue
        from cometbot.channels.simplex import file as loaded

        kind = {"image": "image", "video": "video", "audio": "voice"}.get(ctx.event.type, "file")
        said.append(loaded(str(ctx.client.receive(file)), kind, caption))
    return said or ([Text(ctx.text)] if ctx.text else [])


def make_bot(publishers: Collection[str] = PUBLISHERS, audience: Audience = contacts, name: str = "news") -> Bot:
    """A bot that passes on what ``publishers`` (uids) write."""
    bot = Bot(name, description="You get our news here.", handler_timeout=6 * 3600)

    def trusted(ctx: Context) -> bool:
        return ctx.sender.uid in publishers

    @bot.command("whoami", description="The number that the bot knows you by.")
    def whoami(ctx: Context) -> str:
        return ctx.sender.uid

    @bot.message(direct & trusted)
    def publish(ctx: Context) -> str:
        said = copies(ctx)
        if not said:
            return "I pass on texts and files."
        readers = [uid for uid in audience(ctx) if uid not in publishers]
        for uid in readers:
            # Stored under this message and its place in the row: after a crash it goes on where it was.
            for message in said:
                ctx.send(message, to=ctx.conversation_with(user=uid))
            sleep(1 / PER_SECOND)
        return f"Sent to {len(readers)}."

    @bot.message(direct)
    def explain(ctx: Context) -> str | None:
        return "I only bring news." if ctx.user_state.increment("written") == 1 else None

    @bot.error(Rejected)
    def refuse(ctx: Context, error: Rejected) -> str:
        return f"That cannot be passed on: {error}"

    return bot


bot = make_bot()
