"""Reads the JSON body of a callback, in the same way for the view that routes it and the worker that handles it."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from cometbot.errors import PayloadError
from cometbot.json_depth import limit_depth, may_be_too_deep

_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_INTEGER_DIGITS = 20


def read_body(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON object in ``body``, and a body that any JSON parser reads as that object.

    The last of duplicate keys counts. A byte order mark is skipped. Lone surrogates and bytes that are not UTF-8 become
    U+FFFD. NaN, infinities and values nested deeper than :data:`~cometbot.json_depth.MAX_DEPTH` become null. Raises
    :class:`PayloadError` if ``body`` is not a JSON object.
    """
    if may_be_too_deep(body):
        body = limit_depth(_decode(body)).encode()
    try:
        payload = orjson.loads(body)
    except ValueError as error:
        body = _normalize(body, error)
        payload = orjson.loads(body)
    if not isinstance(payload, dict):
        raise PayloadError("the body is JSON, but no object", details={"body": ["Must be an object."]})
    return payload, body


def _normalize(body: bytes, cause: ValueError) -> bytes:
    try:
        value = json.loads(_decode(body), parse_int=_parse_int, parse_float=_parse_float, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        raise PayloadError(f"the body is not JSON: {cause}", details={"body": [f"Not JSON: {cause}"]}) from None
    return _SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False)).encode()


def _decode(body: bytes) -> str:
    return body.decode(json.detect_encoding(body), "replace")


def _parse_int(digits: str) -> int | float | None:
    return int(digits) if len(digits) <= _MAX_INTEGER_DIGITS else _parse_float(digits)


def _parse_float(digits: str) -> float | None:
    number = float(digits)
    return number if abs(number) != float("inf") else None
