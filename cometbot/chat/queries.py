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

MAX_ID_LENGTH = 500
"""Characters that an id may have: indexes do not take endless ones."""

MAX_PAGE_SIZE = 1000
"""Rows that one page may have."""


def new_id() -> str:
    """An id that nothing else has: a ULID, which sorts by the time of its making."""
    return str(ULID())


def replace_unstorable(text: str) -> str:
    """``text`` as every database takes it: NUL and lone surrogates, which no id has, become U+FFFD."""
    return replace_surrogates(text.replace("\0", "\ufffd"))


def validate_id(text: str) -> str:
    """``text`` as an id that is about to be stored. Raises :class:`ChatError` for one that is too long."""
    if len(text) > MAX_ID_LENGTH:
        raise ChatError(f"an id has at most {MAX_ID_LENGTH} characters, this one has {len(text)}")
    return replace_unstorable(text)


def in_scope(table: sa.Table, scope: Scope) -> list[sa.ColumnElement[bool]]:
    """The condition that a row belongs to ``scope``, or to any bot of a channel's scope."""
    of_channel = table.c.channel == replace_unstorable(scope.channel)
    return [of_channel, table.c.bot == replace_unstorable(scope.bot)] if scope.bot else [of_channel]


def in_conversation(table: sa.Table, scope: Scope, conversation: str) -> list[sa.ColumnElement[bool]]:
    """The condition that a row belongs to this conversation of this bot."""
    return [
        table.c.channel == replace_unstorable(scope.channel),
        table.c.bot == replace_unstorable(scope.bot),
        table.c.conversation == replace_unstorable(conversation),
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


def merge(old: Data, new: Data) -> dict[str, Any]:
    """``old`` with ``new`` over it; a value None takes its key away."""
    return {name: value for name, value in {**old, **new}.items() if value is not None}


def now_ms(database: Database) -> int:
    """The database's time now."""
    return int(database.clock() * 1000)


def clamp_limit(limit: int) -> int:
    """How many rows a page has, where ``limit`` was asked for."""
    return min(max(limit, 0), MAX_PAGE_SIZE)


def encode_cursor(*position: int | str) -> str:
    """A position in a list, for the next page: opaque, and fit for a URL."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *types: type) -> tuple[Any, ...]:
    """The position in ``cursor``. Raises :class:`BadCursor` for one that holds no values of ``types``."""
    try:
        position = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise BadCursor from None
    if not isinstance(position, list) or [type(value) for value in position] != list(types):
        raise BadCursor
    if any(isinstance(value, int) and abs(value) >= 2**63 for value in position):
        raise BadCursor
    return tuple(replace_unstorable(value) if isinstance(value, str) else value for value in position)


def make_page(rows: list[Any], limit: int, to_item: Callable[[Any], T], cursor_of: Callable[[T], str]) -> Page[T]:
    """A page of at most ``limit`` items; ``rows`` has one more than it where the list goes on."""
    items = [to_item(row) for row in rows[:limit]]
    return Page(items, cursor_of(items[-1]) if len(rows) > limit and items else "")
