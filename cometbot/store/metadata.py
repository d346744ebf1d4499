"""Single values that are made once and then kept, the same for all processes and machines of a database."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from cometbot.store.database import Database
from cometbot.store.tables import facts


def get_or_create_metadata(database: Database, name: str, make: Callable[[], str]) -> str:
    """The value kept under ``name``; what ``make`` returns if there is none yet. Who comes first decides for all."""
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
    """The value noted under ``name`` last; empty if there is none."""
    with database.read() as connection:
        return str(connection.execute(sa.select(facts.c.value).where(facts.c.name == name)).scalar() or "")


def set_metadata(database: Database, name: str, value: str, *, durable: bool = True) -> None:
    """Keep ``value`` under ``name``, in place of what was there."""
    insert = database.insert(facts).values(name=name, value=value)
    with database.write(durable=durable) as connection:
        connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
