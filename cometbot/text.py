"""Text that every channel, database and file system takes: no half characters, and file names without folders."""

from __future__ import annotations

import dataclasses
import re
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_FILE_NAME = 255
"""Characters of a file name: no file system takes more."""

_LONGEST_EXTENSION = 16
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, line and paragraph ends, and what overrides the direction of the text around it."""


_known_fields: weakref.WeakKeyDictionary[type, tuple[str, ...]] = weakref.WeakKeyDictionary()


def replace_surrogates(value: T) -> T:
    """Return ``value`` with U+FFFD for each lone surrogate in its texts; two that make a character become it.

    Texts in lists, tuples, mappings and dataclasses are replaced as well. What holds none is returned as it is.
    """
    if isinstance(value, str) and value.isascii():
        return value
    return _replaced(value) if any(map(_has_surrogate, texts_in(value))) else value


def texts_in(value: object) -> Iterator[str]:
    """Yield every text in ``value``: itself, or those in lists, tuples, mappings and dataclasses, names included."""
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif item and (parts := _parts(item)) and id(item) not in seen:
            seen.add(id(item))
            waiting += parts


def clean_file_name(name: str) -> str:
    """Return the last part of a path that somebody sent, as it may be shown; empty for an empty name.

    Folders, control characters, line ends and direction overrides go; anything else that people write in names stays.
    A name that is too long keeps its extension. ``file`` stands for a name of which nothing is left.
    """
    if not name:
        return ""
    last = re.split(r"[/\\]", replace_surrogates(name).rstrip("/\\"))[-1]
    clean = _UNSHOWN.sub("", last)
    if len(clean) > LONGEST_FILE_NAME:
        stem, _, extension = clean.rpartition(".")
        ending = f".{extension}" if stem and len(extension) <= _LONGEST_EXTENSION else ""
        clean = clean[: LONGEST_FILE_NAME - len(ending)] + ending
    return clean if clean.strip(" .") else "file"


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _parts(item: object) -> list[Any]:
    if isinstance(item, dict | Mapping):
        return [part for pair in item.items() for part in pair]
    if isinstance(item, list | tuple):
        return list(item)
    return [getattr(item, name) for name in _fields_of(item)]


def _fields_of(item: object) -> tuple[str, ...]:
    """Return the fields that an instance of a dataclass is made with; nothing for other objects."""
    kind = type(item)
    if kind not in _known_fields:
        found = dataclasses.fields(item) if dataclasses.is_dataclass(item) else ()
        _known_fields[kind] = tuple(field.name for field in found if field.init)
    return _known_fields[kind]


def _replaced(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, Mapping):
        return {_replaced(name): _replaced(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_replaced, value)) if type(value) in (list, tuple) else [*map(_replaced, value)]
    if names := _fields_of(value):
        return dataclasses.replace(value, **{name: replace_surrogates(getattr(value, name)) for name in names})
    return value
