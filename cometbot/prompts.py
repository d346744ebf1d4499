"""What a question shows, and what becomes of an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cometbot.errors import FieldError
from cometbot.messages import Message

INVALID_TEXT = "That does not fit. Please try again."

_MAX_SHOWN_TEXT = 200


@dataclass(frozen=True, slots=True)
class Prompt:
    """The message of a question; ``text`` is for operators.

    ``fields`` are the names of a form's fields that are to be filled in. If they are asked one by one, ``asked_field``
    is the one that is asked, ``skip`` the word that leaves it out, and ``filled`` has the texts of those that are
    answered.
    """

    message: Message
    text: str
    asked_field: str = ""
    filled: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    skip: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """An answer that fits: as it is stored, and its value."""

    raw: Mapping[str, Any]
    value: Any


class InvalidAnswer(Exception):
    """An answer does not fit. The text explains why to the user, who may answer again what ``prompt`` shows."""

    def __init__(self, text: str, prompt: Prompt | None = None) -> None:
        super().__init__(text)
        self.prompt = prompt


def shorten(text: str) -> str:
    """Return the beginning of a question's words, in one line, as operators see it."""
    return " ".join(text.split())[:_MAX_SHOWN_TEXT]


def check_valid(validate: Callable[[Any], Any] | None, value: Any, invalid_text: str) -> None:
    """Raise :class:`InvalidAnswer` if the author's ``validate`` refuses a value. A :class:`FieldError` goes through."""
    try:
        is_valid = validate is None or validate(value) is not False
    except FieldError:
        raise
    except ValueError as error:
        raise InvalidAnswer(invalid_text or str(error) or INVALID_TEXT) from error
    if not is_valid:
        raise InvalidAnswer(invalid_text or INVALID_TEXT)
