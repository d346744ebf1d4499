"""The tables of delivery in one database."""

from __future__ import annotations

from cometbot.store.database import Database
from cometbot.store.leases import Leases
from cometbot.store.mailbox import Mailbox
from cometbot.store.outbox import Outbox
from cometbot.store.state import StateTable
from cometbot.store.throttles import AccountThrottles


class DeliveryStore:
    """One object for each table of the same database; they work inside transactions of :attr:`database`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.state = StateTable(database)
        self.mailbox = Mailbox(database, self.state)
        self.outbox = Outbox(database)
        self.leases = Leases(database)
        self.throttles = AccountThrottles(database)
