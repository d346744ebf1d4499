"""The stored state of bots: one row per key, values as JSON texts."""

from __future__ import annotations

import json
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import Connection

from cometbot.state import StateChange
from cometbot.store.database import Database
from cometbot.store.tables import state

_load = sa.select(state.c.name, state.c.value).where(state.c.scope == bound("scope"), state.c.owner == bound("owner"))
_key = (state.c.scope == bound("s"), state.c.owner == bound("o"), state.c.name == bound("n"))
_read = sa.select(state.c.value).where(*_key).with_for_update()
_delete_key = sa.delete(state).where(*_key)
_delete_owner = sa.delete(state).where(state.c.scope == bound("s"), state.c.owner == bound("o"))


class StateTable:
    """The table ``state``. All methods work inside the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._load = database.prepare(_load)
        insert = database.insert(state).values(scope=bound("s"), owner=bound("o"), name=bound("n"), value=bound("v"))
        self._write = insert.on_conflict_do_update(
            index_elements=["scope", "owner", "name"], set_={"value": insert.excluded.value}
        )

        self._insert_missing = insert.on_conflict_do_nothing(index_elements=["scope", "owner", "name"])

    def load(self, connection: Connection, scope: str, owner: str) -> dict[str, str]:
        """Return all keys of one owner with their JSON texts."""
        return dict(self._load(connection, {"scope": scope, "owner": owner}).fetchall())

    def apply(self, connection: Connection, changes: Iterable[StateChange]) -> None:
        """Write only what changed; increments are added to the value that is stored at this moment."""
        for change in changes:
            owner = {"s": change.scope, "o": change.owner}
            rows = [{**owner, "n": name, "v": value} for name, value in sorted(change.values.items())]
            rows += [
                {**owner, "n": name, "v": self._sum(connection, {**owner, "n": name}, increment)}
                for name, increment in sorted(change.increments.items())
            ]
            if rows:
                connection.execute(self._write, rows)
            if change.removed:
                connection.execute(_delete_key, [{**owner, "n": name} for name in change.removed])

    def delete(self, connection: Connection, scope: str, owner: str) -> None:
        """Delete the state of one owner."""
        connection.execute(_delete_owner, {"s": scope, "o": owner})

    def delete_matching(self, connection: Connection, scope: str, prefix: str, suffix: str) -> None:
        """Delete the state of all owners whose names begin with ``prefix`` and end with ``suffix``."""
        named = state.c.owner.startswith(prefix, autoescape=True), state.c.owner.endswith(suffix, autoescape=True)
        connection.execute(sa.delete(state).where(state.c.scope == scope, *named))

    def _sum(self, connection: Connection, key: dict[str, str], increment: int | float) -> str:
        # A missing row cannot be locked, so two transactions could start counting at the same time.
        connection.execute(self._insert_missing, {**key, "v": "0"})
        value = json.loads(connection.execute(_read, key).scalar_one())
        return json.dumps((value if isinstance(value, int | float) else 0) + increment)
