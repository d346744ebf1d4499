"""Python source of a pytest function, in the form that ``ruff format`` would give it at any line length from 88 up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MAX_LENGTH = 88
"""The shortest line length that is common. A longer line has one item each line and a comma behind the last."""

_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def to_literal(text: str) -> str:
    """Return ``text`` as a string literal that holds no character that is invisible or moves a terminal."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + "".join("\\" + char if char == quote else _escape(char) for char in text) + quote


def to_list(items: Iterable[str]) -> str:
    """Return a list of string literals, without line breaks."""
    return f"[{', '.join(map(to_literal, items))}]"


def make_call(head: str, arguments: Sequence[str], indent: str, tail: str = ")") -> list[str]:
    """Return the lines of ``head``, which ends with a bracket, the arguments, and ``tail``."""
    line = f"{indent}{head}{', '.join(arguments)}{tail}"
    if len(line) <= MAX_LENGTH or not arguments:
        return [line]
    return [f"{indent}{head}", *(f"{indent}    {item}," for item in arguments), f"{indent}{tail}"]


def assert_list(what: str, items: Sequence[str], indent: str) -> list[str]:
    """Return the lines that assert that ``what`` is a list of these texts."""
    return make_call(f"assert {what} == [", list(map(to_literal, items)), indent, "]")


def assert_text(what: str, text: str, indent: str) -> list[str]:
    """Return the lines that assert that ``what`` is this text."""
    line = f"{indent}assert {what} == {to_literal(text)}"
    return [line] if len(line) <= MAX_LENGTH else assert_list(f"[{what}]", [text], indent)


def assert_member(what: str, text: str, indent: str) -> list[str]:
    """Return the lines that assert that this text is in the list ``what``."""
    line = f"{indent}assert {to_literal(text)} in {what}"
    return [line] if len(line) <= MAX_LENGTH else make_call(f"assert {what}.count(", [to_literal(text)], indent)


def make_comment(text: str, indent: str) -> list[str]:
    """Return ``text`` as a comment in lines of at most :data:`MAX_LENGTH` characters, where words allow it."""
    lines, line = [], f"{indent}#"
    for word in "".join(char if char.isprintable() else " " for char in text).split():
        if len(line) + 1 + len(word) > MAX_LENGTH and not line.endswith("#"):
            lines.append(line)
            line = f"{indent}#"
        line += f" {word}"
    return [*lines, line]


def _escape(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
