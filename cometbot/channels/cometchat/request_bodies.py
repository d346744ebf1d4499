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


def make_receiver_fields(receiver: str, *, is_group: bool) -> dict[str, str]:
    """Return the fields of a body that name the receiver."""
    return {"receiver": receiver, "receiverType": "group" if is_group else "user"}


def check_message(body: Mapping[str, Any]) -> bytes:
    """Return ``body`` encoded as JSON. Raises :class:`MessageError`, naming the wrong field, if it is not valid."""
    if not body.get("multipleReceivers"):
        _require(_is_text(body.get("receiver")), "receiver must name a user or a group")
    _require(body.get("receiverType") in ("user", "group"), "receiverType must be 'user' or 'group'")
    category, kind, data = body.get("category"), body.get("type"), body.get("data")
    _require(category in CATEGORIES, f"category must be one of {', '.join(CATEGORIES)}, not {category!r}")
    _require(_is_text(kind), "type must not be empty")
    if category == "message":
        _require(kind in MESSAGE_TYPES, f"type must be one of {', '.join(MESSAGE_TYPES)}, not {kind!r}")
    data = _require_object(data, "data")
    _check_content(str(category), str(kind), data)
    check_data(data)
    check_tags(body.get("tags"))
    encoded = encode(dict(body), "the message")
    length = len(encoded.decode())
    _require(
        length <= MAX_BODY_LENGTH, f"the message has {length} characters as JSON; CometChat takes {MAX_BODY_LENGTH}"
    )
    return encoded


def check_data(data: Mapping[str, Any]) -> None:
    """Raise :class:`MessageError` for a ``data`` that CometChat would refuse in messages of any kind."""
    metadata = data.get("metadata")
    _require(metadata is None or isinstance(metadata, Mapping), "data.metadata must be an object")
    text = data.get("text")
    if isinstance(text, str):
        mentioned = len({uid.lower() for uid in _MENTION.findall(text)})
        _require(
            mentioned <= MAX_MENTIONS,
            f"data.text mentions {mentioned} users; CometChat takes {MAX_MENTIONS} a message",
        )
    size = len(encode(dict(data)))
    _require(size <= MAX_DATA_BYTES, f"data has {size} bytes as JSON; CometChat takes {MAX_DATA_BYTES}")


def check_tags(tags: object) -> None:
    """Raise :class:`MessageError` unless ``tags`` is None or a list that CometChat accepts."""
    if tags is None:
        return
    _require(isinstance(tags, Sequence) and not isinstance(tags, str), "tags must be a list of texts")
    assert isinstance(tags, Sequence)
    _require(len(tags) <= MAX_TAGS, f"tags has {len(tags)} entries; CometChat takes {MAX_TAGS}")
    for tag in tags:
        _require(
            _is_text(tag) and len(tag) <= MAX_TAG_LENGTH, f"each of tags must have 1 to {MAX_TAG_LENGTH} characters"
        )


def check_reaction(reaction: str) -> str:
    """Return ``reaction``. Raises :class:`MessageError` if CometChat would refuse it."""
    _require(
        _is_text(reaction) and len(reaction) <= MAX_REACTION_LENGTH,
        f"reaction must have 1 to {MAX_REACTION_LENGTH} characters",
    )
    return reaction


def check_id(value: object, field: str, *, max_length: int = MAX_NAME_LENGTH) -> str:
    """Return ``value`` as an id for a path or a header. Raises :class:`MessageError`, naming ``field``, if invalid."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    is_valid = isinstance(text, str) and 0 < len(text) <= max_length and text.isprintable() and text not in (".", "..")
    _require(
        is_valid and " " not in str(text),
        f"{field} must be an id of 1 to {max_length} characters without spaces, not {value!r}",
    )
    return str(text)


def _check_content(category: str, kind: str, data: Mapping[str, Any]) -> None:
    if category == "message" and kind == "text":
        _require(_is_text(data.get("text")), "data.text must be a text that is not empty")
    elif category == "message":
        attachments = data.get("attachments")
        _require(
            isinstance(attachments, Sequence) and bool(attachments), "data.attachments must hold at least one file"
        )
        assert isinstance(attachments, Sequence)
        for number, attachment in enumerate(attachments):
            _check_attachment(attachment, f"data.attachments.{number}")
    else:
        _require_object(data.get(DATA_FIELDS[category]), f"data.{DATA_FIELDS[category]}")


def _check_attachment(attachment: object, path: str) -> None:
    attachment = _require_object(attachment, path)
    for name in ("url", "name", "mimeType", "extension"):
        _require(_is_text(attachment.get(name)), f"{path}.{name} must be a text that is not empty")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _require(condition: object, text: str) -> None:
    if not condition:
        raise MessageError(text)


def _require_object(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise MessageError(f"{field} must be an object")
    return value
