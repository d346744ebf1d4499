"""Contents of SimpleX messages, and their size limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cometbot.channels.simplex.protocol.command import check_encodable, to_json
from cometbot.channels.simplex.protocol.refs import check_id
from cometbot.errors import MessageError
from cometbot.splitting import split_text

MESSAGE_LIMIT = 15_600
"""Maximum bytes of one message's content as JSON. The CLI's own limit is 15602, for the JSON that is sent."""

ENVELOPE_RESERVE = 600
"""Bytes of that limit that are reserved for everything but the text: the type, mentions, a quote."""

PREVIEW_LIMIT = 10_000
"""Maximum bytes of a preview image as a data URI, so that a text fits beside it."""

PLACEHOLDER_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""The preview of a picture that came without one: a single grey dot."""

REACTIONS = ("👍", "👎", "😀", "😂", "😢", "❤", "🚀", "✅")
"""The reactions that the CLI can add to messages; it receives others too."""

REPORT_REASONS = ("spam", "content", "community", "profile", "other")

Content = dict[str, Any]


def text_content(text: str) -> Content:
    """Return a text. The apps format ``*bold*`` and similar marks."""
    return {"type": "text", "text": _text(text)}


def link_content(text: str, uri: str, *, title: str = "", description: str = "", image: str = "") -> Content:
    """Return a text with the preview of a link. ``image`` is a data URI."""
    preview = {"uri": _text(uri), "title": _text(title), "description": _text(description), "image": _preview(image)}
    return {"type": "link", "text": _text(text), "preview": preview}


def image_content(text: str, image: str) -> Content:
    """Return a caption and a picture's preview as a data URI. The picture itself is the message's file."""
    return {"type": "image", "text": _text(text), "image": _preview(image)}


def video_content(text: str, image: str, seconds: int) -> Content:
    """Return a caption, a video's preview as a data URI, and its duration. The video is the message's file."""
    return {"type": "video", "text": _text(text), "image": _preview(image), "duration": _seconds(seconds)}


def voice_content(seconds: int, text: str = "") -> Content:
    """Return a voice message with its duration. The recording is the message's file."""
    return {"type": "voice", "text": _text(text), "duration": _seconds(seconds)}


def file_content(text: str = "") -> Content:
    """Return a caption for any other file, which is the message's file."""
    return {"type": "file", "text": _text(text)}


def report_content(text: str, reason: str) -> Content:
    """Return a report to the moderators of a group. ``reason`` is one of :data:`REPORT_REASONS`."""
    if reason not in REPORT_REASONS:
        raise MessageError(f"the reason of a report must be one of {', '.join(REPORT_REASONS)}, not {reason!r}")
    return {"type": "report", "text": _text(text), "reason": reason}


def chat_content(text: str, chat_link: Mapping[str, Any], owner_sig: Mapping[str, Any] | None = None) -> Content:
    """Return a text with a link to a contact, an invitation or a group. Both objects are as the CLI sent them."""
    content: Content = {"type": "chat", "text": _text(text), "chatLink": dict(chat_link)}
    if owner_sig is not None:
        content["ownerSig"] = dict(owner_sig)
    return content


