"""Text that others wrote, made fit for a terminal."""

from __future__ import annotations


def plain(text: str) -> str:
    """``text`` without what would move a terminal's cursor or colour it; line breaks stay."""
    return "".join(
        char if char.isprintable() or char == "\n" else _SHOWN.get(char, "\N{REPLACEMENT CHARACTER}") for char in text
    )


_SHOWN = {"\t": "    ", "\r": "", "\N{ZERO WIDTH JOINER}": "\N{ZERO WIDTH JOINER}", "\N{NO-BREAK SPACE}": " "}
