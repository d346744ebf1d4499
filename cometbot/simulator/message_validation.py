"""Validation of a message to be sent: docs/protocols/cometchat.md, "Sending a bot message"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from cometbot.simulator.errors import Refusal, bad_request
from cometbot.simulator.records import StoredMessage
from cometbot.simulator.schemas import DraftSchema, to_refusal

MAX_MESSAGE_LENGTH = 65_536
MAX_DATA_BYTES = 10 * 1024
MAX_MENTIONS = 10
MEDIA_TYPES = ("image", "file", "audio", "video")

_MENTION_PATTERN = re.compile(r"<@uid:([^<>\s]+)>")
_RESERVED_DATA_KEYS = frozenset({"entities", "mentions", "reactions", "resource", "moderation"})
_SCHEMA = DraftSchema()
_ERROR_CODES = {
    "receiver": ("ERR_EMPTY_RECEIVER", "ERR_BAD_REQUEST"),
    "receiverType": ("ERR_INVALID_RECEIVER_TYPE", "ERR_INVALID_RECEIVER_TYPE"),
    "category": ("ERR_EMPTY_MESSAGE_CATEGORY", "ERR_INVALID_MESSAGE_CATEGORY"),
    "type": ("ERR_EMPTY_MESSAGE_TYPE", "ERR_INVALID_MESSAGE_TYPE"),
    "data": ("ERR_INVALID_MESSAGE_DATA", "ERR_INVALID_MESSAGE_DATA"),
}


def parse_draft(body: Mapping[str, Any], *, categories: Sequence[str]) -> StoredMessage:
    """Return the message in a request's body, without an id, a sender and times.

    Raises :class:`Refusal` for the first error.
    """
    _check_envelope(body)
    if body["category"] not in categories:
        raise Refusal("ERR_INVALID_MESSAGE_CATEGORY", f"The category {body['category']} is not allowed here.")
    data = {key: value for key, value in body["data"].items() if key not in _RESERVED_DATA_KEYS}
    check_content(body["category"], body["type"], data)
    _check_size(body)
    if body["type"] in MEDIA_TYPES and body["category"] == "message" and data.get("attachments"):
        data.setdefault("url", data["attachments"][0]["url"])
    return StoredMessage(
        receiver=body["receiver"].lower(),
        receiver_type=body["receiverType"],
        category=body["category"],
        type=body["type"],
        data=data,
        muid=body.get("muid", ""),
        tags=tuple(body.get("tags", ())),
        parent_id=str(body.get("parentId") or ""),
        quoted_message_id=str(body.get("quotedMessageId") or ""),
    )


def check_content(category: str, type_: str, data: Mapping[str, Any]) -> None:
    """Raise :class:`Refusal`, as CometChat would, if ``data`` is invalid for a message of this category and type."""
    if not isinstance(data.get("metadata", {}), Mapping):
        raise Refusal("ERR_INVALID_METADATA", "The metadata must be an object.")
    _check_kind(category, type_)(data)
    if len(orjson.dumps(data)) > MAX_DATA_BYTES:
        raise bad_request("data", f"The data may not be greater than {MAX_DATA_BYTES} bytes.")
    if len(find_mentions(data)) > MAX_MENTIONS:
        raise bad_request("data.text", f"The text may not mention more than {MAX_MENTIONS} users.")


def find_mentions(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the uids that ``data.text`` mentions, each once, in order."""
    text = data.get("text")
    if not isinstance(text, str) or "<@uid:" not in text:
        return ()
    return tuple(dict.fromkeys(uid.lower() for uid in _MENTION_PATTERN.findall(text)))


def _check_envelope(body: Mapping[str, Any]) -> None:
    errors = _SCHEMA.validate(body)
    if not errors:
        return
    for field, (empty, invalid) in _ERROR_CODES.items():
        if field in errors:
            raise Refusal(invalid if body.get(field) else empty, f"The {field} is missing or invalid.")
    raise to_refusal(errors)


def _check_kind(category: str, type_: str) -> Callable[[Mapping[str, Any]], None]:
    if category != "message":
        if category == "card" and type_ != "text":
            raise Refusal("ERR_INVALID_MESSAGE_TYPE", f"A card message is of type text, not {type_}.")
        return {"custom": _check_custom, "interactive": _check_interactive, "card": _check_card}[category]
    if type_ != "text" and type_ not in MEDIA_TYPES:
        raise Refusal("ERR_INVALID_MESSAGE_TYPE", f"The message type {type_} is not valid.")
    return _check_text if type_ == "text" else _check_media


def _check_text(data: Mapping[str, Any]) -> None:
    text = data.get("text")
    if text is None or text == "":
        raise Refusal("ERR_EMPTY_MESSAGE_TEXT", "The text of a text message may not be empty.")
    if not isinstance(text, str):
        raise Refusal("ERR_INVALID_MESSAGE_TEXT", "The text of a text message must be a string.")
    if not text.strip():
        raise Refusal("ERR_EMPTY_MESSAGE_TEXT", "The text of a text message may not be empty.")


def _check_media(data: Mapping[str, Any]) -> None:
    attachments = data.get("attachments")
    if not attachments:
        raise Refusal("ERR_EMPTY_MESSAGE_FILE", "A media message needs data.attachments.")
    if not isinstance(attachments, list) or not all(map(_is_attachment, attachments)):
        raise Refusal(
            "ERR_INVALID_MEDIA_MESSAGE", "Each attachment needs url, name, mimeType and extension as strings."
        )
    if not isinstance(data.get("text", ""), str):
        raise Refusal("ERR_INVALID_MESSAGE_TEXT", "The text of a media message must be a string.")


def _is_attachment(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    texts = [value.get(key) for key in ("url", "name", "mimeType", "extension")]
    return all(isinstance(text, str) for text in texts) and bool(value["url"])


def _check_custom(data: Mapping[str, Any]) -> None:
    if not data.get("customData"):
        raise Refusal("ERR_EMPTY_CUSTOM_DATA", "A custom message needs data.customData.")
    if not isinstance(data["customData"], Mapping):
        raise Refusal("ERR_INVALID_CUSTOM_DATA", "data.customData must be an object.")


def _check_interactive(data: Mapping[str, Any]) -> None:
    if not isinstance(data.get("interactiveData"), Mapping) or not data["interactiveData"]:
        raise Refusal("ERR_INVALID_MESSAGE_DATA", "An interactive message needs data.interactiveData.")


def _check_card(data: Mapping[str, Any]) -> None:
    _check_text(data)
    card = data.get("card")
    if not isinstance(card, Mapping) or any(not card.get(key) for key in ("version", "body", "style", "fallbackText")):
        raise Refusal("ERR_INVALID_MESSAGE_DATA", "data.card needs version, body, style and fallbackText.")


def _check_size(body: Mapping[str, Any]) -> None:
    if len(orjson.dumps(body).decode()) > MAX_MESSAGE_LENGTH:
        raise bad_request("data", f"The message may not be greater than {MAX_MESSAGE_LENGTH} characters.")
