"""What views read: messages by page, and numbers in a query that may be anything."""

from __future__ import annotations

import re

import flask

from cometbot.channels.botyard.platform import Platform
from cometbot.channels.botyard.shapes import JSON, message_json
from cometbot.chat import ChatConversation

MOST = 1000
"""Messages on one page, whatever is asked for."""

_LARGEST = 2**53


def query_text(name: str) -> str:
    """A text in the query, empty where it is absent."""
    return flask.request.args.get(name, "").replace("\0", "\ufffd")


def query_number(name: str, default: int) -> int:
    """A whole number in the query; what is none, or has more than 18 digits, is as good as absent."""
    text = flask.request.args.get(name, "")
    number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII) else default
    return max(-_LARGEST, min(number, _LARGEST))


def messages_page(platform: Platform, chat: ChatConversation) -> JSON:
    """MessagesPage as ``page``, ``limit``, ``sender_id`` and ``since`` ask for it.

    ``limit`` is what was used: at most :data:`MOST`, which a negative one asks for as well.
    """
    page, asked = query_number("page", 1), query_number("limit", 20)
    limit = asked if 0 <= asked <= MOST else MOST
    with platform.database.read() as connection:
        found = platform.chat.messages.numbered(
            connection,
            chat.scope,
            chat.id,
            page=page,
            limit=limit,
            sender=query_text("sender_id"),
            since=max(query_number("since", 0), 0),
        )
    messages = [message_json(message) for message in found.items]
    return {"chatId": chat.id, "total": found.total, "page": page, "limit": limit, "messages": messages}
