"""The stored state of bots: one row per key, values as JSON texts. A key whose time is over counts as absent."""

from __future__ import annotations

import json
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import Connection

from cometbot.state import StateChange
from cometbot.store.database import Database
from cometbot.store.tables import state

_now = bound("now", type_=sa.Double)
_has_ended = state.c.expires_at <= _now
_load = sa.select(state.c.name, state.c.value).where(
    state.c.scope == bound("scope"),
    state.c.owner == bound("owner"),
    sa.or_(state.c.expires_at.is_(None), state.c.expires_at > _now),
)
_key = (state.c.scope == bound("s"), state.c.owner == bound("o"), state.c.name == bound("n"))
_read = sa.select(sa.case((_has_ended, "0"), else_=state.c.value)).where(*_key).with_for_update()
_delete_key = sa.delete(state).where(*_key)
_delete_owner = sa.delete(state).where(state.c.scope == bound("s"), state.c.owner == bound("o"))
_find_ended = (
    sa.select(state.c.scope.label("s"), state.c.owner.label("o"), state.c.name.label("n"))
    .where(_has_ended)
    .order_by(state.c.expires_at)
    .limit(bound("most", type_=sa.Integer))
)


class StateTable:
    """The table ``state``. All methods work inside the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._clock = database.clock
        self._load = database.prepare(_load)
        insert = database.insert(state).values(
            scope=bound("s"),
            owner=bound("o"),
            name=bound("n"),
            value=bound("v"),
            expires_at=bound("e", type_=sa.Double),
        )
        key, new = ["scope", "owner", "name"], insert.excluded
        # The end of an entry that has ended is not kept: this is a new entry.
        kept_end = sa.case((state.c.expires_at > _now, state.c.expires_at))
        self._write = insert.on_conflict_do_update(
            index_elements=key, set_={"value": new.value, "expires_at": kept_end}
        )
        self._write_with_end = insert.on_conflict_do_update(
            index_elements=key, set_={"value": new.value, "expires_at": new.expires_at}
        )
        self._insert_missing = insert.on_conflict_do_nothing(index_elements=key)

    def load(self, connection: Connection, scope: str, owner: str) -> dict[str, str]:
        """Return all keys of one owner with their JSON texts."""
        return dict(self._load(connection, {"scope": scope, "owner": owner, "now": self._clock()}).fetchall())

    def apply(self, connection: Connection, changes: Iterable[StateChange]) -> None:
        """Write only what changed; increments are added to the value that is stored at this moment."""
        for change in changes:
            owner, now = {"s": change.scope, "o": change.owner}, self._clock()
            values = dict(sorted(change.values.items()))
            for name, increment in sorted(change.increments.items()):
                values[name] = self._sum(connection, {**owner, "n": name}, increment)
            rows = [{**owner, "n": name, "v": value, "e": None} for name, value in values.items()]
            plain = [{**row, "now": now} for row in rows if row["n"] not in change.lifetimes]
            ending = [
                {**row, "e": None if seconds is None else now + seconds}
                for row in rows
                if row["n"] in change.lifetimes
                for seconds in [change.lifetimes[row["n"]]]
            ]
            if plain:
                connection.execute(self._write, plain)
            if ending:
                connection.execute(self._write_with_end, ending)
            if change.removed:
                connection.execute(_delete_key, [{**owner, "n": name} for name in change.removed])

    def delete(self, connection: Connection, scope: str, owner: str) -> None:
        """Delete the state of one owner."""
        connection.execute(_delete_owner, {"s": scope, "o": owner})

    def delete_matching(self, connection: Connection, scope: str, prefix: str, suffix: str) -> None:
        """Delete the state of all owners whose names begin with ``prefix`` and end with ``suffix``."""
        named = state.c.owner.startswith(prefix, autoescape=True), state.c.owner.endswith(suffix, autoescape=True)
        connection.execute(sa.delete(state).where(state.c.scope == scope, *named))

    def purge(self, connection: Connection, limit: int) -> int:
        """Delete at most ``limit`` keys whose time is over; return their number."""
        now = self._clock()
        rows = connection.execute(_find_ended, {"now": now, "most": limit}).mappings().all()
        if rows:
            # Checked again: a key may have been written anew meanwhile.
            connection.execute(_delete_key.where(_has_ended), [{**row, "now": now} for row in rows])
        return len(rows)

    def _sum(self, connection: Connection, key: dict[str, str], increment: int | float) -> str:
        # A missing row cannot be locked, so two transactions could start counting at the same time.
        connection.execute(self._insert_missing, {**key, "v": "0", "e": None})
        value = json.loads(connection.execute(_read, {**key, "now": self._clock()}).scalar_one())
        return json.dumps((value if isinstance(value, int | float) else 0) + increment)
