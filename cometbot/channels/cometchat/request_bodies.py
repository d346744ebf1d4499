"""Message bodies of CometChat's REST API, and the checks of its limits before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cometbot.errors import MessageError
from cometbot.text import replace_surrogates

MAX_DATA_BYTES = 10_000
"""UTF-8 bytes of a message's ``data`` as JSON; CometChat's documented limit is 10 KB."""
MAX_BODY_LENGTH = 65_536
"""Characters of the whole message as JSON."""
MAX_TAGS, MAX_TAG_LENGTH = 25, 100
MAX_MENTIONS = 10
MAX_REACTION_LENGTH = 45
MAX_NAME_LENGTH = 100
DATA_FIELDS = {"custom": "customData", "interactive": "interactiveData", "card": "card"}
"""The field of ``data`` with the content of a message, by its category; others have text or attachments."""
CATEGORIES = ("message", *DATA_FIELDS)
MESSAGE_TYPES = ("text", "image", "file", "audio", "video")
_MENTION = re.compile(r"<@uid:([^<>\s]+)>")


def encode(value: object, field: str = "data") -> bytes:
    """Return ``value`` as JSON in UTF-8, with U+FFFD for lone surrogates.

    Raises :class:`MessageError`, naming ``field``, if it cannot be encoded as JSON.
    """
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):  # a lone surrogate, or no JSON
        try:
            return orjson.dumps(replace_surrogates(value))
        except (TypeError, ValueError) as error:
            raise MessageError(f"{field} must be JSON: {error}") from None


def check_message(body: Mapping[str, Any]) -> bytes:
    """Return ``body`` encoded as JSON. Raises :class:`MessageError`, naming the wrong field, if it is not valid."""
    receiver, category, kind, data = body.get("receiver"), body.get("category"), body.get("type"), body.get("data")
    if not (isinstance(receiver, str) and receiver.strip()) and not body.get("multipleReceivers"):
        raise MessageError("receiver must name a user or a group")
    if body.get("receiverType") not in ("user", "group"):
        raise MessageError("receiverType must be 'user' or 'group'")
    if category not in CATEGORIES:
        raise MessageError(f"category must be one of {', '.join(CATEGORIES)}, not {category!r}")
    if not (isinstance(kind, str) and kind.strip()):
        raise MessageError("type must not be empty")
    if category == "message" and kind not in MESSAGE_TYPES:
        raise MessageError(f"type must be one of {', '.join(MESSAGE_TYPES)}, not {kind!r}")
    if not isinstance(data, Mapping):
        raise MessageError("data must be an object")
    _check_content(str(category), kind, data)
    _check_metadata_and_mentions(data)
    if body.get("tags") is not None:
        check_tags(body["tags"])
    try:
        encoded = encode(dict(body), "the message")
    except MessageError:
        encode(dict(data))  # names data if that is the reason
        raise
    if len(encoded) > MAX_DATA_BYTES:  # else its data is within the limit too
        _check_data_size(data)
        length = len(encoded.decode())
        if length > MAX_BODY_LENGTH:
            raise MessageError(f"the message has {length} characters as JSON; CometChat takes {MAX_BODY_LENGTH}")
    return encoded


def check_data(data: Mapping[str, Any]) -> None:
    """Raise :class:`MessageError` for a ``data`` that CometChat would refuse in messages of any kind."""
    _check_metadata_and_mentions(data)
    _check_data_size(data)


def check_tags(tags: object) -> None:
    """Raise :class:`MessageError` unless ``tags`` is None or a list that CometChat accepts."""
    if tags is None:
        return
    if not isinstance(tags, Sequence) or isinstance(tags, str):
        raise MessageError("tags must be a list of texts")
    if len(tags) > MAX_TAGS:
        raise MessageError(f"tags has {len(tags)} entries; CometChat takes {MAX_TAGS}")
    if not all(_is_text(tag) and len(tag) <= MAX_TAG_LENGTH for tag in tags):
        raise MessageError(f"each of tags must have 1 to {MAX_TAG_LENGTH} characters")


def check_reaction(reaction: str) -> str:
    """Return ``reaction``. Raises :class:`MessageError` if CometChat would refuse it."""
    if not _is_text(reaction) or len(reaction) > MAX_REACTION_LENGTH:
        raise MessageError(f"reaction must have 1 to {MAX_REACTION_LENGTH} characters")
    return reaction


def check_id(value: object, field: str, *, max_length: int = MAX_NAME_LENGTH) -> str:
    """Return ``value`` as an id for a path or a header. Raises :class:`MessageError`, naming ``field``, if invalid."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    is_valid = isinstance(text, str) and 0 < len(text) <= max_length and text.isprintable() and text not in (".", "..")
    if not is_valid or " " in str(text):
        raise MessageError(f"{field} must be an id of 1 to {max_length} characters without spaces, not {value!r}")
    return str(text)


def _check_content(category: str, kind: str, data: Mapping[str, Any]) -> None:
    if category != "message":
        name = DATA_FIELDS[category]
        if not isinstance(data.get(name), Mapping):
            raise MessageError(f"data.{name} must be an object")
    elif kind == "text":
        text = data.get("text")
        if not (isinstance(text, str) and text.strip()):
            raise MessageError("data.text must be a text that is not empty")
    else:
        attachments = data.get("attachments")
        if not isinstance(attachments, Sequence) or not attachments:
            raise MessageError("data.attachments must hold at least one file")
        for number, attachment in enumerate(attachments):
            _check_attachment(attachment, f"data.attachments.{number}")


def _check_attachment(attachment: object, path: str) -> None:
    if not isinstance(attachment, Mapping):
        raise MessageError(f"{path} must be an object")
    for name in ("url", "name", "mimeType", "extension"):
        if not _is_text(attachment.get(name)):
            raise MessageError(f"{path}.{name} must be a text that is not empty")


def _check_metadata_and_mentions(data: Mapping[str, Any]) -> None:
    metadata, text = data.get("metadata"), data.get("text")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise MessageError("data.metadata must be an object")
    if isinstance(text, str) and (uids := _MENTION.findall(text)):
        mentioned = len(set(map(str.lower, uids)))
        if mentioned > MAX_MENTIONS:
            raise MessageError(f"data.text mentions {mentioned} users; CometChat takes {MAX_MENTIONS} a message")


def _check_data_size(data: Mapping[str, Any]) -> None:
    size = len(encode(dict(data)))
    if size > MAX_DATA_BYTES:
        raise MessageError(f"data has {size} bytes as JSON; CometChat takes {MAX_DATA_BYTES}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
