"""Renders bots' messages for storage: a text for every app, and the rich content that the web chat shows."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from cometbot.channels.platform.rich_content import to_content
from cometbot.errors import MessageError
from cometbot.messages import Card, Carousel, Choices, Form, Location, Media, Message, Operation, Text
from cometbot.splitting import split_text
from cometbot.text import replace_surrogates

TEXT_LIMIT = 16_000
"""The longest text of one message, in UTF-8 bytes."""

NATIVE_TYPES: frozenset[type[Message]] = frozenset({Text, Media, Card, Carousel, Choices, Form, Location})
"""The message types that the web chat shows natively. All other apps show a message's text."""

_MAX_CONTENT_SIZE = 256 * 1024
_FILE_PATH = re.compile(r"/static/[a-z]+/([0-9a-z]{26})(\.[a-z0-9]+)?")


def render(operation: Operation, base_url: str) -> list[dict[str, Any]]:
    """Return the steps that carry out ``operation``.

    A file of this platform, below ``base_url``, becomes an attachment. Raises :class:`MessageError` for a message that
    is too large, and for a reaction.
    """
    if operation.kind == "delete":
        return [{"op": "delete", "message": operation.message_id}]
    if operation.message is None or operation.kind == "react":
        raise MessageError("the platform cannot put reactions on messages")
    first, *rest = _render_parts(operation.message, base_url)
    begin = {"op": operation.kind, "message": operation.message_id, "stream": operation.stream_id}
    common: dict[str, Any] = {"content": None, "files": [], "answers": operation.reply_to}
    sent = {"op": "send", "message": "", "stream": ""}
    return [{**common, **begin, **first}, *({**common, **sent, **part} for part in rest)]


def clean_text(text: str) -> str:
    """Return ``text`` with U+FFFD for each character that JSON or a database cannot hold."""
    return replace_surrogates(text.replace("\0", "\ufffd"))


def _render_parts(message: Message, base_url: str) -> list[dict[str, Any]]:
    if isinstance(message, Media) and (file := platform_file_id(message.url, base_url)):
        return [{"body": clean_text(message.caption), "files": [file]}]
    if isinstance(message, Media) and message.is_stored:
        return [{"body": clean_text(message.caption), "stored": [_to_file(message)]}]
    content = _clean_json(to_content(message)) if type(message) in NATIVE_TYPES else None
    text = clean_text(message.to_text())
    if content is None:
        return [{"body": part} for part in split_text(text, TEXT_LIMIT) or [text]]
    if len(text.encode()) > _MAX_CONTENT_SIZE:
        raise MessageError(f"a {type(message).__name__} is at most {_MAX_CONTENT_SIZE} bytes long on the platform")
    return [{"body": text, "content": content}]


def _to_file(message: Media) -> dict[str, Any]:
    """Return the File object of a bot's file, which this server serves under its own route."""
    path = urlsplit(message.url).path.lstrip("/")
    token = path.split("/")[-2]
    return {
        "id": token.partition("-")[0],
        "path": path,
        "name": clean_text(message.name),
        "size": message.size or 0,
        "mimeType": message.mime_type,
    }


def platform_file_id(url: str, base_url: str) -> str:
    """Return the id of the platform's file at ``url``; empty for any other URL."""
    found = _FILE_PATH.fullmatch(url.removeprefix(base_url)) if url.startswith(f"{base_url}/") else None
    return found[1] if found else ""


def _clean_json(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(str(name)): _clean_json(item) for name, item in value.items()}
    return [_clean_json(item) for item in value] if isinstance(value, list | tuple) else value
