"""How long a regular expression may take in the worst case.

Python's matcher tries one way after the other in which a pattern could match, which takes as long as there are ways. A
pattern that is applied to texts from outside must have few.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
from typing import Any

_parser: Any = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")

MAX_WAYS = 1_000_000
"""The ways in which a pattern may match the longest text of its field."""

_ONE_WAY = {"LITERAL", "NOT_LITERAL", "ANY", "IN", "AT"}


@functools.lru_cache(maxsize=256)
def check_pattern(pattern: str, max_length: int) -> None:
    """Raise :class:`ValueError` for a pattern that is invalid, or slow for a text of ``max_length`` characters."""
    try:
        parsed = _parser.parse(pattern)
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"expected a regular expression, got {pattern!r}: {error}") from error
    if count_ways(parsed, max_length) > MAX_WAYS:
        raise ValueError(
            f"expected a regular expression that is fast for any text of {max_length} characters, got {pattern!r}, "
            f"which may have more than {MAX_WAYS} ways to match. Repeat characters instead of groups that repeat "
            "something themselves, use fewer * and +, or set a smaller max"
        )


def count_ways(items: Any, max_length: int) -> int:
    """Return an upper limit for the ways in which parts of a parsed pattern can match one after the other."""
    ways = 1
    for item in items:
        ways = min(ways * _count_item(item, max_length), MAX_WAYS + 1)
    return ways


def _count_item(item: Any, max_length: int) -> int:
    kind, value = str(item[0]), item[1]
    if kind in _ONE_WAY:
        return 1
    if kind == "SUBPATTERN":
        return count_ways(value[-1], max_length)
    if kind == "BRANCH":
        return sum(count_ways(branch, max_length) for branch in value[1])
    if kind in ("MAX_REPEAT", "MIN_REPEAT"):
        return _count_repeat(value, max_length)
    raise ValueError(
        "expected a regular expression of characters, classes, groups, |, ?, *, + and {m,n}, without look-around and "
        f"references, got {kind.lower()}"
    )


def _count_repeat(value: Any, max_length: int) -> int:
    low, high, body = int(value[0]), min(int(value[1]), max_length), value[2]
    inner = count_ways(body, max_length)
    if inner == 1:
        return max(high - low, 0) + 1
    total = 0
    for times in range(low, high + 1):
        total += min(inner**times, MAX_WAYS + 1) if times < 64 else MAX_WAYS + 1
        if total > MAX_WAYS:
            break
    return max(total, 1)
