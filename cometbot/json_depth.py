"""Limit the nesting depth of JSON from outside, because most code that handles it later is recursive."""

from __future__ import annotations

import re

MAX_DEPTH = 200
"""The levels that are kept.

``orjson`` reads 1,024 levels but writes only 254, and ``json`` and ``copy`` fail on fewer than it reads.
"""

_STRUCTURE_PATTERN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)


def may_be_too_deep(body: str | bytes) -> bool:
    """Return True if ``body`` has enough brackets to be nested deeper than :data:`MAX_DEPTH`."""
    if isinstance(body, str):
        return body.count("[") + body.count("{") > MAX_DEPTH
    return body.count(b"[") + body.count(b"{") > MAX_DEPTH


def limit_depth(text: str) -> str:
    """Return the JSON ``text`` with null in place of each value that is nested deeper than :data:`MAX_DEPTH`."""
    parts: list[str] = []
    depth = copied_to = start = 0
    for found in _STRUCTURE_PATTERN.finditer(text):
        character = found[0]
        if character in ("[", "{"):
            depth += 1
            if depth == MAX_DEPTH + 1:
                start = found.start()
        elif character in ("]", "}"):
            if depth == MAX_DEPTH + 1:
                parts += (text[copied_to:start], "null")
                copied_to = found.end()
            depth -= 1
    return "".join((*parts, text[copied_to:]))
