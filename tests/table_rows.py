"""What a database holds, whatever the table."""

from __future__ import annotations

from cometbot.store.database import Database
from cometbot.store.tables import metadata


def find_rows(database: Database, *words: str) -> list[str]:
    """Table and row of everything that holds one of ``words``."""
    with database.read() as connection:
        rows = [(table.name, row) for table in metadata.sorted_tables for row in connection.execute(table.select())]
    texts = [f"{name}: {tuple(row)}" for name, row in rows]
    return [text for text in texts if any(word in text for word in words)]
