"""Make text comparable, storable and sendable everywhere: no lone surrogates, and file names without folders."""

from __future__ import annotations

import codecs
import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

MAX_FILE_NAME_LENGTH = 255
"""The characters of a file name: no file system accepts more."""

_MAX_EXTENSION_LENGTH = 16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks. That of UTF-32 begins like that of UTF-16."""
_UNPRINTABLE_PATTERN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, line and paragraph separators, and direction overrides."""


def replace_surrogates(value: T) -> T:
    """Return ``value`` with U+FFFD for each lone surrogate in its texts. A surrogate pair becomes its character.

    Texts in lists, tuples, mappings and dataclasses are replaced as well. A value without surrogates is returned
    itself.
    """
    if isinstance(value, str) and value.isascii():
        return value
    return _replace(value) if any(map(_has_surrogate, find_texts(value))) else value


def normalize_text(value: str) -> str:
    """Return ``value`` for comparison: case-folded, with single spaces for all white space."""
    return " ".join(value.casefold().split())


def find_texts(value: object) -> list[str]:
    """Return every text in ``value``: itself, or those in lists, tuples, mappings and dataclasses, including keys."""
    texts: list[str] = []
    waiting: list[Any] = [value]
    seen: dict[int, Any] = {}  # by id; it holds the items, so that no id is used again meanwhile
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            texts.append(item)
            continue
        if not item or id(item) in seen:
            continue
        seen[id(item)] = item
        if isinstance(item, dict | Mapping):
            waiting += [*item.keys(), *item.values()]
        elif isinstance(item, list | tuple):
            waiting += item
        elif dataclasses.is_dataclass(item):
            for field in dataclasses.fields(item):
                waiting.append(getattr(item, field.name))
    return texts


def clean_file_name(name: str) -> str:
    """Return the last part of a path from outside in a form that is safe to show; empty for an empty name.

    Folders, control characters, line separators and direction overrides are removed; other characters are kept. A name
    that is too long keeps its extension. If nothing is left, the name is ``file``.
    """
    if not name:
        return ""
    last = re.split(r"[/\\]", replace_surrogates(name).rstrip("/\\"))[-1]
    clean = _UNPRINTABLE_PATTERN.sub("", last)
    if len(clean) > MAX_FILE_NAME_LENGTH:
        stem, _, extension = clean.rpartition(".")
        ending = f".{extension}" if stem and len(extension) <= _MAX_EXTENSION_LENGTH else ""
        clean = clean[: MAX_FILE_NAME_LENGTH - len(ending)] + ending
    return clean if clean.strip(" .") else "file"


def decode_text(content: bytes) -> str:
    """Return the text in the content of a file: by its byte order mark, else UTF-8 if it fits, else Windows-1252."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _replace(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, Mapping):
        return {_replace(name): _replace(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_replace, value)) if type(value) in (list, tuple) else [*map(_replace, value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(value, **{name: replace_surrogates(getattr(value, name)) for name in names})
    return value
