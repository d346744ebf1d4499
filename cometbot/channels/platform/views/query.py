"""Parses query parameters, and lists messages by page."""

from __future__ import annotations

import re

import flask

from cometbot.channels.platform.platform import Platform
from cometbot.channels.platform.serializers import JsonObject, message_json
from cometbot.chat import ChatConversation

MAX_PAGE_SIZE = 1000
"""The largest number of messages on a page."""

_MAX_NUMBER = 2**53


def query_text(name: str) -> str:
    """Return a text in the query; empty if it is absent."""
    return flask.request.args.get(name, "").replace("\0", "\ufffd")


def query_number(name: str, default: int) -> int:
    """Return a whole number in the query; ``default`` if it is absent, invalid, or has more than 18 digits."""
    text = flask.request.args.get(name, "")
    number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII) else default
    return max(-_MAX_NUMBER, min(number, _MAX_NUMBER))


def messages_page(platform: Platform, chat: ChatConversation) -> JsonObject:
    """Return the MessagesPage for the parameters ``page``, ``limit``, ``sender_id`` and ``since``.

    ``limit`` in the result is the limit that was used: at most :data:`MAX_PAGE_SIZE`, which a negative one also
    selects.
    """
    page, requested_limit = query_number("page", 1), query_number("limit", 20)
    limit = requested_limit if 0 <= requested_limit <= MAX_PAGE_SIZE else MAX_PAGE_SIZE
    with platform.database.read() as connection:
        found = platform.chat.messages.list_numbered(
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
