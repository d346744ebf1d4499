"""Checks of what authors give to messages when they create them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from cometbot.errors import MessageError


def require(condition: bool, text: str) -> None:
    """Raise :class:`MessageError` with ``text`` unless the condition is true."""
    if not condition:
        raise MessageError(text)


def require_texts(message: object, *names: str) -> None:
    """Check that these attributes are texts. None becomes an empty text; other types are refused."""
    for name in names:
        given = getattr(message, name)
        if given is None:
            object.__setattr__(message, name, "")
        else:
            what = f"a {type(message).__name__}'s {name} is a text"
            require(isinstance(given, str), f"{what}, not {type(given).__name__}")


def require_sequence(
    message: object, name: str, wanted: type, convert: Callable[[object], object] = lambda item: item
) -> None:
    """Convert this attribute to a tuple of ``wanted``, each item by ``convert``."""
    given = getattr(message, name)
    what = f"a {type(message).__name__}'s {name} are a list of {wanted.__name__}"
    require(isinstance(given, Iterable) and not isinstance(given, str | Mapping), f"{what}, not {type(given).__name__}")
    items = tuple(map(convert, given))
    for item in items:
        require(isinstance(item, wanted), f"{what}, and this is {type(item).__name__}")
    object.__setattr__(message, name, items)
