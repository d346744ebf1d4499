"""Messages as JSON, for those that are rendered later than they are given."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from cometbot.durations import to_seconds
from cometbot.errors import BotError
from cometbot.field_values import field_from_json, field_to_json
from cometbot.fields import Choice
from cometbot.messages import Button, Card, Carousel, Choices, Custom, Form, Location, Media, Message, Text
from cometbot.presses import to_uids
from cometbot.text import replace_surrogates

_CLASSES: Mapping[str, type[Message]] = {
    kind.__name__: kind for kind in (Text, Media, Card, Carousel, Choices, Location, Form, Custom)
}
_NOT_STORED = ("data", "path")
"""The fields of a :class:`Media` that are empty once its file is stored."""


def message_to_json(message: Message) -> dict[str, Any]:
    """Return a message as JSON values, from which :func:`message_from_json` makes it again.

    A file must be stored before. Raises :class:`BotError` for a message of another class than cometbot's own, and for
    what is not JSON.
    """
    encoded = _encode(message)
    try:
        loaded: dict[str, Any] = json.loads(json.dumps(replace_surrogates(encoded), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise BotError(f"the message must be JSON, to be stored: {error}") from None
    return loaded


def message_from_json(item: Mapping[str, Any]) -> Message:
    """Return the message that :func:`message_to_json` described."""
    kind = _CLASSES[item["class"]]
    return kind(**{name: _decode(name, value) for name, value in item.items() if name != "class"})


def _encode(message: Message) -> dict[str, Any]:
    kind = type(message).__name__
    if _CLASSES.get(kind) is not type(message):
        names = ", ".join(_CLASSES)
        raise BotError(f"a message that is stored is one of {names}, not {kind}; send its text instead")
    left_out = _NOT_STORED if isinstance(message, Media) else ()
    values = {field.name: getattr(message, field.name) for field in dataclasses.fields(message)}
    return {
        "class": kind,
        **{name: _encode_field(name, value) for name, value in values.items() if name not in left_out},
    }


def _encode_field(name: str, value: Any) -> Any:
    if value is None:
        return None
    match name:
        case "by":
            return list(to_uids(value))
        case "expires":
            return to_seconds(value, "expires")
        case "cards":
            return [_encode(card) for card in value]
        case "fields":
            return [field_to_json(item) for item in value]
        case "buttons" | "options":
            return [_shallow(item) for item in value]
        case "tags":
            return list(value)
        case "metadata" | "data":
            return dict(value)
    return value


def _shallow(item: Any) -> dict[str, Any]:
    return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}


def _decode(name: str, value: Any) -> Any:
    if value is None:
        return None
    match name:
        case "cards":
            return [message_from_json(card) for card in value]
        case "fields":
            return [field_from_json(item) for item in value]
        case "buttons":
            return [Button(**item) for item in value]
        case "options":
            return [Choice(**item) for item in value]
        case "tags":
            return tuple(value)
    return value
