"""Conversion of messages to JSON and back, so that a stored reply can be read as a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from cometbot import messages

_CLASSES = {
    kind.__name__: kind
    for kind in (
        messages.Text,
        messages.Media,
        messages.Card,
        messages.Carousel,
        messages.Choices,
        messages.Location,
        messages.Form,
        messages.Custom,
        messages.Button,
        messages.Choice,
        messages.Field,
    )
}


def encode(value: Any) -> Any:
    """Return ``value`` as JSON. Dataclasses become objects with their class name under ``@``."""
    if is_dataclass(value) and not isinstance(value, type):
        return {"@": type(value).__name__, **{item.name: encode(getattr(value, item.name)) for item in fields(value)}}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def decode(value: Any) -> Any:
    """Return the value that :func:`encode` was called with. Lists become tuples."""
    if isinstance(value, list):
        return tuple(decode(item) for item in value)
    if isinstance(value, dict) and value.get("@") in _CLASSES:
        kind = _CLASSES[value["@"]]
        return kind(**{name: decode(item) for name, item in value.items() if name != "@"})
    return value
