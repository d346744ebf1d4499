"""What all tables of the chat server share: scopes as conditions, JSON in columns, ids, times, positions in lists."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from ulid import ULID

from cometbot.chat.models import Data, Page, Scope
from cometbot.errors import BadCursor, ChatError
from cometbot.store.database import Database
from cometbot.text import replace_surrogates

T = TypeVar("T")

LONGEST_ID = 500
"""Characters that an id may have: indexes do not take endless ones."""

MOST = 1000
"""Rows that one page may have."""


def new_id() -> str:
    """An id that nothing else has: a ULID, which sorts by the time of its making."""
    return str(ULID())


def storable(text: str) -> str:
    """``text`` as every database takes it: NUL and lone surrogates, which no id has, become U+FFFD."""
    return replace_surrogates(text.replace("\0", "\ufffd"))


def written(text: str) -> str:
    """``text`` as an id that is about to be stored. Raises :class:`ChatError` for one that is too long."""
    if len(text) > LONGEST_ID:
        raise ChatError(f"an id has at most {LONGEST_ID} characters, this one has {len(text)}")
    return storable(text)


def within(table: sa.Table, scope: Scope) -> list[sa.ColumnElement[bool]]:
    """The condition that a row belongs to ``scope``, or to any bot of a channel's scope."""
    of_channel = table.c.channel == storable(scope.channel)
    return [of_channel, table.c.bot == storable(scope.bot)] if scope.bot else [of_channel]


def exactly(table: sa.Table, scope: Scope, conversation: str) -> list[sa.ColumnElement[bool]]:
    """The condition that a row belongs to this conversation of this bot."""
    return [
        table.c.channel == storable(scope.channel),
        table.c.bot == storable(scope.bot),
        table.c.conversation == storable(conversation),
    ]


def to_json(value: Data) -> str:
    """``value`` for a column, in ASCII. Raises :class:`ChatError` for what is no JSON, or nested too deeply.

    Halves of characters, which no UTF-8 could carry to a reader, are replaced.
    """
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        if "\\ud" not in text:
            return text
        return json.dumps(replace_surrogates(value), separators=(",", ":"), allow_nan=False)
    except (RecursionError, ValueError, TypeError) as error:
        raise ChatError(f"this is not JSON that can be kept ({type(error).__name__})") from None


def from_json(text: str) -> Any:
    """What :func:`to_json` made a text of."""
    return json.loads(text)


def merged(old: Data, new: Data) -> dict[str, Any]:
    """``old`` with ``new`` over it; a value None takes its key away."""
    return {name: value for name, value in {**old, **new}.items() if value is not None}


def milliseconds(database: Database) -> int:
    """The database's time now."""
    return int(database.clock() * 1000)


def limited(limit: int) -> int:
    """How many rows a page has, where ``limit`` was asked for."""
    return min(max(limit, 0), MOST)


def to_cursor(*position: int | str) -> str:
    """A position in a list, for the next page: opaque, and fit for a URL."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def from_cursor(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """The position in ``cursor``. Raises :class:`BadCursor` for one that holds no values of ``kinds``."""
    try:
        position = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise BadCursor from None
    if not isinstance(position, list) or [type(value) for value in position] != list(kinds):
        raise BadCursor
    if any(isinstance(value, int) and abs(value) >= 2**63 for value in position):
        raise BadCursor
    return tuple(storable(value) if isinstance(value, str) else value for value in position)


def page_of(rows: list[Any], limit: int, make: Callable[[Any], T], place: Callable[[T], str]) -> Page[T]:
    """A page of at most ``limit`` items; ``rows`` has one more than it where the list goes on."""
    items = [make(row) for row in rows[:limit]]
    return Page(items, place(items[-1]) if len(rows) > limit and items else "")
