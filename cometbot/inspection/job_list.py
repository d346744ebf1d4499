"""The jobs that are still to come, for operators: list, show, run now, and cancel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cometbot.errors import DeliveryError
from cometbot.jobs import CODE_SCOPE
from cometbot.store.database import Transaction
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.jobs import Begun, JobRow

_JOB_ID = re.compile(r"[jJ](\d{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job that is still to come. ``id`` is such as ``j12``; times are Unix seconds.

    ``job`` is the name of its function, empty for a message of the text ``text``. ``schedule`` is such as
    ``every 300`` or ``cron Europe/Berlin 0 9 * * 1-5``, empty for what runs once. ``scheduled_in`` is the key of the
    conversation in which a handler has scheduled it, empty for one of the bot's code. ``conversation`` is where a
    message goes. ``last_at`` is when it ran last, None if it has not yet.
    """

    id: str
    bot: str
    name: str
    job: str
    schedule: str
    missed: str
    due_at: float
    last_at: float | None
    created_at: float
    scheduled_in: str
    arguments: Mapping[str, Any]
    text: str
    conversation: str


class JobList:
    """The jobs of one database. Methods with an id raise :class:`DeliveryError` if there is no such job."""

    def __init__(self, store: DeliveryStore) -> None:
        self._store = store

    def list(self, bot: str = "", limit: int = 100, *, account: str = "") -> list[JobInfo]:
        """Return at most ``limit`` jobs of one bot or of all, the next first.

        With ``account``, they are what handlers of that CometChat app have scheduled.
        """
        with self._store.database.read() as connection:
            rows = self._store.jobs.list(connection, bot, limit, account=account)
        return [_to_info(row) for row in rows]

    def get(self, job_id: str) -> JobInfo:
        """Return the job with this id."""
        with self._store.database.read() as connection:
            return _to_info(self._find(connection, job_id))

    def run(self, job_id: str) -> Begun:
        """Begin a job now, and return what is to be notified.

        A job of the bot's code keeps its times; any other runs now instead of at its time.
        """
        with self._store.database.write() as connection:
            begun = self._store.jobs.run_now(connection, self._find(connection, job_id))
        if begun is None:
            raise DeliveryError(f"the job {job_id} has just begun by itself")
        return begun

    def cancel(self, job_id: str) -> None:
        """Delete a job. Raises :class:`DeliveryError` for one of the bot's code, which its next start would add."""
        with self._store.database.write() as connection:
            row = self._find(connection, job_id)
            if row.scope == CODE_SCOPE:
                raise DeliveryError(
                    f"the job {job_id} ({row.name}) is scheduled by the code of {row.bot}: remove it there, and start "
                    "the bot anew"
                )
            self._store.jobs.delete(connection, row.id)

    def _find(self, connection: Transaction, job_id: str) -> JobRow:
        match = _JOB_ID.fullmatch(job_id)
        row = self._store.jobs.get(connection, int(match[1])) if match else None
        if row is None:
            raise DeliveryError(f"there is no job {job_id!r} (any more). List them with: cometbot jobs list")
        return row


def _to_info(row: JobRow) -> JobInfo:
    is_message = not row.handler
    return JobInfo(
        id=f"j{row.id}",
        bot=row.bot,
        name=row.name,
        job=row.handler,
        schedule=row.spec,
        missed=row.missed,
        due_at=row.due_at,
        last_at=row.last_at,
        created_at=row.created_at,
        scheduled_in=row.scope if "/" in row.scope else "",
        arguments=row.content.get("arguments", {}),
        text=row.content.get("text", ""),
        conversation=row.conversation.id if is_message else "",
    )
