"""Exceptions as JSON: an exception of ``ctx.once`` is a result, too, and each run raises it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from cometbot.errors import BotError
from cometbot.questions import to_json_value

MAX_ATTRIBUTE_LENGTH = 1000
"""The characters of JSON that an attribute of an exception may have to be stored."""


def error_to_json(error: Exception) -> dict[str, Any]:
    """Return an exception as JSON: its class, its arguments, its attributes as far as they are JSON, and its text."""
    kind = type(error)
    try:
        arguments = to_json_value(list(error.args), "")
    except BotError:
        arguments = [str(error)]
    return {
        "module": kind.__module__,
        "class": kind.__qualname__,
        "args": arguments,
        "attributes": _attributes_to_json(error),
        "text": str(error),
    }


def _attributes_to_json(error: Exception) -> dict[str, Any]:
    """Return the attributes that are short JSON, such as the status of an error of an HTTP client."""
    attributes = {}
    for name, value in vars(error).items():
        try:
            found = to_json_value(value, "")
        except BotError:
            continue
        if len(json.dumps(found)) <= MAX_ATTRIBUTE_LENGTH:
            attributes[name] = found
    return attributes


def error_from_json(described: Mapping[str, Any]) -> Exception:
    """Return the exception that :func:`error_to_json` described, a :class:`BotError` if its class cannot be made."""
    try:
        kind: Any = importlib.import_module(described["module"])
        for name in described["class"].split("."):
            kind = getattr(kind, name)
        if issubclass(kind, Exception):
            error: Exception = kind.__new__(kind)
            error.args = tuple(described["args"])
            vars(error).update(described.get("attributes", {}))
            return error
    except Exception:  # the class has moved, or cannot be made without its own arguments
        pass
    return BotError(f"{described['class']}: {described['text']}")
