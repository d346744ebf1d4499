"""The jobs and messages that are still to come, and how they begin when their time has come."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as bound

from cometbot.jobs import (
    ACCOUNT,
    CODE_SCOPE,
    JOBS_CHANNEL,
    JobChange,
    PlannedJob,
    ScheduledJob,
    make_body,
    make_content,
    make_conversation,
    make_inner_conversation,
)
from cometbot.models import Conversation, ConversationKey, conversation_to_json
from cometbot.schedules import parse_schedule
from cometbot.store.database import Database, Transaction
from cometbot.store.dialogs import INTERNAL_PREFIX
from cometbot.store.leases import Leases
from cometbot.store.mailbox import Mailbox
from cometbot.store.outbox import Draft, Outbox
from cometbot.store.quick_replies import save_quick_replies
from cometbot.store.state import StateTable
from cometbot.store.tables import IS_DEAD, PENDING_MESSAGE, WAITING, in_state, jobs, mailbox, of_account

JOB_PREFIX = f"{INTERNAL_PREFIX}job:"
"""The prefix of the event keys of jobs in the mailbox."""

LATE_AFTER = 60.0
"""Seconds after which an occurrence of a job counts as missed."""

FIRE_BATCH = 100
"""The most jobs that begin in one transaction: others wait for it on SQLite."""

_CLOCK_TOLERANCE = 1.0
"""Seconds by which the clocks of two machines may differ."""

_BROKEN_INTERVAL = 3600.0
"""Seconds after which a job is tried again whose schedule cannot be read here."""

log = logging.getLogger(__name__)

_has_id = jobs.c.id == bound("row")
_delete = sa.delete(jobs).where(_has_id)
_move = (
    sa.update(jobs)
    .where(_has_id, jobs.c.due_at == bound("due"))
    .values(due_at=bound("following", type_=sa.Double), last_at=bound("last", type_=sa.Double))
)
_lock = (
    sa.select(jobs.c.id, jobs.c.due_at)
    .where(jobs.c.id.in_(bound("rows", expanding=True)))
    .order_by(jobs.c.id)
    .with_for_update()
)
_delete_named = sa.delete(jobs).where(
    jobs.c.bot == bound("of"), jobs.c.scope == bound("within"), jobs.c.name == bound("named")
)
_delete_with_key = _delete_named.where(jobs.c.key == bound("made_by"))
_pending_jobs = (
    sa.select(mailbox.c.conversation_key, mailbox.c.state)
    .where(
        mailbox.c.conversation_key.in_(bound("keys", expanding=True)),
        in_state(mailbox, PENDING_MESSAGE),
        mailbox.c.event_key.like(f"{JOB_PREFIX}%"),
    )
    .distinct()
)
_begun_keys = sa.select(mailbox.c.bot, mailbox.c.event_key).where(
    mailbox.c.channel == JOBS_CHANNEL,
    mailbox.c.account == ACCOUNT,
    mailbox.c.bot.in_(bound("bots", expanding=True)),
    mailbox.c.event_key.in_(bound("keys", expanding=True)),
)


@dataclass(frozen=True, slots=True)
class JobRow:
    """A stored job or message; times are Unix seconds. ``spec`` is empty for what a handler has scheduled."""

    id: int
    bot: str
    scope: str
    name: str
    key: str
    handler: str
    spec: str
    missed: str
    conversation: Conversation
    content: Mapping[str, Any]
    due_at: float
    on_wall_clock: bool
    created_at: float
    last_at: float | None

    @property
    def planned(self) -> PlannedJob:
        """The job as handlers see it."""
        return PlannedJob(
            self.name, self.handler, self.conversation, self.due_at, self.on_wall_clock, self.content, self.key
        )


@dataclass(frozen=True, slots=True)
class Begun:
    """The work of a job that has begun: to handle it in a conversation, or with ``to_send`` to send a message there."""

    conversation_key: str
    to_send: bool


@dataclass(frozen=True, slots=True)
class JobCounts:
    """The jobs of one bot: how many are to come, and of these are overdue, how many have begun, and how many failed.

    ``next_seconds`` is the time until the next is due, below 0 if it is, None if none is to come. A job is overdue if
    it has not begun a minute after its time.
    """

    scheduled: int = 0
    overdue: int = 0
    next_seconds: float | None = None
    running: int = 0
    failed: int = 0


class Jobs:
    """The table ``jobs``. All methods work inside the caller's transaction.

    Conversations are locked before jobs, and several of them in the order of their keys, as everywhere.
    """

    def __init__(self, database: Database, leases: Leases, mailbox: Mailbox, outbox: Outbox, state: StateTable) -> None:
        self._database = database
        self._leases = leases
        self._mailbox = mailbox
        self._outbox = outbox
        self._state = state
        self._delete = database.prepare(_delete)
        self._move = database.prepare(_move)

    def apply(self, connection: Transaction, change: JobChange) -> None:
        """Add a job, in place of one with the same name, or remove it."""
        values = {"of": change.bot, "within": change.scope, "named": change.name}
        if change.key and change.planned is None:
            connection.execute(_delete_with_key, {**values, "made_by": change.key})
        else:
            connection.execute(_delete_named, values)
        planned = change.planned
        if planned is not None:
            row = {
                "bot": change.bot,
                "scope": change.scope,
                "name": planned.name,
                "key": planned.key,
                "spec": "",
                "missed": "once",
                "due_at": planned.due_at,
                "on_wall_clock": planned.on_wall_clock,
                **_to_columns(planned.handler, planned.conversation, planned.content),
            }
            self._insert(connection, row)

    def _insert(self, connection: Transaction, row: Mapping[str, Any]) -> None:
        insert = self._database.insert(jobs).values(**row, created_at=self._database.clock())
        connection.execute(insert.on_conflict_do_nothing(index_elements=["bot", "scope", "name"]))

    def sync(self, connection: Transaction, bot: str, scheduled: Sequence[ScheduledJob]) -> None:
        """Store what the code of a bot schedules, and delete what it does not schedule any more.

        A job that is new or has changed runs at its next time after now; any other keeps its time, unless the clock has
        been set back since.
        """
        now = self._database.wall_clock(connection)
        of_code = sa.select(jobs).where(jobs.c.bot == bot, jobs.c.scope == CODE_SCOPE)
        stored = {row["name"]: row for row in connection.execute(of_code).mappings().all()}
        for job in scheduled:
            row = stored.pop(job.name, None)
            due_at = job.schedule.next_after(now)
            if row is not None and row["spec"] == job.schedule.spec:
                due_at = row["due_at"] if due_at is None else min(due_at, row["due_at"])
            self._save_scheduled(connection, bot, job, row, due_at)
        for row in stored.values():
            connection.execute(sa.delete(jobs).where(jobs.c.id == row["id"]))

    def _save_scheduled(
        self,
        connection: Transaction,
        bot: str,
        job: ScheduledJob,
        row: sa.RowMapping | None,
        due_at: float | None,
    ) -> None:
        if due_at is None:
            if row is not None:
                connection.execute(sa.delete(jobs).where(jobs.c.id == row["id"]))
            return
        where = make_conversation(bot, job.name)
        values: dict[str, Any] = {
            "spec": job.schedule.spec,
            "missed": job.missed,
            "due_at": due_at,
            **_to_columns(job.handler, where, make_content(job.arguments)),
        }
        if row is None:
            self._insert(
                connection,
                {**values, "bot": bot, "scope": CODE_SCOPE, "name": job.name, "key": "", "on_wall_clock": True},
            )
        elif any(row[name] != value for name, value in values.items()):
            connection.execute(sa.update(jobs).where(jobs.c.id == row["id"]).values(values))

    def has_code_jobs(self, connection: Transaction, bots: Collection[str]) -> bool:
        """Return True if a job of the code of one of these bots is stored."""
        query = sa.select(jobs.c.id).where(jobs.c.bot.in_(list(bots)), jobs.c.scope == CODE_SCOPE).limit(1)
        return connection.execute(query).first() is not None

    def next_due(self, connection: Transaction) -> float | None:
        """Return the time of the next job, on whichever clock, or None."""
        found: float | None = connection.execute(sa.select(sa.func.min(jobs.c.due_at))).scalar()
        return found

    def is_any_due(self, connection: Transaction) -> bool:
        """Return True if a job is due."""
        return connection.execute(sa.select(jobs.c.id).where(*self._is_due(connection)).limit(1)).first() is not None

    def _is_due(self, connection: Transaction) -> Sequence[sa.ColumnElement[bool]]:
        now, wall = self._database.clock(), self._database.wall_clock(connection)
        limit = sa.case((jobs.c.on_wall_clock, wall), else_=now)
        return jobs.c.due_at <= max(now, wall), jobs.c.due_at <= limit

    def _ran_later(self, connection: Transaction) -> sa.Select[Any]:
        """Return the query of the jobs that ran last at a time which is still to come: the clock was set back."""
        future = self._database.wall_clock(connection) + _CLOCK_TOLERANCE
        return sa.select(jobs).where(sa.text("jobs.last_at IS NOT NULL"), jobs.c.last_at > future)

    def is_clock_back(self, connection: Transaction) -> bool:
        """Return True if the clock was set back since a job ran."""
        return connection.execute(self._ran_later(connection).limit(1)).first() is not None

    def pull_back(self, connection: Transaction) -> None:
        """Give jobs their next time from now on, after the clock was set back. No occurrence runs again."""
        now = self._database.wall_clock(connection)
        for row in map(_to_row, connection.execute(self._ran_later(connection)).mappings().all()):
            following = _find_following(row, now)
            due_at = row.due_at if following is None else min(following, row.due_at)
            values = {"row": row.id, "due": row.due_at, "following": due_at, "last": now}
            connection.execute(_move, values)

    def fire(self, connection: Transaction, limit: int = FIRE_BATCH) -> list[Begun]:
        """Begin at most ``limit`` jobs that are due, and return where there is something to do."""
        query = sa.select(jobs).where(*self._is_due(connection)).order_by(jobs.c.due_at, jobs.c.id).limit(limit)
        due = [_to_row(row) for row in connection.execute(query).mappings().all()]
        rows = self._lock(connection, due)
        now = self._database.wall_clock(connection)
        following = {row.id: time for row in rows if (time := _find_following(row, max(now, row.due_at))) is not None}
        repeated = [row for row in rows if row.id in following]
        missed = self._find_missed(connection, repeated, now)
        for row in self._find_begun(connection, repeated):
            # The clock was set back and forth. The occurrences after this one may not have run yet.
            following[row.id] = _find_following(row, row.due_at) or following[row.id]
            missed.add(row.id)
        moves = [{"row": row.id, "due": row.due_at, "following": following[row.id], "last": now} for row in repeated]
        self._move.run_many(connection, moves)
        self._delete.run_many(connection, [{"row": row.id} for row in rows if row.id not in following])
        return self._begin(connection, [row for row in rows if row.id not in missed])

    def _lock(self, connection: Transaction, rows: Sequence[JobRow]) -> list[JobRow]:
        """Lock these jobs behind their conversations. Return those that no other process has begun or changed."""
        self._leases.mark_all_pending(connection, [row.conversation for row in rows])
        found = dict(connection.execute(_lock, {"rows": [row.id for row in rows]}).all()) if rows else {}
        return [row for row in rows if found.get(row.id) == row.due_at]

    def _find_missed(self, connection: Transaction, rows: Sequence[JobRow], now: float) -> set[int]:
        """Return the ids of repeated jobs that do not run now: they are late, or the occurrence before is not over."""
        if not rows:
            return set()
        pending: dict[str, set[str]] = {}
        for key, state in connection.execute(_pending_jobs, {"keys": [row.conversation.key_text for row in rows]}):
            pending.setdefault(key, set()).add(state)
        return {row.id for row in rows if _is_missed(row, pending.get(row.conversation.key_text, set()), now)}

    def _find_begun(self, connection: Transaction, rows: Sequence[JobRow]) -> list[JobRow]:
        """Return the jobs whose occurrence has begun before, without those that leave out missed ones anyway."""
        by_key = {(row.bot, _make_key(row, row.due_at)): row for row in rows if row.missed == "once"}
        if not by_key:
            return []
        bots, keys = zip(*by_key, strict=True)
        values = {"bots": sorted({*bots}), "keys": keys}
        return [row for key in connection.execute(_begun_keys, values).all() if (row := by_key.get(tuple(key)))]

    def _begin(self, connection: Transaction, rows: Sequence[JobRow]) -> list[Begun]:
        self._mailbox.add_internal(connection, [_make_event(row, row.due_at) for row in rows if row.handler])
        for row in rows:
            if not row.handler:
                self._send(connection, row)
        return [_to_begun(row) for row in rows]

    def _send(self, connection: Transaction, row: JobRow) -> None:
        key, content = row.conversation.key_text, row.content
        self._outbox.add(connection, [Draft(f"j{row.id}", 0, 0, row.conversation, content["payloads"])])
        offers, now = content["offers"], self._database.clock()
        save_quick_replies(connection, self._state, key, offers, has_limits=content["has_limits"], now=now)

    def count(self, connection: Transaction) -> dict[str, JobCounts]:
        """Return the numbers of jobs of each bot that has any."""
        now = sa.case((jobs.c.on_wall_clock, self._database.wall_clock(connection)), else_=self._database.clock())
        left = sa.func.min(jobs.c.due_at - now)
        late = sa.func.sum(sa.case((jobs.c.due_at - now < -LATE_AFTER, 1), else_=0))
        scheduled = connection.execute(sa.select(jobs.c.bot, sa.func.count(), late, left).group_by(jobs.c.bot))
        found = {bot: JobCounts(count, int(overdue), seconds) for bot, count, overdue, seconds in scheduled}
        for condition, name in ((PENDING_MESSAGE, "running"), (IS_DEAD, "failed")):
            query = sa.select(mailbox.c.bot, sa.func.count()).where(
                in_state(mailbox, condition), mailbox.c.channel == JOBS_CHANNEL
            )
            for bot, count in connection.execute(query.group_by(mailbox.c.bot)):
                found[bot] = replace(found.get(bot, JobCounts()), **{name: count})
        return found

    def run_now(self, connection: Transaction, row: JobRow) -> Begun | None:
        """Begin a job now: one of the bot's code besides its times, any other instead. Return None if it has begun."""
        found = self._lock(connection, [row])
        now = self._database.wall_clock(connection)
        if row.spec:
            self._mailbox.add_internal(connection, [_make_event(row, now, f":run{now % 1:.6f}")])
            return _to_begun(row)
        self._delete.run_many(connection, [{"row": each.id} for each in found])
        begun = self._begin(connection, [replace(each, due_at=now) for each in found])
        return begun[0] if begun else None

    def delete(self, connection: Transaction, job_id: int) -> bool:
        """Delete a job. Return False if it has begun or never was."""
        return connection.execute(sa.delete(jobs).where(jobs.c.id == job_id)).rowcount > 0

    def get(self, connection: Transaction, job_id: int) -> JobRow | None:
        """Return the job with this number, or None."""
        row = connection.execute(sa.select(jobs).where(jobs.c.id == job_id)).mappings().one_or_none()
        return _to_row(row) if row is not None else None

    def list(
        self, connection: Transaction, bot: str = "", limit: int = 100, scope: str | None = None, account: str = ""
    ) -> list[JobRow]:
        """Return the jobs of one bot or of all, or those of one scope; the next first."""
        query = sa.select(jobs).order_by(jobs.c.due_at, jobs.c.id).limit(limit)
        if bot:
            query = query.where(jobs.c.bot == bot)
        if scope is not None:
            query = query.where(jobs.c.scope == scope)
        if account:
            query = query.where(of_account(jobs.c.scope, account))
        return [_to_row(row) for row in connection.execute(query).mappings()]

    def erase(self, connection: Transaction, conversation_keys: Iterable[str]) -> None:
        """Delete what was scheduled in these conversations or goes there."""
        for key in sorted(conversation_keys):
            bot = _find_bot(key)
            connection.execute(sa.delete(jobs).where(jobs.c.bot == bot, jobs.c.scope == key))
            connection.execute(sa.delete(jobs).where(jobs.c.conversation_key == key))


