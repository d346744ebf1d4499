"""Single stored values, the same for all processes and machines of a database."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from cometbot.store.database import Database
from cometbot.store.tables import facts


def get_or_create_metadata(database: Database, name: str, make: Callable[[], str]) -> str:
    """Return the value of ``name``; if there is none yet, store and return what ``make`` returns.

    If several processes create the value at once, all of them return the one that was stored first.
    """
    query = sa.select(facts.c.value).where(facts.c.name == name)
    with database.read() as connection:
        found = connection.execute(query).scalar()
    if found is not None:
        return str(found)
    insert = database.insert(facts).values(name=name, value=make())
    with database.write() as connection:
        connection.execute(insert.on_conflict_do_nothing(index_elements=["name"]))
        return str(connection.execute(query).scalar_one())


def get_metadata(database: Database, name: str) -> str:
    """Return the value of ``name``, or "" if there is none."""
    with database.read() as connection:
        return str(connection.execute(sa.select(facts.c.value).where(facts.c.name == name)).scalar() or "")


def set_metadata(database: Database, name: str, value: str, *, durable: bool = True) -> None:
    """Store ``value`` under ``name``, in place of any previous value."""
    insert = database.insert(facts).values(name=name, value=value)
    with database.write(durable=durable) as connection:
        connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
