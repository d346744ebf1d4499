"""Reads and writes JSON with values of users, so that none of them makes the rest unreadable."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from cometbot.json_depth import limit_depth, may_be_too_deep
from cometbot.text import replace_surrogates

_SPARE_LEVELS = 32
"""The levels in which what was read may be nested when it is written."""


def load_json(data: str | bytes) -> Any:
    """Return the JSON in ``data``, even if it has values that orjson rejects. Raises :class:`ValueError` for no JSON.

    Those are values that are nested too deep, numbers that are too large, and lone surrogates. What is returned can be
    written by orjson, also as a part of something else.
    """
    try:
        value = orjson.loads(data)
        if may_be_too_deep(data):
            orjson.dumps(_nest(value))  # raises TypeError for what later code could not write
        return value
    except (ValueError, TypeError) as refusal:
        text = limit_depth(data if isinstance(data, str) else data.decode("utf-8", "replace"))
        try:
            value = json.loads(text, parse_float=_parse_number, parse_int=_parse_number, parse_constant=str)
        except (ValueError, RecursionError):
            raise refusal from None
        return replace_surrogates(value)


def dump_json(value: Any) -> bytes:
    """Return ``value`` as JSON on one line, even if it has whole numbers of more than 64 bits, which orjson rejects."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


def _nest(value: Any) -> Any:
    for _ in range(_SPARE_LEVELS):
        value = [value]
    return value


def _parse_number(digits: str) -> float | int | None:
    """Return a number that all JSON libraries can represent, or None for one that is too large."""
    value = float(digits)
    if digits.lstrip("-").isdigit() and len(digits) < 19:
        return int(digits)
    return value if math.isfinite(value) else None
