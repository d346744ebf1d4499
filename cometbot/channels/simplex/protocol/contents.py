"""What a message of SimpleX may hold, and how large it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cometbot.channels.simplex.protocol.command import check_encodable, to_json
from cometbot.channels.simplex.protocol.refs import check_id
from cometbot.errors import MessageError
from cometbot.splitting import split_text

MESSAGE_LIMIT = 15_600
"""Bytes that the JSON of one message's content may have; the CLI's own limit is 15602, for the JSON that travels."""

ENVELOPE_RESERVE = 600
"""Bytes of that limit which are kept for what stands around a text: the type, mentions, a quote."""

PREVIEW_LIMIT = 10_000
"""Bytes of a preview image as a data URI, so that a text fits beside it."""

PLACEHOLDER_IMAGE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""The preview of a picture that came without one: a single grey dot."""

REACTIONS = ("👍", "👎", "😀", "😂", "😢", "❤", "🚀", "✅")
"""The reactions that the CLI puts on messages; it receives others too."""

REPORT_REASONS = ("spam", "content", "community", "profile", "other")

Content = dict[str, Any]


def text_content(text: str) -> Content:
    """A plain text; ``*bold*`` and its like are shown as such by the apps."""
    return {"type": "text", "text": _text(text)}


def link_content(text: str, uri: str, *, title: str = "", description: str = "", image: str = "") -> Content:
    """A text with the preview of a link; ``image`` is a data URI."""
    preview = {"uri": _text(uri), "title": _text(title), "description": _text(description), "image": _preview(image)}
    return {"type": "link", "text": _text(text), "preview": preview}


def image_content(text: str, image: str) -> Content:
    """A caption and the small preview of a picture as a data URI; the picture itself is the message's file."""
    return {"type": "image", "text": _text(text), "image": _preview(image)}


def video_content(text: str, image: str, seconds: int) -> Content:
    """A caption, the preview of a video as a data URI, and how long it is; the video is the message's file."""
    return {"type": "video", "text": _text(text), "image": _preview(image), "duration": _seconds(seconds)}


def voice_content(seconds: int, text: str = "") -> Content:
    """A voice message of so many seconds; the recording is the message's file."""
    return {"type": "voice", "text": _text(text), "duration": _seconds(seconds)}


def file_content(text: str = "") -> Content:
    """A caption for any other file, which is the message's file."""
    return {"type": "file", "text": _text(text)}


def report_content(text: str, reason: str) -> Content:
    """A report to the moderators of a group; ``reason`` is one of :data:`REPORT_REASONS`."""
    if reason not in REPORT_REASONS:
        raise MessageError(f"the reason of a report must be one of {', '.join(REPORT_REASONS)}, not {reason!r}")
    return {"type": "report", "text": _text(text), "reason": reason}


def chat_content(text: str, chat_link: Mapping[str, Any], owner_sig: Mapping[str, Any] | None = None) -> Content:
    """A text with a link to a contact, an invitation or a group; both objects as the CLI gave them."""
    content: Content = {"type": "chat", "text": _text(text), "chatLink": dict(chat_link)}
    if owner_sig is not None:
        content["ownerSig"] = dict(owner_sig)
    return content


@dataclass(frozen=True, slots=True)
class ComposedMessage:
    """One message to be sent.

    ``quoted_item_id`` is the message that it answers, in the same chat. ``file_path`` is a path on the CLI's machine.
    ``mentions`` maps a name as it stands in the text behind ``@`` to the member's number in the group
    (``groupMemberId``). Raises :class:`MessageError` for what the CLI would surely refuse.
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
        """The message as the CLI takes it."""
        message: dict[str, Any] = {"msgContent": dict(self.content), "mentions": dict(self.mentions)}
        if self.quoted_item_id is not None:
            message["quotedItemId"] = self.quoted_item_id
        if self.file_path:
            message["fileSource"] = {"filePath": self.file_path}
        return message


@dataclass(frozen=True, slots=True)
class UpdatedMessage:
    """What a message is to hold from now on. Raises :class:`MessageError` as :class:`ComposedMessage` does."""

    content: Mapping[str, Any] = field(repr=False)
    mentions: Mapping[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_size(self.content, self.mentions)

    def to_object(self) -> dict[str, Any]:
        """The message as the CLI takes it."""
        return {"msgContent": dict(self.content), "mentions": dict(self.mentions)}


def check_size(content: Mapping[str, Any], mentions: Mapping[str, int]) -> None:
    """Raises :class:`MessageError` for a content without a type or above :data:`MESSAGE_LIMIT`, and wrong mentions."""
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
    """``path`` if a command can carry it. Raises :class:`MessageError`."""
    if any(ord(character) < 32 for character in path):
        raise MessageError("the path of a file has a control character in it, such as a line break; rename the file")
    return check_encodable(path, "the path of a file")


def make_reaction(emoji: str) -> dict[str, str]:
    """``emoji`` as the CLI takes a reaction: a heart comes without its variation selector.

    Raises :class:`MessageError` for one that it does not put on messages.
    """
    bare = emoji.replace("\N{VARIATION SELECTOR-16}", "") if isinstance(emoji, str) else ""
    if bare not in REACTIONS:
        raise MessageError(f"SimpleX has the reactions {' '.join(REACTIONS)} and no others; {emoji!r:.40} is none")
    return {"type": "emoji", "emoji": bare}


def json_size(text: str) -> int:
    """Bytes of a text as it stands in JSON, without the quotes around it."""
    return len(to_json(text, "the text").encode()) - 2


def split_message_text(text: str, limit: int = MESSAGE_LIMIT - ENVELOPE_RESERVE) -> list[str]:
    """Return ``text`` in parts that each fit into a message: at most ``limit`` bytes as JSON, escapes included.

    Cut as by :func:`~cometbot.splitting.split_text`. An empty or blank text gives no part.
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
