"""Split long texts between grapheme clusters. Code fences are closed and opened again at a split."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

import regex

_CLUSTER_PATTERN = regex.compile(r"\X")
_FENCE_PATTERN = re.compile(r"^( {0,3})(`{3,64}(?!`)|~{3,64}(?!~))([^\n]*)$", re.MULTILINE)
_SEPARATORS = ("\n\n", "\n", ". ", "! ", "? ", " ")
_CODE_SEPARATORS = ("\n", " ")

Size = Callable[[str], int]


def utf8_size(text: str) -> int:
    """Return the size of ``text`` in UTF-8 bytes."""
    return len(text.encode("utf-8", "surrogatepass"))


def split_text(text: str, limit: int, size: Size = utf8_size) -> list[str]:
    """Split ``text`` into parts of at most ``limit``, each at the best place within the last half of the part.

    The best place is an empty line, then a line end, then a sentence's end, then a space. A part ends within a grapheme
    cluster, which readers see as one character, only if the cluster alone exceeds the limit. If a part ends in a code
    block, its fence is closed, and opened again in the next part. ``size`` returns the size of a text; it must be at
    least one for each character, and additive (default: UTF-8 bytes). A blank text has no parts. The time is linear in
    the length of ``text``.
    """
    return _Splitter(text, limit, size).split()


def close_code(text: str) -> str:
    """Return ``text`` with its last code block closed, if that is open."""
    fence = _Splitter(text, sys.maxsize, utf8_size).find_fence(0, len(text))
    return f"{text}\n{fence.mark}" if fence else text


def ends_in_fence(text: str) -> bool:
    """Return True if the last line opens or closes a code block, so that nothing may follow in it."""
    return _FENCE_PATTERN.match(text, text.rfind("\n") + 1) is not None


def max_prefix_length(text: str, limit: int, size: Size) -> int:
    """Return the length of the longest prefix of ``text`` whose size is at most ``limit``."""
    fits, above = 0, min(len(text), limit) + 1
    while above - fits > 1:
        middle = (fits + above) // 2
        if size(text[:middle]) <= limit:
            fits = middle
        else:
            above = middle
    return fits


@dataclass(frozen=True, slots=True)
class _Fence:
    """An open code block: the line that opens it, the mark that closes it, and the position of its first line."""

    opening: str
    mark: str
    start: int
    end: int

    def is_closed_by(self, found: re.Match[str]) -> bool:
        return found[2].startswith(self.mark) and not found[3].strip()


class _Splitter:
    def __init__(self, text: str, limit: int, size: Size) -> None:
        self._text = text
        self._limit = limit
        self._size = size
        self._start = 0
        self._fence: _Fence | None = None

    def split(self) -> list[str]:
        parts: list[str] = []
        while not self._is_last():
            part = self._next_part()
            if part.strip():
                parts.append(part)
        rest = self._text[self._start :]
        return [*parts, self._opening_line() + rest] if rest.strip() else parts

    def _opening_line(self) -> str:
        return f"{self._fence.opening}\n" if self._fence else ""

    def _available_size(self) -> int:
        return self._limit - self._size(self._opening_line())

    def _is_last(self) -> bool:
        room = self._available_size()
        return len(self._text) - self._start <= room and self._size(self._text[self._start :]) <= room

    def _next_part(self) -> str:
        """Return the next part. Set the start and the code block of the one after it."""
        opening, start = self._opening_line(), self._start
        end, fence = self._find_end()
        part = opening + self._text[start:end]
        self._fence = fence
        if fence is None:
            self._start = self._skip_blanks(end)
            return part.rstrip()
        self._start = end + self._text.startswith("\n", end)
        closing = _FENCE_PATTERN.match(self._text, self._start)
        if closing and fence.is_closed_by(closing):
            self._fence, self._start = None, self._skip_blanks(closing.end())
        return f"{part.removesuffix(chr(10))}\n{fence.mark}"

    def _find_end(self) -> tuple[int, _Fence | None]:
        """Return the end of the part and the code block that is open there. The part has room to close it."""
        reserved = 0
        while True:
            end = self._find_best_end(self._available_size() - reserved)
            fence = self.find_fence(self._start, end)
            needed = self._size(f"\n{fence.mark}") if fence else 0
            if needed <= reserved:
                break
            reserved = needed
        if fence and fence.start > self._start and fence.end + 1 >= end:  # the part has only the block's first line
            return fence.start, None
        return end, fence

    def find_fence(self, start: int, end: int) -> _Fence | None:
        """Return the code block that is open at ``end``, or None. ``start`` is where the part begins."""
        fence = self._fence
        for found in _FENCE_PATTERN.finditer(self._text, start, end):
            if fence is None:
                fence = self._open_fence(found)
            elif fence.is_closed_by(found):
                fence = None
        return fence

    def _open_fence(self, found: re.Match[str]) -> _Fence | None:
        """Return the code block that a line opens, or None if its mark is too long to be repeated within the limit."""
        if found[2][0] == "`" and "`" in found[3]:
            return None
        for opening in (found[0].rstrip(), found[1] + found[2]):
            if self._size(opening) <= self._limit // 4:
                return _Fence(opening, found[2], found.start(), found.end())
        return None

    def _find_best_end(self, room: int) -> int:
        window = self._text[self._start : self._start + room]
        longest = self._start + max(max_prefix_length(window, room, self._size), 1)
        half = self._start + max_prefix_length(window, room // 2, self._size)
        ends = self._cluster_ends(longest)
        for separator in _CODE_SEPARATORS if self._fence else _SEPARATORS:
            place = self._text.rfind(separator, half, longest)
            while place > self._start:
                if place + len(separator) in ends:
                    return place + len(separator)
                place = self._text.rfind(separator, half, place + len(separator) - 1)
        return max(ends, default=longest)

    def _cluster_ends(self, longest: int) -> range | set[int]:
        """Return the ends of clusters, up to ``longest``. An end also depends on the character behind it."""
        window = self._text[self._start : longest + 1]
        if window.isascii() and "\r" not in window:
            return range(self._start + 1, longest + 1)
        return {found.end() for found in _CLUSTER_PATTERN.finditer(self._text, self._start, longest + 1)} - {
            longest + 1
        }

    def _skip_blanks(self, place: int) -> int:
        """Return the position of the next line or word with text. Indentation of a line is kept."""
        text, first = self._text, place
        while place < len(text) and text[place].isspace():
            place += 1
        if place > first and place < len(text) and len(_CLUSTER_PATTERN.findall(text, place - 1, place + 1)) == 1:
            place -= 1  # a combining mark on a space
        return text.rfind("\n", first, place) + 1 or place
