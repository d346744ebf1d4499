"""Helpers for all tables of the chat server: scope conditions, JSON columns, ids, times and cursors."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from ulid import ULID

from cometbot.chat.models import Data, Page, Scope
from cometbot.errors import BadCursor, ChatError
from cometbot.store.database import Database
from cometbot.store.tables import chat_conversations, chat_messages
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
        raise ChatError(f"id: expected at most {MAX_ID_LENGTH} characters, got {len(text)}")
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


def in_same_conversation() -> sa.ColumnElement[bool]:
    """Return the condition that a row of the messages belongs to a row of the conversations."""
    messages, conversations = chat_messages.c, chat_conversations.c
    return sa.and_(
        messages.channel == conversations.channel,
        messages.bot == conversations.bot,
        messages.conversation == conversations.id,
    )


def by_id(table: sa.Table, scope: Scope, id: str) -> list[sa.ColumnElement[bool]]:
    """Return the condition that a row has this id."""
    return [*in_scope(table, scope), table.c.id == replace_unstorable(id)]


def bound_key(column: sa.Column[str]) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the condition of a prepared statement that a row has the :func:`key_values`; ``column`` is the last."""
    columns = column.table.c
    return columns.channel == sa.bindparam("ch"), columns.bot == sa.bindparam("b"), column == sa.bindparam("key")


def key_values(scope: Scope, key: str) -> dict[str, Any]:
    """Return the values for the parameters of :func:`bound_key`."""
    return {
        "ch": replace_unstorable(scope.channel),
        "b": replace_unstorable(scope.bot),
        "key": replace_unstorable(key),
    }


def row_values(scope: Scope, conversation: str = "") -> dict[str, str]:
    """Return the columns ``channel``, ``bot`` and, if it is given, ``conversation`` of a new row."""
    values = {"channel": replace_unstorable(scope.channel), "bot": replace_unstorable(scope.bot)}
    return {**values, "conversation": replace_unstorable(conversation)} if conversation else values


def columns_of(table: sa.Table, kind: type) -> list[sa.Column[Any]]:
    """Return the columns that hold an object of the dataclass ``kind``, in the order of its fields.

    The field ``scope`` stands in two columns, ``channel`` and ``bot``.
    """
    names = [item.name for item in fields(kind) if item.name != "scope"]
    return [table.c.channel, table.c.bot, *(table.c[name] for name in names)]


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
        raise ChatError(f"cannot store the data: not JSON, or nested too deeply ({type(error).__name__})") from None


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


def load_page(
    connection: Connection,
    query: sa.Select[Any],
    order: Sequence[sa.Column[Any]],
    to_item: Callable[[Sequence[Any]], T],
    *,
    cursor: str,
    limit: int,
    newest_first: bool = False,
) -> Page[T]:
    """Return a page of the rows of ``query``, sorted by the selected columns ``order``. Raises :class:`BadCursor`."""
    limit = clamp_limit(limit)
    if cursor:
        position = decode_cursor(cursor, *(column.type.python_type for column in order))
        key, start = sa.tuple_(*order), sa.tuple_(*position)
        query = query.where(key < start if newest_first else key > start)
    query = query.order_by(*(column.desc() if newest_first else column for column in order)).limit(limit + 1)
    rows = connection.execute(query).all()
    has_more = len(rows) > limit > 0
    next_cursor = encode_cursor(*(rows[limit - 1]._mapping[column] for column in order)) if has_more else ""
    return Page([to_item(row) for row in rows[:limit]], next_cursor)
