"""Ids of threads, messages and interrupts, as this channel stores them."""

from __future__ import annotations

import hashlib
import re

from cometbot.chat import Scope
from cometbot.models import Conversation

CHANNEL = "agui"
ACCOUNT = "local"
"""The account of all conversations: a server has one AG-UI channel."""

TO_USER_PREFIX = "@"
"""The prefix of the id of a conversation with a user who has no thread with the bot yet."""

_PLAIN_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)


def to_plain_id(text: str) -> str:
    """Return an id of the client in a form that may stand in keys: a digest of it, if it has other characters."""
    return text if _PLAIN_ID_PATTERN.fullmatch(text) else f"h-{make_digest(text)}"


def make_digest(text: str) -> str:
    """Return a short digest of a text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def stream_message_id(stream_id: str) -> str:
    """Return the id of the message that a stream becomes."""
    return f"msg_{make_digest(stream_id)}"


def end_id(thread: str, event_key: str) -> str:
    """Return the id of the row that says how an event has ended."""
    return f"end_{make_digest(f'{thread}/{event_key}')}"


def scope_of(bot: str) -> Scope:
    """Return the owner of a bot's rows in the chat server."""
    return Scope(CHANNEL, bot)


def make_conversation(bot: str, thread: str, user: str) -> Conversation:
    """Return the conversation of a thread."""
    return Conversation(CHANNEL, ACCOUNT, bot, thread, user)
