"""The tables of delivery in one database."""

from __future__ import annotations

import time
from collections.abc import Iterable

from cometbot.bot import Bot
from cometbot.store.approvals import Approvals
from cometbot.store.broadcasts import Broadcasts
from cometbot.store.database import Database
from cometbot.store.dialogs import Dialogs
from cometbot.store.jobs import Begun, Jobs
from cometbot.store.leases import Leases
from cometbot.store.mailbox import Mailbox
from cometbot.store.outbox import Outbox
from cometbot.store.sent_files import SentFiles
from cometbot.store.state import StateTable
from cometbot.store.throttles import AccountThrottles

_MAX_PAUSE = 0.1


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
        self.jobs = Jobs(database, self.leases, self.mailbox, self.outbox, self.state)
        self.broadcasts = Broadcasts(database, self.leases, self.mailbox, self.outbox, self.state)

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

    def fire_jobs(self, time_limit: float | None = None) -> list[Begun]:
        """Begin the jobs that are due, and return where there is something to do.

        After ``time_limit`` seconds, the rest is left to the next call: the caller may have leases to renew.
        """
        begun: list[Begun] = []
        ends_at = None if time_limit is None else time.monotonic() + time_limit
        with self.database.read() as connection:
            if self.jobs.next_due(connection) is None:
                return begun
            is_due, is_clock_back = self.jobs.is_any_due(connection), self.jobs.is_clock_back(connection)
        if is_clock_back:
            with self.database.write(durable=False) as connection:
                self.jobs.pull_back(connection)
        while is_due:
            started_at = time.monotonic()
            with self.database.write(durable=False) as connection:
                begun += self.jobs.fire(connection)
            ended_at = time.monotonic()
            if ends_at is not None and ended_at > ends_at:
                break
            with self.database.read() as connection:
                is_due = self.jobs.is_any_due(connection)
            if is_due and ends_at is not None:
                time.sleep(min(ended_at - started_at, _MAX_PAUSE))  # others may write half of the time
        return begun

    def sync_jobs(self, bots: Iterable[Bot]) -> None:
        """Store what the code of these bots schedules."""
        scheduled = {bot.name: bot.scheduled_jobs for bot in bots}
        with self.database.read() as connection:
            has_changed = any(scheduled.values()) or self.jobs.has_code_jobs(connection, list(scheduled))
        if has_changed:
            with self.database.write() as connection:
                for name, found in sorted(scheduled.items()):
                    self.jobs.sync(connection, name, found)