def find_inner_keys(conversation_keys: Iterable[str]) -> set[str]:
    """Return the keys of the conversations in which jobs run that handlers of these conversations have scheduled."""
    return {make_inner_conversation(_find_bot(key), key).key_text for key in conversation_keys}


def _find_bot(conversation_key: str) -> str:
    return ConversationKey.parse(conversation_key).bot


def _make_event(row: JobRow, due_at: float, mark: str = "") -> tuple[Conversation, str, bytes]:
    """Return the event with which a job begins: its conversation, key and body."""
    body = make_body(row.handler, row.name, due_at, row.content)
    return row.conversation, _make_key(row, due_at) + mark, body


def _make_key(row: JobRow, due_at: float) -> str:
    name = row.name if row.spec else f"#{row.id}"
    return f"{JOB_PREFIX}{name}:{int(due_at)}"


def _to_begun(row: JobRow) -> Begun:
    return Begun(row.conversation.key_text, to_send=not row.handler)


def _is_missed(row: JobRow, pending: Collection[str], now: float) -> bool:
    """Return True if a job does not run that is due; ``pending`` are the states of its other occurrences."""
    if row.missed == "skip":
        return bool(pending) or now - row.due_at > LATE_AFTER
    return WAITING in pending


def _find_following(row: JobRow, now: float) -> float | None:
    """Return the next time of a job after this one, None if it runs once."""
    if not row.spec:
        return None
    try:
        return parse_schedule(row.spec).next_after(now)
    except (ValueError, LookupError, OSError):  # such as a time zone that this machine does not have
        log.exception("cannot read the schedule %r of the job %s; it is tried again in an hour", row.spec, row.name)
        return now + _BROKEN_INTERVAL


def _to_columns(handler: str, conversation: Conversation, content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "handler": handler,
        "conversation_key": conversation.key_text,
        "conversation": json.dumps(conversation_to_json(conversation)),
        "content": json.dumps(content),
    }


def _to_row(row: sa.RowMapping) -> JobRow:
    return JobRow(
        row["id"],
        row["bot"],
        row["scope"],
        row["name"],
        row["key"],
        row["handler"],
        row["spec"],
        row["missed"],
        Conversation(**json.loads(row["conversation"])),
        json.loads(row["content"]),
        row["due_at"],
        bool(row["on_wall_clock"]),
        row["created_at"],
        row["last_at"],
    )
