"""The values of buttons and choices: any JSON value, as the text that travels through platforms and back.

A text travels as it is. Any other value is JSON behind a ``=``, and so is a text that begins with one. So a number that
a user writes is taken for the position of a choice, and never for a value.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from datetime import date
from decimal import Decimal
from typing import Any

from cometbot.errors import MessageError

_SIGN = "="


def encode_value(value: Any, what: str = "an action's value") -> str:
    """Return the text that travels for ``value``; empty for None.

    An object of a dataclass travels as an object of its fields, an Enum member by its name, and a Decimal, date or
    datetime as text. Raises :class:`MessageError`, with ``what``, for anything else that is not JSON.
    """
    plain = _to_plain(value)
    if plain is None:
        return ""
    if isinstance(plain, str) and not plain.startswith(_SIGN):
        return plain
    try:
        return _SIGN + json.dumps(
            plain, default=_to_plain_or_fail, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise MessageError(
            f"{what}: expected JSON (str, number, bool, list, dict) or a dataclass, got {type(value).__name__}: {error}"
        ) from error


def decode_value(text: str) -> Any:
    """Return the value that travelled as ``text``; the text itself if it stands for no other value."""
    if not text.startswith(_SIGN):
        return text
    try:
        return json.loads(text[len(_SIGN) :])
    except (ValueError, RecursionError):
        return text


def _to_plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Decimal | date):
        return value.isoformat() if isinstance(value, date) else str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    return value


def _to_plain_or_fail(value: Any) -> Any:
    plain = _to_plain(value)
    if plain is value:
        raise TypeError(f"{type(value).__name__} is not JSON")
    return plain
