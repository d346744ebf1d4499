"""Judges messages for CometChat's moderation: words that are not wanted, and strangers who lead others off the app.

``cometbot dev examples/moderation.py:bot``, then write "casino" to Tom. ``WORDS`` names other words, with commas.
"""

import os
import re

from cometbot import Bot, Context, ModerationItem, Verdict

WORDS = tuple(os.environ.get("WORDS", "casino,lottery").split(","))
_ELSEWHERE = re.compile(r"\b(telegram|whatsapp)\b|t\.me/", re.IGNORECASE)
_SAFE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")


def make_bot(words: tuple[str, ...] = WORDS, name: str = "moderator") -> Bot:
    """Return a bot that judges messages, and says to anybody who asks what it does not let through."""
    bot = Bot(name, description="Keeps the chat clean.")
    unwanted = re.compile("|".join(rf"\b{re.escape(word.strip())}\b" for word in words), re.IGNORECASE)

    @bot.moderate
    def check(item: ModerationItem) -> Verdict:
        if found := unwanted.search(item.text):
            return Verdict(True, reason=f"says {found[0].lower()}")
        if item.type == "image" and any(file.mime_type not in _SAFE_TYPES for file in item.attachments):
            return Verdict(True, 0.9, "an unusual kind of picture")
        if _ELSEWHERE.search(item.text):
            # Two people who have talked before may exchange an address.
            has_talked = any(message.uid != item.sender.uid for message in item.context)
            return Verdict(True, 0.5 if has_talked else 0.9, "leads to another messenger")
        return Verdict(False)

    @bot.command("rules", description="What is not let through.")
    def rules(ctx: Context) -> str:
        return f"No {', no '.join(words)}, and no invitations to other messengers from strangers."

    return bot


bot = make_bot()
