"""Converts payloads of the Chat API to cometbot's messages, and back. No I/O."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from cometbot.action_values import decode_value
from cometbot.channels.base import fall_back_to_text
from cometbot.channels.chat_api import schemas
from cometbot.content_types import media_family
from cometbot.errors import MessageError, PayloadError
from cometbot.messages import (
    Button,
    Capabilities,
    Card,
    Carousel,
    Choice,
    Choices,
    Custom,
    Location,
    Media,
    Message,
    Text,
)
from cometbot.models import Attachment
from cometbot.splitting import split_text
from cometbot.text import clean_file_name, replace_surrogates

TEXT_LIMIT = 16_000
"""UTF-8 bytes of one text. The Chat API has no limit; this one fits on a screen and in any database."""

EVENT_TYPE = "event"
"""The ``type`` of a :class:`Custom` that is sent as an event and not as a message."""

Payload = dict[str, Any]

_URL_FIELDS = {"image": "imageUrl", "audio": "audioUrl", "video": "videoUrl", "file": "fileUrl"}
_MAX_CHOICE_OPTIONS = 10
_ANY_ACTION = "choice"
"""The action of choices in a payload, which has none: clients send the value alone."""

CAPABILITIES = Capabilities(
    native=frozenset({Text, Media, Card, Carousel, Choices, Location, Custom}),
    text_limit=TEXT_LIMIT,
    delete=True,
    history=True,
    look_up=True,
    stream_interval=0.05,
    deltas=True,
    members=True,
    moderate=True,
)
"""The capabilities of the Chat API."""


def to_payloads(message: Message) -> list[Payload]:
    """Return the payloads of ``message``, in order; more than one only for a long text.

    A :class:`Custom` with the type of a payload (``markdown``, ``dropdown``, ``bloc`` …) becomes that payload; any
    other type becomes its text. Raises :class:`MessageError` if a required field of the type is missing.
    """
    if isinstance(message, Custom):
        return [_custom_payload(message)] if message.type in schemas.PAYLOADS else _text_payloads(message.to_text())
    shown = fall_back_to_text(message, CAPABILITIES)
    if isinstance(shown, Text):
        return _text_payloads(shown.text)
    make: Mapping[type[Message], Callable[[Any], Payload]] = {
        Media: _media_payload,
        Card: _card_payload,
        Carousel: lambda carousel: {"type": "carousel", "items": [_card_payload(card) for card in carousel.cards]},
        Choices: _choices_payload,
        Location: _location_payload,
    }
    return [make[type(shown)](shown)]


def to_json_value(value: Any, what: str) -> Any:
    """Return ``value`` as JSON that every reader accepts: unpaired surrogates, which cut streams produce, are replaced.

    Raises :class:`MessageError`, naming ``what``, for a value that is not JSON.
    """
    try:
        return replace_surrogates(json.loads(json.dumps(value, allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"{what} must be JSON: {error}") from None


def to_messages(payload: Mapping[str, Any]) -> list[Message]:
    """Return the messages for a payload: one, several for a bloc, none for an empty payload.

    Use this to send the messages of a bot behind the Chat API on another platform. A payload that has no equivalent
    becomes a :class:`Custom` of its type.
    """
    items = payload.get("items")
    if payload.get("type") != "bloc" or not isinstance(items, list):
        return _parse_payload(payload)
    return [message for item in items if isinstance(item, Mapping) for message in _parse_payload(item)]


def text_of(payload: Mapping[str, Any]) -> str:
    """Return the text of a user's payload, else its title or address; for a bloc its texts, one on each line."""
    if payload.get("type") == "bloc":
        items = payload.get("items") or ()
        return "\n".join(text for item in items if item.get("type") in ("text", "markdown") and (text := text_of(item)))
    for name in ("text", "markdown", "title", "address"):
        if isinstance(payload.get(name), str) and payload[name] and (name != "title" or payload["type"] != "file"):
            return str(payload[name])
    return ""


def attachments_of(payload: Mapping[str, Any]) -> tuple[Attachment, ...]:
    """Return the files in a payload."""
    if payload.get("type") == "bloc":
        return tuple(found for item in payload.get("items") or () for found in attachments_of(item))
    name = _URL_FIELDS.get(str(payload.get("type")))
    if name is None:
        return ()
    url = str(payload[name])
    file_name = clean_file_name(str(payload.get("title") or "") or _file_name(url))
    mime_type = mimetypes.guess_type(_path(url))[0] or ""
    extension = file_name.rpartition(".")[2] if "." in file_name else ""
    return (Attachment(url, file_name, mime_type, extension),)


def kind_of(payload: Mapping[str, Any]) -> str:
    """Return the message type of a payload.

    It is ``text`` also for markdown. A bloc has the type of its first item that is not text, else ``text``.
    """
    kind = str(payload["type"])
    if kind == "bloc":
        kinds = [kind_of(item) for item in payload["items"]]
        return next((found for found in kinds if found != "text"), "text")
    return "text" if kind == "markdown" else kind