@dataclass(frozen=True, slots=True)
class ComposedMessage:
    """A message to be sent.

    ``quoted_item_id`` is the message in the same chat that it quotes. ``file_path`` is a path on the CLI's machine.
    ``mentions`` maps a name that follows ``@`` in the text to the member's id in the group (``groupMemberId``). Raises
    :class:`MessageError` for values that the CLI would certainly reject.
    """

    content: Mapping[str, Any] = field(repr=False)
    quoted_item_id: int | None = None
    file_path: str = field(default="", repr=False)
    mentions: Mapping[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_size(self.content, self.mentions)
        if self.quoted_item_id is not None:
            check_id(self.quoted_item_id, "the message that is answered")
        check_path(self.file_path)

    def to_object(self) -> dict[str, Any]:
        """Return the message in the CLI's format."""
        message: dict[str, Any] = {"msgContent": dict(self.content), "mentions": dict(self.mentions)}
        if self.quoted_item_id is not None:
            message["quotedItemId"] = self.quoted_item_id
        if self.file_path:
            message["fileSource"] = {"filePath": self.file_path}
        return message


@dataclass(frozen=True, slots=True)
class UpdatedMessage:
    """The new content of a message. Raises :class:`MessageError` like :class:`ComposedMessage`."""

    content: Mapping[str, Any] = field(repr=False)
    mentions: Mapping[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_size(self.content, self.mentions)

    def to_object(self) -> dict[str, Any]:
        """Return the message in the CLI's format."""
        return {"msgContent": dict(self.content), "mentions": dict(self.mentions)}


def check_size(content: Mapping[str, Any], mentions: Mapping[str, int]) -> None:
    """Check the type and size of a content, and the mentions.

    Raises :class:`MessageError` for a content without a type or above :data:`MESSAGE_LIMIT`, and for invalid mentions.
    """
    if not isinstance(content, Mapping) or not isinstance(content.get("type"), str):
        raise MessageError("the content of a message must be an object with a type, such as text_content('Hello')")
    for name, member in mentions.items():
        _text(name)
        check_id(member, f"the mentioned member {name[:40]!r}")
    size = len(to_json({**content, "mentions": dict(mentions)} if mentions else dict(content), "the message").encode())
    if size > MESSAGE_LIMIT:
        raise MessageError(
            f"the message has {size} bytes as JSON and SimpleX takes {MESSAGE_LIMIT}: "
            "split the text with split_message_text(), or make the preview image smaller"
        )


def check_path(path: str) -> str:
    """Return ``path`` if a command can carry it. Raises :class:`MessageError` otherwise."""
    if any(ord(character) < 32 for character in path):
        raise MessageError("the path of a file has a control character in it, such as a line break; rename the file")
    return check_encodable(path, "the path of a file")


def make_reaction(emoji: str) -> dict[str, str]:
    """Return ``emoji`` in the CLI's format for reactions, in which a heart has no variation selector.

    Raises :class:`MessageError` for an emoji that is not one of :data:`REACTIONS`.
    """
    bare = emoji.replace("\N{VARIATION SELECTOR-16}", "") if isinstance(emoji, str) else ""
    if bare not in REACTIONS:
        raise MessageError(f"SimpleX has the reactions {' '.join(REACTIONS)} and no others; {emoji!r:.40} is none")
    return {"type": "emoji", "emoji": bare}


def json_size(text: str) -> int:
    """Return the bytes of a text in JSON, without the quotation marks."""
    return len(to_json(text, "the text").encode()) - 2


def split_message_text(text: str, limit: int = MESSAGE_LIMIT - ENVELOPE_RESERVE) -> list[str]:
    """Return ``text`` in parts that each fit into a message: at most ``limit`` bytes as JSON, escapes included.

    It is split like in :func:`~cometbot.splitting.split_text`. An empty or blank text has no parts.
    """
    return split_text(_text(text), limit, json_size)


def _text(text: str) -> str:
    if not isinstance(text, str):
        raise MessageError(f"a text must be a str, not {type(text).__name__}")
    return check_encodable(text, "the text")


def _preview(image: str) -> str:
    if image and not image.startswith(("data:image/jpg;base64,", "data:image/jpeg;base64,", "data:image/png;base64,")):
        raise MessageError("the preview image must be a data URI such as data:image/jpg;base64,…")
    if len(image) > PREVIEW_LIMIT:
        raise MessageError(f"the preview image has {len(image)} bytes; make it smaller, {PREVIEW_LIMIT} at most")
    return _text(image)


def _seconds(seconds: int) -> int:
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 0:
        raise MessageError(f"the duration must be a whole number of seconds, not {seconds!r}")
    return seconds
