"""Finds the line of each value in a JSON text, so that an error can name it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

JsonPath = tuple[str | int, ...]

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[{}\[\]:,]|[^\s{}\[\]:,"]+')


def find_lines(text: str) -> Mapping[JsonPath, int]:
    """Return the line, counted from 1, of each value in a valid JSON ``text``, by the value's path.

    The line of an object's member is that of its name. For a duplicate name, the last one counts.
    """
    return _LineFinder(text).read()


class _LineFinder:
    def __init__(self, text: str) -> None:
        self._tokens = [(match[0], text.count("\n", 0, match.start()) + 1) for match in _TOKEN.finditer(text)]
        self._position = 0
        self._found: dict[JsonPath, int] = {}

    def read(self) -> dict[JsonPath, int]:
        if self._tokens:
            self._found[()] = self._tokens[0][1]
            self._read_value(())
        return self._found

    def _next_token(self) -> tuple[str, int]:
        self._position += 1
        return self._tokens[self._position - 1]

    def _peek(self) -> tuple[str, int]:
        return self._tokens[self._position]

    def _read_value(self, path: JsonPath) -> None:
        token, _ = self._next_token()
        if token == "{":
            self._read_members(path, "}")
        elif token == "[":
            self._read_members(path, "]")

    def _read_members(self, path: JsonPath, closing: str) -> None:
        number = 0
        while self._peek()[0] != closing:
            token, line = self._peek()
            name: str | int = number
            if closing == "}":
                name = json.loads(token)
                self._position += 2
            member_path = (*path, name)
            self._found[member_path] = line
            self._read_value(member_path)
            number += 1
            if self._peek()[0] == ",":
                self._next_token()
        self._next_token()
