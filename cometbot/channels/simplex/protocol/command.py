"""A command of the SimpleX CLI as it is sent."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from cometbot.errors import MessageError

Network = Literal["no", "background", "interactive"]

COMMAND_LIMIT = 16 * 1024 * 1024
"""Maximum bytes of one command. This is far above the CLI's own limits, and prevents a mistake from filling its memory.
"""

_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""NUL as JSON. After an odd number of other backslashes, these characters are those of the text."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command string, the tags of its successful answers, and whether it waits for the network.

    ``network`` is ``no``, ``background`` (the answer arrives before the network's work is done) or ``interactive`` (the
    answer waits for it and may take long). With empty ``answers`` any answer is possible. The text is not part of the
    repr, since it contains users' texts; ``keyword`` is its first word, which may be logged.
    """

    text: str = field(repr=False)
    answers: frozenset[str] = frozenset()
    network: Network = "no"
    keyword: str = field(init=False)

    def __post_init__(self) -> None:
        check_last_byte(check_encodable(self.text, "the command"), "the command")
        if len(self.text.encode()) > COMMAND_LIMIT:
            raise MessageError(f"the command is larger than {COMMAND_LIMIT} bytes")
        object.__setattr__(self, "keyword", _keyword(self.text))

    @classmethod
    def from_value(cls, command: Command | str) -> Command:
        """Return a command object, or the one for a string in the form of :meth:`raw`."""
        return cls.raw(command) if isinstance(command, str) else command

    @classmethod
    def raw(cls, text: str, *, network: Network = "interactive") -> Command:
        """Return any command that the CLI knows, written as in its console: ``/get subs``.

        It is not quoted, and only checked for characters that cannot be sent; do not insert users' texts. Raises
        :class:`MessageError` if ``text`` is not a command.
        """
        if not isinstance(text, str) or not text.startswith(("/", "@", "#", "*", "!", "\\")) or len(text) < 2:
            raise MessageError("a command begins as in the CLI's console, for example with a slash: /get subs")
        return cls(text, network=network)


def check_encodable(text: str, what: str) -> str:
    """Return ``text`` if it can be sent unchanged. Raises :class:`MessageError` for NUL and for lone surrogates."""
    if "\0" in text:
        raise MessageError(f"{what} holds the character NUL, which SimpleX cannot carry; remove it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MessageError(f"{what} holds half of a surrogate pair, which is no text; remove it") from None
    return text


def check_last_parameter(text: str, what: str) -> str:
    """Return ``text`` if it can be the last, unquoted parameter of a command.

    It must be one line, not empty, without spaces at its ends. Raises :class:`MessageError` otherwise.
    """
    if not isinstance(text, str) or not text.strip():
        raise MessageError(f"{what} is empty")
    if text != text.strip() or any(character in text for character in "\r\n\x0b\x0c\x85\u2028\u2029"):
        raise MessageError(f"{what} has a line break in it or a space at an end, which a command cannot carry")
    return check_last_byte(check_encodable(text, what), what)


def check_last_byte(text: str, what: str) -> str:
    """Return ``text`` if it may end a command. Raises :class:`MessageError` if the CLI would cut off its last byte.

    The CLI trims bytes, not characters, and treats 0xA0, the last byte of ``à``, as whitespace.
    """
    if text.encode().endswith(b"\xa0"):
        raise MessageError(
            f"{what} ends in {text[-1]!r}, whose last byte the SimpleX CLI cuts off; add something to it"
        )
    return text


def to_json(value: object, what: str) -> str:
    """Return ``value`` as JSON for the end of a command.

    Raises :class:`MessageError` if it cannot be encoded or sent.
    """
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, RecursionError, UnicodeError) as error:
        raise MessageError(f"{what} cannot be written as JSON: {error}") from error
    if _ESCAPED_NUL.search(text):
        raise MessageError(f"{what} holds the character NUL, which SimpleX cannot carry; remove it")
    if "null" in text and _contains_non_finite(value):
        raise MessageError(f"{what} holds a number that is NaN or infinite, which JSON lacks; remove it")
    return text


def json_object(value: Mapping[str, Any], what: str) -> str:
    """Return an object as JSON for the end of a command. Raises :class:`MessageError` if it is not a mapping."""
    if not isinstance(value, Mapping):
        raise MessageError(f"{what} must be an object with named fields, not {type(value).__name__}")
    return to_json(dict(value), what)


def _contains_non_finite(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_contains_non_finite, value.values()))
    return isinstance(value, list | tuple) and any(map(_contains_non_finite, value))


def _keyword(text: str) -> str:
    # An older spelling has an id directly after the word: /_groups1.
    word = re.fullmatch(r"(/[A-Za-z_]{1,40})\d*", text.partition(" ")[0])
    return word[1] if word else text[:1]
