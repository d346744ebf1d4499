"""Sanitizing of untrusted text for a terminal."""

from __future__ import annotations


def sanitize(text: str) -> str:
    """Replace the characters of ``text`` that could control a terminal. Line breaks stay."""
    return "".join(
        char if char.isprintable() or char == "\n" else _REPLACEMENTS.get(char, "\N{REPLACEMENT CHARACTER}")
        for char in text
    )


_REPLACEMENTS = {"\t": "    ", "\r": "", "\N{ZERO WIDTH JOINER}": "\N{ZERO WIDTH JOINER}", "\N{NO-BREAK SPACE}": " "}
