"""Reads JSON from outside whose values are users', so that none of them may make the rest unreadable."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from cometbot.json_depth import limit_depth, may_be_too_deep
from cometbot.text import replace_surrogates


def load_json(data: str | bytes) -> Any:
    """Return the JSON in ``data``, even if it has values that orjson rejects. Raises :class:`ValueError` for no JSON.

    Those are values that are nested too deep, numbers that are too large, and lone surrogates. What is returned can be
    written by orjson.
    """
    try:
        value = orjson.loads(data)
        if may_be_too_deep(data):
            orjson.dumps(value)  # raises TypeError for what later code could not write
        return value
    except (ValueError, TypeError) as refusal:
        text = limit_depth(data if isinstance(data, str) else data.decode("utf-8", "replace"))
        try:
            value = json.loads(text, parse_float=_parse_number, parse_int=_parse_number, parse_constant=str)
        except (ValueError, RecursionError):
            raise refusal from None
        return replace_surrogates(value)


def _parse_number(digits: str) -> float | int | None:
    """Return a number that all JSON libraries can represent, or None for one that is too large."""
    value = float(digits)
    if digits.lstrip("-").isdigit() and len(digits) < 19:
        return int(digits)
    return value if math.isfinite(value) else None