def _text_payloads(text: str) -> list[Payload]:
    return [{"type": "text", "text": part} for part in split_text(text, TEXT_LIMIT)]


def _custom_payload(message: Custom) -> Payload:
    payload = {**message.data, "type": message.type}
    try:
        schemas.load(schemas.PAYLOADS[message.type], payload, f"Custom of the type {message.type}")
    except PayloadError as error:
        raise MessageError(str(error)) from None
    return payload


def _media_payload(message: Media) -> Payload:
    """Return the payload of a file; with a caption, a bloc of both."""
    kind = message.kind or media_family(message.mime_type or mimetypes.guess_type(_path(message.url))[0] or "")
    payload: Payload = {"type": kind, _URL_FIELDS[kind]: message.url}
    if kind == "file" and message.name:
        payload["title"] = message.name
    if not message.caption:
        return payload
    return {"type": "bloc", "items": [payload, *_text_payloads(message.caption)]}


def _card_payload(card: Card) -> Payload:
    """Return the payload of a card.

    A title is required. A card without one gets its text, else the label of its first button, else the image's name.
    """
    offers = iter(card.offers())
    actions = [
        {"action": "url", "label": button.label, "value": button.url}
        if button.url
        else {"action": "postback", "label": button.label, "value": next(offers).value}
        for button in card.buttons
    ]
    first = actions[0]["label"] if actions else _file_name(card.image) or card.image
    payload: Payload = {"type": "card", "title": card.title or card.text or first, "actions": actions}
    if card.title and card.text:
        payload["subtitle"] = card.text
    if card.image:
        payload["imageUrl"] = card.image
    return payload


def _choices_payload(message: Choices) -> Payload:
    """Return a ``choice``, or a ``dropdown`` if there are many options."""
    options = [{"label": offer.label, "value": offer.value} for offer in message.offers()]
    kind = "choice" if len(options) <= _MAX_CHOICE_OPTIONS else "dropdown"
    return {"type": kind, "text": message.text, "options": options}


def _location_payload(message: Location) -> Payload:
    payload: Payload = {"type": "location", "latitude": message.latitude, "longitude": message.longitude}
    if message.label:
        payload["title"] = message.label
    if message.address:
        payload["address"] = message.address
    return payload


def _parse_payload(payload: Mapping[str, Any]) -> list[Message]:
    kind = str(payload.get("type") or "unknown")
    make = _PARSERS.get(kind)
    try:
        found = make(payload) if make else Custom(kind, payload)
    except (MessageError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        found = Custom(kind, payload)
    return [] if found is None else [found]


def _parse_text(payload: Mapping[str, Any]) -> Text | None:
    text = payload["text"] if payload["type"] == "text" else payload["markdown"]
    return Text(text) if text.strip() else None


def _parse_media(payload: Mapping[str, Any]) -> Media:
    kind: Any = payload["type"]
    return Media(payload[_URL_FIELDS[kind]], kind, name=str(payload.get("title") or ""))


def _parse_location(payload: Mapping[str, Any]) -> Location:
    coordinates = float(payload["latitude"]), float(payload["longitude"])
    return Location(*coordinates, label=payload.get("title") or "", address=payload.get("address") or "")


def _parse_card(payload: Mapping[str, Any]) -> Card:
    image, text = payload.get("imageUrl") or "", payload.get("subtitle") or ""
    return Card(payload["title"], text, image, list(_parse_buttons(payload["actions"])))


def _parse_buttons(actions: Sequence[Mapping[str, Any]]) -> Iterator[Button]:
    """Yield the buttons of a card. A ``say`` or ``postback`` action becomes a button with its value."""
    for action in actions:
        label, value = action["label"], action["value"]
        if action["action"] == "url":
            yield Button(label, url=value)
        else:
            yield Button(label, value=decode_value(value))


def _parse_carousel(payload: Mapping[str, Any]) -> Carousel | None:
    cards = [_parse_card(item) for item in payload["items"]]
    return Carousel(cards) if cards else None


def _parse_choices(payload: Mapping[str, Any]) -> Message:
    options = [Choice(option["label"], decode_value(option["value"])) for option in payload["options"]]
    action = "" if all(isinstance(option.value, str) for option in options) else _ANY_ACTION
    return Choices(payload["text"], options, action) if options else Text(payload["text"])


_PARSERS: Mapping[str, Callable[[Mapping[str, Any]], Message | None]] = {
    "text": _parse_text,
    "markdown": _parse_text,
    "image": _parse_media,
    "audio": _parse_media,
    "video": _parse_media,
    "file": _parse_media,
    "location": _parse_location,
    "card": _parse_card,
    "carousel": _parse_carousel,
    "choice": _parse_choices,
    "dropdown": _parse_choices,
}


def _file_name(url: str) -> str:
    return unquote(_path(url).rpartition("/")[2])


def _path(url: str) -> str:
    """Return the path of a URL, or an empty string for an invalid URL."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""
