"""The tables of delivery, over one database."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.engine import Connection

from cometbot.delivery.chains import Chains
from cometbot.delivery.leases import Lease, Leases
from cometbot.delivery.mailbox import Mailbox
from cometbot.delivery.outbox import Note, Outbox
from cometbot.delivery.pacing import Pauses
from cometbot.store.database import Database
from cometbot.store.state import StateRows


class Store:
    """One object for each table, all over the same database; they work inside transactions of :attr:`database`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.mailbox = Mailbox(database)
        self.outbox = Outbox(database)
        self.leases = Leases(database)
        self.pauses = Pauses(database)
        self.state = StateRows(database)
        self.chains = Chains(database) if database.takes_chains else None

    def record(self, connection: Connection, lease: Lease, notes: Iterable[Note]) -> None:
        """Note what became of replies, and what that says of their account."""
        noted = list(notes)
        self.outbox.note(connection, noted)
        for note in noted:
            if note.pause > 0:
                key, why = lease.conversation.key, note.error or ""
                self.pauses.set(connection, key, note.pause, why, is_refusal=note.is_refusal)
            elif note.ends_pause:
                self.pauses.clear(connection, lease.conversation.key)
