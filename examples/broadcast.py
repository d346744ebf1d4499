"""Sends what trusted publishers write to everybody who is connected with the bot, at a pace.

``PUBLISHERS=4,7 cometbot simplex examples/broadcast.py:bot``; ``/whoami`` shows the numbers, and ``cometbot jobs list``
what has arrived. On other channels give :func:`make_bot` a function that lists your audience.
"""

import os
from collections.abc import Callable, Collection, Iterable

from cometbot import Bot, Context, ConversationStarted, Media, Rejected, Text, direct

PUBLISHERS = frozenset(filter(None, os.environ.get("PUBLISHERS", "").replace(" ", "").split(",")))

Audience = Callable[[Context], Iterable[str]]


def contacts(ctx: Context) -> Iterable[str]:
    """Return everybody who is connected with the bot on SimpleX."""
    return (str(contact.contact_id) for contact in ctx.client.contacts() if contact.status == "active")


def make_bot(publishers: Collection[str] = PUBLISHERS, audience: Audience = contacts, name: str = "news") -> Bot:
    """Return a bot that sends what ``publishers`` (uids) write to its audience."""
    bot = Bot(name, description="You get our news here.", opt_out_words=["unsubscribe"])

    def trusted(ctx: Context) -> bool:
        return ctx.sender.uid in publishers

    @bot.event(ConversationStarted)
    def welcome(ctx: Context) -> str:
        return "You get our news here. To end that, write: unsubscribe"

    @bot.command("whoami", description="The number that the bot knows you by.")
    def whoami(ctx: Context) -> str:
        return ctx.sender.uid

    @bot.message(direct & trusted)
    def publish(ctx: Context) -> str:
        readers = (uid for uid in audience(ctx) if uid != ctx.sender.uid)
        if ctx.attachments:
            file = ctx.attachments[0]
            news: Media | Text = Media(data=file.read(), name=file.name, caption=ctx.text)
        else:
            news = Text(ctx.text)
        return f"On its way to {bot.broadcast(users=readers, message=news, pace='10/second').recipients}."

    @bot.error(Rejected)
    def explain_refusal(ctx: Context, error: Rejected) -> str:
        return f"That cannot be passed on: {error}"

    @bot.message(direct)
    def explain(ctx: Context) -> str | None:
        return "I only bring news." if ctx.user_state.increment("written") == 1 else None

    return bot


bot = make_bot()
