"""Exceptions as JSON: an exception of ``ctx.once`` is a result, too, and each run raises it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from cometbot.errors import BotError
from cometbot.questions import to_json_value


def error_to_json(error: Exception) -> dict[str, Any]:
    """Return an exception as JSON: its class, its arguments and its text."""
    kind = type(error)
    try:
        arguments = to_json_value(list(error.args), "")
    except BotError:
        arguments = [str(error)]
    return {"module": kind.__module__, "class": kind.__qualname__, "args": arguments, "text": str(error)}


def error_from_json(described: Mapping[str, Any]) -> Exception:
    """Return the exception that :func:`error_to_json` described, a :class:`BotError` if its class cannot be made."""
    try:
        kind: Any = importlib.import_module(described["module"])
        for name in described["class"].split("."):
            kind = getattr(kind, name)
        if issubclass(kind, Exception):
            error: Exception = kind.__new__(kind)
            error.args = tuple(described["args"])
            return error
    except Exception:  # the class has moved, or cannot be made without its own arguments
        pass
    return BotError(f"{described['class']}: {described['text']}")
