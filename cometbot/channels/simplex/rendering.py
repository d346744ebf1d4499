"""Renders messages as requests in plain JSON, which a channel with a connection sends. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cometbot.channels.base import fall_back_to_text
from cometbot.channels.simplex.protocol import contents
from cometbot.errors import MessageError
from cometbot.messages import (
    Capabilities,
    Card,
    Custom,
    Media,
    Message,
    Operation,
    Text,
    is_web_url,
    paragraphs,
)

CAPABILITIES = Capabilities(
    native=frozenset({Text, Media, Custom}),
    text_limit=contents.MESSAGE_LIMIT - contents.ENVELOPE_RESERVE,
    edit=True,
    delete=True,
    react=True,
    history=True,
    look_up=True,
    stream_interval=3.0,
    members=True,
    moderate=True,
    ban=True,
)

FILE_TYPES = ("image", "video", "voice", "file")
"""The types of :class:`Custom` messages that are files; any other type is shown as its text."""

MAX_CAPTION_BYTES = contents.MESSAGE_LIMIT - contents.ENVELOPE_RESERVE - contents.PREVIEW_LIMIT
"""Maximum bytes, as JSON, of a caption beside a preview whose size is not known yet."""

FILE_FAILED_TEXT = "(The file could not be sent.)"
"""The last line of what is sent instead of a file that has no address."""

_MAX_TITLE_LENGTH = 200
_MAX_DESCRIPTION_LENGTH = 300
_MAX_TTL = 10 * 365 * 24 * 3600
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")


def render(operation: Operation) -> list[dict[str, Any]]:
    """Return the requests of ``operation``, in order.

    Raises :class:`MessageError` for messages that SimpleX would certainly reject.
    """
    if operation.kind == "delete":
        is_own = operation.target is not None or not operation.message_id
        return [{"op": "delete" if is_own else "moderate", "item": operation.message_id}]
    if operation.kind in ("kick", "ban", "unban"):
        return [{"op": operation.kind, "user": operation.user}]
    if operation.kind == "react":
        emoji = contents.make_reaction(operation.reaction)["emoji"]
        return [{"op": "react", "item": operation.message_id, "emoji": emoji}]
    if operation.message is None:
        raise MessageError(f"an operation of kind {operation.kind} needs a message")
    if operation.kind == "edit":
        return _render_edit(operation, operation.message)
    first, *rest = _render_parts(operation.message)
    if operation.quote_id:
        first["quote"] = operation.quote_id
    if operation.is_growing and not rest and first["content"]["type"] == "text":
        first["live"] = True
    return [{"op": "send", **part} for part in (first, *rest)]


def file(
    path: str, kind: str = "file", caption: str = "", *, preview: str = "", seconds: int = 0, ttl: int | None = None
) -> Custom:
    """Return a message with a local file. ``kind`` is ``image``, ``video``, ``voice`` or ``file``.

    ``preview`` is a small picture as a data URI (``data:image/jpg;base64,…``) for pictures and videos, ``seconds`` the
    duration of a voice message or video. ``ttl`` is the number of seconds after which the message disappears. The file
    must not be moved until it is uploaded. Other channels show the caption. Raises :class:`MessageError` for another
    kind.
    """
    if kind not in FILE_TYPES:
        raise MessageError(f"a file is sent as image, video, voice or file, not as {kind!r}")
    data: dict[str, Any] = {"path": str(path)}
    if preview:
        data["preview"] = preview
    if seconds:
        data["seconds"] = seconds
    return Custom(kind, data, caption, metadata={} if ttl is None else {"ttl": ttl})


def _render_edit(operation: Operation, message: Message) -> list[dict[str, Any]]:
    """Render an edit. If the text now exceeds the limit, the rest follows as new messages."""
    first, *rest = _render_texts(message)
    edit = {"op": "edit", "item": operation.message_id, "content": contents.text_content(first)}
    return [edit, *({"op": "send", "content": contents.text_content(part)} for part in rest)]


def _render_parts(message: Message) -> list[dict[str, Any]]:
    options = _ttl(message.metadata)
    if isinstance(message, Custom) and message.type in FILE_TYPES and "path" in message.data:
        return [{**part, **options} for part in _render_file(message)]
    if isinstance(message, Media):
        return [{**part, **options} for part in _render_media(message)]
    if isinstance(message, Card) and (link := _render_link(message)):
        return [{**link, **options}]
    return [{"content": contents.text_content(part), **options} for part in _render_texts(message)]


def _render_texts(message: Message) -> list[str]:
    """Return the message as one or more texts."""
    shown = fall_back_to_text(message, CAPABILITIES)
    text = shown.to_text()
    if type(message) is not Text:
        # Texts of cards and similar messages are Markdown; SimpleX writes bold with one asterisk.
        text = _BOLD.sub(r"*\1*", text)
    parts = contents.split_message_text(text.replace("\0", ""))
    if not parts:
        raise MessageError("the message has no text that SimpleX could show")
    return parts


def _render_media(message: Media) -> list[dict[str, Any]]:
    """Render a file of a type that is determined when it is downloaded, with its caption.

    ``otherwise`` is the content to send if the file is not available.
    """
    captions = contents.split_message_text(message.caption) if message.caption else []
    fits_in_caption = len(captions) == 1 and contents.json_size(captions[0]) <= MAX_CAPTION_BYTES
    caption = captions[0] if fits_in_caption else ""
    otherwise = replace(message, caption=caption).to_text()
    if not is_web_url(message.url):  # the server has no public URL, so nobody could open the address
        otherwise = paragraphs(caption, message.name, FILE_FAILED_TEXT)
    texts = contents.split_message_text(otherwise)
    if len(texts) > 1:  # a URL of many kilobytes
        return [{"content": contents.text_content(part)} for part in _render_texts(message)]
    media = {"url": message.url, "kind": message.kind or "", "name": message.name}
    part = {"content": contents.file_content(caption), "media": media, "otherwise": contents.text_content(texts[0])}
    return [part, *({"content": contents.text_content(text)} for text in ([] if fits_in_caption else captions))]


def _render_link(card: Card) -> dict[str, Any] | None:
    """Return a card with only a link as SimpleX's link content; None for other cards.

    Its picture is downloaded later.
    """
    button = card.buttons[0] if len(card.buttons) == 1 else None
    if button is None or not button.url.startswith(("https://", "http://")) or not card.title:
        return None
    # The card's contents are in the text as well, for apps and notifications that show no link previews.
    text = replace(card, image="").to_text()
    shown = {"title": card.title[:_MAX_TITLE_LENGTH], "description": card.text[:_MAX_DESCRIPTION_LENGTH]}
    has_inline_image = card.image.startswith("data:")
    try:
        content = contents.link_content(text, button.url, image=card.image if has_inline_image else "", **shown)
    except MessageError:  # an invalid or too large picture is no reason to lose the link
        content = contents.link_content(text, button.url, **shown)
    if sum(contents.json_size(part) for part in (text, button.url, *shown.values())) > MAX_CAPTION_BYTES:
        return None
    has_remote_image = card.image.startswith(("https://", "http://"))
    return {"content": content, **({"picture": card.image} if has_remote_image else {})}


def _render_file(message: Custom) -> list[dict[str, Any]]:
    """Render a local file with its caption. A caption that does not fit follows as texts."""
    path = message.data["path"]
    if not isinstance(path, str) or not path:
        raise MessageError("the path of a file must be a text such as /srv/bot/out/report.pdf")
    contents.check_path(path)
    captions = contents.split_message_text(message.text) if message.text else []
    captioned = _file_content(message, captions[0]) if len(captions) == 1 else None
    if captioned is not None:
        return [{"content": captioned, "file": path}]
    plain: dict[str, Any] = {"content": _file_content(message, ""), "file": path}
    return [plain, *({"content": contents.text_content(part)} for part in captions)]


def _file_content(message: Custom, caption: str) -> dict[str, Any] | None:
    """Return the content, or None if the caption does not fit beside the preview."""
    data = message.data
    preview, seconds = data.get("preview") or contents.PLACEHOLDER_IMAGE, data.get("seconds") or 0
    makers = {
        "image": lambda: contents.image_content(caption, preview),
        "video": lambda: contents.video_content(caption, preview, seconds),
        "voice": lambda: contents.voice_content(seconds, caption),
        "file": lambda: contents.file_content(caption),
    }
    content = makers[message.type]()
    try:
        contents.check_size(content, {})
    except MessageError:
        if not caption:
            raise
        return None
    return content


def _ttl(metadata: Mapping[str, Any]) -> dict[str, int]:
    """Return the option for the seconds after which the message disappears, if it is set."""
    if "ttl" not in metadata:
        return {}
    ttl = metadata["ttl"]
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not 0 < ttl <= _MAX_TTL:
        raise MessageError(f"ttl is the whole number of seconds after which a message disappears, not {ttl!r}")
    return {"ttl": ttl}
