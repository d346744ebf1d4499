"""Where each value of a JSON text stands, so that an error can name its line."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

Path = tuple[str | int, ...]

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[{}\[\]:,]|[^\s{}\[\]:,"]+')


def lines_of(text: str) -> Mapping[Path, int]:
    """The line, counted from 1, on which each value of a valid JSON ``text`` begins, by its path.

    A member of an object counts from its name. A name that occurs twice has the line of the last.
    """
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self._tokens = [(match[0], text.count("\n", 0, match.start()) + 1) for match in _TOKEN.finditer(text)]
        self._next = 0
        self._found: dict[Path, int] = {}

    def read(self) -> dict[Path, int]:
        if self._tokens:
            self._found[()] = self._tokens[0][1]
            self._value(())
        return self._found

    def _take(self) -> tuple[str, int]:
        self._next += 1
        return self._tokens[self._next - 1]

    def _peek(self) -> tuple[str, int]:
        return self._tokens[self._next]

    def _value(self, path: Path) -> None:
        token, _ = self._take()
        if token == "{":
            self._members(path, "}")
        elif token == "[":
            self._members(path, "]")

    def _members(self, path: Path, closing: str) -> None:
        number = 0
        while self._peek()[0] != closing:
            token, line = self._peek()
            name: str | int = number
            if closing == "}":
                name = json.loads(token)
                self._next += 2
            here = (*path, name)
            self._found[here] = line
            self._value(here)
            number += 1
            if self._peek()[0] == ",":
                self._take()
        self._take()
