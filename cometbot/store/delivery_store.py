"""The tables of delivery in one database."""

from __future__ import annotations

from cometbot.store.approvals import Approvals
from cometbot.store.database import Database
from cometbot.store.dialogs import Dialogs
from cometbot.store.leases import Leases
from cometbot.store.mailbox import Mailbox
from cometbot.store.outbox import Outbox
from cometbot.store.sent_files import SentFiles
from cometbot.store.state import StateTable
from cometbot.store.throttles import AccountThrottles


class DeliveryStore:
    """One object for each table of the same database; they work inside transactions of :attr:`database`.

    ``files`` are the files that bots send (None: with contents in the database, and addresses without a host).
    """

    def __init__(self, database: Database, files: SentFiles | None = None) -> None:
        self.database = database
        self.files = files or SentFiles(database)
        self.state = StateTable(database)
        self.mailbox = Mailbox(database, self.state)
        self.outbox = Outbox(database)
        self.leases = Leases(database)
        self.throttles = AccountThrottles(database)
        self.approvals = Approvals(database, self.state, self.leases, self.outbox)
        self.dialogs = Dialogs(database, self.state, self.leases, self.approvals)

    def fire_timers(self, started_at: float = 0.0) -> list[str]:
        """Put all timers that are due into the mailbox, and return the keys of the conversations to notify."""
        fired: list[str] = []
        with self.database.read() as connection:
            due_at = self.dialogs.next_timer(connection)
        while due_at is not None and due_at <= self.database.clock():
            with self.database.write(durable=False) as connection:
                some = self.dialogs.fire_timers(connection, started_at)
                due_at = self.dialogs.next_timer(connection)
            if not some:
                break
            fired += some
        return fired
