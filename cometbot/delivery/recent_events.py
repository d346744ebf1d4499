"""The newest events and their results, for display; reads only."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from cometbot.store.database import Database
from cometbot.store.tables import mailbox


@dataclass(frozen=True, slots=True)
class RecentEvent:
    """An event: its state in the mailbox, and the handler that processed it.

    ``id`` is the value of ``event`` in the outbox, and part of the client ids of its replies (``m12``). ``seconds`` is
    the time from its arrival to its end, 0 while it has not ended.
    """

    bot: str
    event: str
    state: str
    handler: str
    error: str
    attempts: int
    seconds: float
    id: str


_columns = (
    mailbox.c.seq,
    mailbox.c.bot,
    mailbox.c.event_key,
    mailbox.c.state,
    mailbox.c.handler,
    mailbox.c.error,
    mailbox.c.attempts,
    mailbox.c.received_at,
    mailbox.c.ended_at,
)


def list_recent_events(database: Database, limit: int = 200) -> list[RecentEvent]:
    """Return the newest events of all bots, at most ``limit``, the newest first."""
    query = sa.select(*_columns).order_by(mailbox.c.seq.desc()).limit(limit)
    with database.read() as connection:
        rows = connection.execute(query).all()
    return [
        RecentEvent(
            row.bot,
            row.event_key,
            row.state,
            row.handler or "",
            row.error or "",
            row.attempts,
            max(0.0, row.ended_at - row.received_at) if row.ended_at else 0.0,
            f"m{row.seq}",
        )
        for row in rows
    ]
