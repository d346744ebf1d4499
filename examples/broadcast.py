"""Passes on what trusted publishers write to everybody who is connected with the bot, at a pace.

``PUBLISHERS=4,7 cometbot simplex examples/broadcast.py:bot``; ``/whoami`` shows the numbers. On other channels
give :func:`make_bot` a function that lists your audience.
"""

import os
from collections.abc import Callable, Collection, Iterable
from time import sleep

from cometbot import Bot, Context, Media, Message, Rejected, Text, direct

PUBLISHERS = frozenset(filter(None, os.environ.get("PUBLISHERS", "").replace(" ", "").split(",")))
PER_SECOND = 10.0

Audience = Callable[[Context], Iterable[str]]


class NotArrived(Exception):
    """Some readers have not got the message yet: the handler is tried again, and sends nothing twice."""


def contacts(ctx: Context) -> Iterable[str]:
    """Return everybody who is connected with the bot on SimpleX, the newest last."""
    return map(str, sorted(contact.contact_id for contact in ctx.client.contacts() if contact.status == "active"))


def copies(ctx: Context) -> list[Message]:
    """Return what was written as new messages: its files, or its text. A file of SimpleX is received and sent anew."""
    said: list[Message] = []
    for file in ctx.attachments:
        caption = "" if said else ctx.text
        if file.url.startswith("http"):
            said.append(Media(file.url, name=file.name, mime_type=file.mime_type, size=file.size, caption=caption))
            continue
        from cometbot.channels.simplex import file as simplex_file

        kind = {"image": "image", "video": "video", "audio": "voice"}.get(ctx.event.type, "file")
        said.append(simplex_file(str(ctx.client.receive(file)), kind, caption))
    return said or ([Text(ctx.text)] if ctx.text else [])


def make_bot(publishers: Collection[str] = PUBLISHERS, audience: Audience = contacts, name: str = "news") -> Bot:
    """Return a bot that passes on what ``publishers`` (uids) write."""
    bot = Bot(name, description="You get our news here.", handler_timeout=6 * 3600)

    def trusted(ctx: Context) -> bool:
        return ctx.sender.uid in publishers

    @bot.command("whoami", description="The number that the bot knows you by.")
    def whoami(ctx: Context) -> str:
        return ctx.sender.uid

    @bot.message(direct & trusted, retries=6)
    def publish(ctx: Context) -> str:
        try:
            said = copies(ctx)
        except Rejected as error:
            return f"That cannot be passed on: {error}"
        if not said:
            return "I pass on texts and files."
        readers = [uid for uid in audience(ctx) if uid != ctx.sender.uid]
        arrived = 0
        for uid in readers:
            # Stored under this message and its place in the row: a second run sends only what is missing.
            sent = [ctx.send(message, to=ctx.conversation_with(user=uid)) for message in said]
            arrived += all(message.id for message in sent)
            sleep(0 if sent[-1].id else 1 / PER_SECOND)
        if arrived < len(readers):
            raise NotArrived(f"Sent to {arrived} of {len(readers)}; the others could not be reached yet.")
        return f"Sent to {arrived}."

    @bot.error(NotArrived)
    def count(ctx: Context, error: NotArrived) -> str:
        return str(error)

    @bot.message(direct)
    def explain(ctx: Context) -> str | None:
        return "I only bring news." if ctx.user_state.increment("written") == 1 else None

    return bot


bot = make_bot()
