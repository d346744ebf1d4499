"""The tables of delivery in one database."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.engine import Connection

from cometbot.store.database import Database
from cometbot.store.leases import Lease, Leases
from cometbot.store.mailbox import Mailbox
from cometbot.store.outbox import Outbox, SendResult
from cometbot.store.state import StateTable
from cometbot.store.throttles import AccountThrottles


class DeliveryStore:
    """One object for each table of the same database; they work inside transactions of :attr:`database`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.mailbox = Mailbox(database)
        self.outbox = Outbox(database)
        self.leases = Leases(database)
        self.throttles = AccountThrottles(database)
        self.state = StateTable(database)

    def save_results(self, connection: Connection, lease: Lease, results: Iterable[SendResult]) -> None:
        """Save the results of sends, and set or clear the throttle of their account accordingly."""
        for result in results:
            self.outbox.save_result(connection, result)
            if result.throttle_seconds > 0:
                self.throttles.set(
                    connection,
                    lease.conversation.key,
                    result.throttle_seconds,
                    result.error or "",
                    is_rate_limited=result.is_rate_limited,
                )
            elif result.ends_throttle:
                self.throttles.clear(connection, lease.conversation.key)
