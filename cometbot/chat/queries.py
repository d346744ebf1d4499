"""Helpers for all tables of the chat server: scope conditions, JSON columns, ids, times and cursors."""

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
"""The characters that an id may have: databases limit the size of an index entry."""

MAX_PAGE_SIZE = 1000
"""The rows that one page may have."""


def new_id() -> str:
    """Return a unique id: a ULID, which sorts by its creation time."""
    return str(ULID())


def replace_unstorable(text: str) -> str:
    """Return ``text`` in a form that every database stores.

    NUL and lone surrogates, which no id contains, become U+FFFD.
    """
    return replace_surrogates(text.replace("\0", "\ufffd"))


def validate_id(text: str) -> str:
    """Return ``text`` as an id to be stored. Raises :class:`ChatError` if it is too long."""
    if len(text) > MAX_ID_LENGTH:
        raise ChatError(f"an id has at most {MAX_ID_LENGTH} characters, this one has {len(text)}")
    return replace_unstorable(text)


def in_scope(table: sa.Table, scope: Scope) -> list[sa.ColumnElement[bool]]:
    """Return the condition that a row belongs to ``scope``. The scope of a channel covers all its bots."""
    of_channel = table.c.channel == replace_unstorable(scope.channel)
    return [of_channel, table.c.bot == replace_unstorable(scope.bot)] if scope.bot else [of_channel]


def in_conversation(table: sa.Table, scope: Scope, conversation: str) -> list[sa.ColumnElement[bool]]:
    """Return the condition that a row belongs to this conversation of this bot."""
    return [
        table.c.channel == replace_unstorable(scope.channel),
        table.c.bot == replace_unstorable(scope.bot),
        table.c.conversation == replace_unstorable(conversation),
    ]


def to_json(value: Data) -> str:
    """Return ``value`` as ASCII JSON for a column. Lone surrogates, which UTF-8 cannot encode, are replaced.

    Raises :class:`ChatError` for a value that is not JSON or is nested too deeply.
    """
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        if "\\ud" not in text:
            return text
        return json.dumps(replace_surrogates(value), separators=(",", ":"), allow_nan=False)
    except (RecursionError, ValueError, TypeError) as error:
        raise ChatError(f"this is not JSON that can be kept ({type(error).__name__})") from None


def from_json(text: str) -> Any:
    """Parse the result of :func:`to_json`."""
    return json.loads(text)


def merge(old: Data, new: Data) -> dict[str, Any]:
    """Return ``old`` updated with ``new``. A value None removes its key."""
    return {name: value for name, value in {**old, **new}.items() if value is not None}


def now_ms(database: Database) -> int:
    """Return the database's current time in milliseconds."""
    return int(database.clock() * 1000)


def clamp_limit(limit: int) -> int:
    """Return the number of rows of a page for a requested ``limit``."""
    return min(max(limit, 0), MAX_PAGE_SIZE)


def encode_cursor(*position: int | str) -> str:
    """Return a position in a list as an opaque, URL-safe cursor for the next page."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *types: type) -> tuple[Any, ...]:
    """Return the position in ``cursor``. Raises :class:`BadCursor` if it does not hold values of ``types``."""
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
    """Return a page of at most ``limit`` items. ``rows`` has one row more if the list continues."""
    items = [to_item(row) for row in rows[:limit]]
    return Page(items, cursor_of(items[-1]) if len(rows) > limit and items else "")
