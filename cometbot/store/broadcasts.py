"""The broadcasts and their recipients, and how a batch of them is handed over to their conversations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as bound

from cometbot.broadcasts import OPTED_OUT_KEY, make_broadcast_conversation
from cometbot.error_text import storable_text
from cometbot.store.database import Database, Transaction
from cometbot.store.dialogs import INTERNAL_PREFIX
from cometbot.store.leases import Leases
from cometbot.store.mailbox import Mailbox
from cometbot.store.outbox import Draft, Outbox
from cometbot.store.quick_replies import save_quick_replies
from cometbot.store.state import StateTable
from cometbot.store.tables import (
    DEAD,
    DISCARDED,
    DONE,
    IS_DEAD,
    IS_QUEUED,
    IS_WAITING,
    PENDING_REPLY,
    QUEUED,
    RUNNING,
    SENT,
    WAITING,
    broadcast_recipients,
    broadcasts,
    in_state,
    outbox,
)
from cometbot.store.tables import state as state_table

BROADCAST_PREFIX = f"{INTERNAL_PREFIX}broadcast:"
"""The prefix of the event keys by which broadcasts do their work."""

PREPARING, PAUSED, CANCELLED = "preparing", "paused", "cancelled"
REFUSED, DROPPED, OPTED_OUT = "refused", "dropped", "opted_out"

_MAX_REASONS = 20

_recipients = broadcast_recipients.c
_has_id = broadcasts.c.id == bound("broadcast")
_is_live = broadcasts.c.state.in_([RUNNING, DONE])
_of_broadcast = _recipients.broadcast == bound("broadcast")
_is_waiting = in_state(broadcast_recipients, IS_WAITING)
_is_queued = in_state(broadcast_recipients, IS_QUEUED)
_event = sa.literal("b").concat(sa.cast(_recipients.id, sa.Text))  # as make_event names it
_reply = (outbox.c.event == _event) & (outbox.c.generation == 0)
_waiting = sa.select(_recipients.id, _recipients.uid).where(_of_broadcast, _is_waiting).order_by(_recipients.id)
_any_waiting = sa.select(_recipients.id).where(_of_broadcast, _is_waiting).limit(1)
_set_next = sa.update(broadcasts).where(_has_id, _is_live).values(next_at=bound("next"))
_settle = (
    sa.update(broadcast_recipients)
    .where(_recipients.id == bound("row"), _is_waiting)
    .values(state=bound("to"), at=bound("now"), error=bound("why", type_=sa.Text))
)
_finish = (
    sa.update(broadcasts)
    .where(_has_id, _is_live, sa.not_(sa.exists(_any_waiting)))
    .values(state=DONE, ended_at=bound("now"))
)
_count_states = sa.select(_recipients.state, sa.func.count()).where(_of_broadcast).group_by(_recipients.state)
_rank = sa.case((outbox.c.state == DEAD, 3), (outbox.c.state == DISCARDED, 2), (outbox.c.state == SENT, 0), else_=1)
_SENT, _SENDING = 0, 1
_ranks = (
    sa.select(sa.func.coalesce(sa.func.max(_rank), _SENT).label("rank"), sa.func.max(outbox.c.error).label("error"))
    .select_from(broadcast_recipients.outerjoin(outbox, _reply))
    .where(_of_broadcast, _recipients.state == QUEUED)
    .group_by(_recipients.id)
    .subquery()
)
_count_queued = sa.select(_ranks.c.rank, _ranks.c.error, sa.func.count()).group_by(_ranks.c.rank, _ranks.c.error)
_count_refused = (
    sa.select(_recipients.error, sa.func.count())
    .where(_of_broadcast, _recipients.state == REFUSED)
    .group_by(_recipients.error)
)
_open_reply = sa.exists().where(_reply, sa.or_(in_state(outbox, PENDING_REPLY), in_state(outbox, IS_DEAD)))
_discarded_reply = sa.exists().where(_reply, outbox.c.state == DISCARDED)
_find_ended = (
    sa.select(_recipients.id, sa.case((_discarded_reply, REFUSED), else_=SENT))
    .where(_is_queued, _recipients.at < bound("before"), sa.not_(_open_reply))
    .order_by(_recipients.at)
    .limit(bound("most", type_=sa.Integer))
)
_end_queued = sa.update(broadcast_recipients).where(_recipients.id == bound("row")).values(state=bound("to"))
_find_old = (
    sa.select(broadcasts.c.id)
    .where(
        broadcasts.c.ended_at < bound("before"),
        broadcasts.c.state.in_([DONE, CANCELLED]),
        sa.not_(sa.exists().where(_recipients.broadcast == broadcasts.c.id, _recipients.state == QUEUED)),
    )
    .limit(1)
)


@dataclass(frozen=True, slots=True)
class BroadcastRow:
    """A stored broadcast; times are Unix seconds. ``content`` is its message as JSON, None while it is prepared."""

    id: int
    bot: str
    name: str
    channel: str
    account: str
    digest: str
    content: Mapping[str, Any] | None
    pace: str
    state: str
    starts: int
    next_at: float
    created_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Counts:
    """The recipients of a broadcast by what became of their message, and the reasons of refusals, most first."""

    waiting: int = 0
    sending: int = 0
    sent: int = 0
    refused: int = 0
    dropped: int = 0
    opted_out: int = 0
    reasons: tuple[tuple[str, int], ...] = ()

    @property
    def total(self) -> int:
        """The number of all recipients."""
        return self.waiting + self.sending + self.sent + self.refused + self.dropped + self.opted_out


@dataclass(frozen=True, slots=True)
class Delivered:
    """The part of a batch for one recipient: the message ``draft``, or why there is none.

    ``user`` is the owner of the state that says if they have opted out. ``offers`` are the quick replies of the
    message.
    """

    recipient: int
    state: str
    draft: Draft | None = None
    user: str = ""
    error: str = ""
    offers: Sequence[Mapping[str, Any]] = ()
    has_limits: bool = False


class Broadcasts:
    """The tables ``broadcasts`` and ``broadcast_recipients``. All methods work inside the caller's transaction."""

    def __init__(self, database: Database, leases: Leases, mailbox: Mailbox, outbox: Outbox, state: StateTable) -> None:
        self._database = database
        self._leases = leases
        self._mailbox = mailbox
        self._outbox = outbox
        self._state = state

    def create(
        self, connection: Transaction, bot: str, name: str, channel: str, account: str, digest: str, pace: str
    ) -> BroadcastRow:
        """Return the broadcast of this name, created if there is none."""
        values = {"bot": bot, "name": name, "channel": channel, "account": account, "digest": digest, "pace": pace}
        insert = self._database.insert(broadcasts).values(
            **values, content="", state=PREPARING, created_at=self._database.clock()
        )
        connection.execute(insert.on_conflict_do_nothing(index_elements=["bot", "name"]))
        found = self.find(connection, name, bot)
        assert found is not None
        return found

    def set_content(self, connection: Transaction, id: int, content: Mapping[str, Any]) -> None:
        """Store the message of a broadcast that has none yet."""
        change = sa.update(broadcasts).where(broadcasts.c.id == id, broadcasts.c.content == "")
        connection.execute(change.values(content=json.dumps(content)))

    def add_recipients(self, connection: Transaction, id: int, uids: Iterable[str]) -> None:
        """Add users to a broadcast, apart from those that it has."""
        insert = self._database.insert(broadcast_recipients).on_conflict_do_nothing(index_elements=["broadcast", "uid"])
        connection.execute(insert, [{"broadcast": id, "uid": uid, "state": WAITING} for uid in uids])

    def start(self, connection: Transaction, id: int) -> bool:
        """Start a broadcast, or continue it. Return False if nothing is left to do, or it is cancelled or paused."""
        now = self._database.clock()
        if connection.execute(_any_waiting, {"broadcast": id}).first() is None:
            prepared = sa.update(broadcasts).where(broadcasts.c.id == id, broadcasts.c.state == PREPARING)
            connection.execute(prepared.values(state=DONE, ended_at=now))
            return False
        return self._go_on(connection, id, (PREPARING, RUNNING, DONE))

    def resume(self, connection: Transaction, id: int) -> bool:
        """Resume a broadcast. Return False if it is not paused."""
        return self._go_on(connection, id, (PAUSED,))

    def _go_on(self, connection: Transaction, id: int, states: Collection[str]) -> bool:
        change = sa.update(broadcasts).where(broadcasts.c.id == id, broadcasts.c.state.in_(states))
        started = change.values(state=RUNNING, starts=broadcasts.c.starts + 1, ended_at=None)
        row = connection.execute(started.returning(broadcasts.c.bot, broadcasts.c.starts)).first()
        if row is None:
            return False
        conversation = make_broadcast_conversation(row.bot, id)
        self._leases.mark_pending(connection, conversation)
        key, body = f"{BROADCAST_PREFIX}{id}:{row.starts}", json.dumps({"broadcast": id}).encode()
        self._mailbox.add_internal(connection, [(conversation, key, body)])
        return True

    def stop(self, connection: Transaction, id: int, state: str) -> bool:
        """Pause or cancel a broadcast. Return False if it is over, or is so already."""
        may_stop = [PREPARING, RUNNING] if state == PAUSED else [PREPARING, RUNNING, PAUSED]
        change = sa.update(broadcasts).where(broadcasts.c.id == id, broadcasts.c.state.in_(may_stop))
        ended_at = self._database.clock() if state == CANCELLED else None
        return connection.execute(change.values(state=state, ended_at=ended_at)).rowcount > 0

    def list_waiting(self, connection: Transaction, id: int, limit: int) -> list[tuple[int, str]]:
        """Return the next ``limit`` recipients that wait: the number of each, and the uid."""
        return [(row.id, row.uid) for row in connection.execute(_waiting.limit(limit), {"broadcast": id})]

    def save_batch(
        self, connection: Transaction, id: int, batch: Sequence[Delivered], next_at: float
    ) -> Counter[str] | None:
        """Store what becomes of some recipients, each once, with their messages. Their conversations are marked.

        Users who have opted out by now get nothing. Return the number of recipients by their new states. Return None,
        without storing anything, if the broadcast was stopped.
        """
        counts = Counter[str]()
        if connection.execute(_set_next, {"broadcast": id, "next": next_at}).rowcount == 0:
            return None
        opted_out = self._find_opted_out(connection, [item.user for item in batch if item.draft is not None])
        now = self._database.clock()
        for item in batch:
            state = OPTED_OUT if item.draft is not None and item.user in opted_out else item.state
            values = {"row": item.recipient, "to": state, "now": now, "why": storable_text(item.error) or None}
            if connection.execute(_settle, values).rowcount == 0:
                continue
            counts[state] += 1
            if state == QUEUED and item.draft is not None:
                self._outbox.add(connection, [item.draft])
                key, limited = item.draft.conversation.key_text, item.has_limits
                save_quick_replies(connection, self._state, key, item.offers, has_limits=limited, now=now)
        return counts

    def _find_opted_out(self, connection: Transaction, users: Sequence[str]) -> set[str]:
        columns = state_table.c
        query = sa.select(columns.owner).where(
            columns.scope == "user", columns.owner.in_(users), columns.name == OPTED_OUT_KEY
        )
        return set(connection.execute(query).scalars()) if users else set()

    def finish(self, connection: Transaction, id: int) -> None:
        """Mark a broadcast as done, unless somebody waits or it was stopped."""
        connection.execute(_finish, {"broadcast": id, "now": self._database.clock()})

    def get(self, connection: Transaction, id: int) -> BroadcastRow | None:
        """Return the broadcast with this number, or None."""
        row = connection.execute(sa.select(broadcasts).where(_has_id), {"broadcast": id}).mappings().one_or_none()
        return _to_row(row) if row is not None else None

    def find(self, connection: Transaction, name: str, bot: str = "") -> BroadcastRow | None:
        """Return the newest broadcast with this name, of one bot or of any; None if there is none."""
        query = sa.select(broadcasts).where(broadcasts.c.name == name).order_by(broadcasts.c.id.desc()).limit(1)
        row = connection.execute(query.where(broadcasts.c.bot == bot) if bot else query).mappings().first()
        return _to_row(row) if row is not None else None

    def list(
        self, connection: Transaction, bot: str = "", limit: int = 100, *, account: str = ""
    ) -> list[BroadcastRow]:
        """Return the newest broadcasts of one bot or of all, and of one account or of all."""
        query = sa.select(broadcasts).order_by(broadcasts.c.id.desc()).limit(limit)
        query = query.where(broadcasts.c.account == account) if account else query
        rows = connection.execute(query.where(broadcasts.c.bot == bot) if bot else query).mappings()
        return [_to_row(row) for row in rows]

    def count(self, connection: Transaction, id: int) -> Counts:
        """Return what became of the recipients of a broadcast."""
        values = {"broadcast": id}
        states: dict[str, int] = dict(connection.execute(_count_states, values).all())
        sent, sending, refused = states.get(SENT, 0), 0, states.get(REFUSED, 0)
        reasons = Counter({error or "discarded": count for error, count in connection.execute(_count_refused, values)})
        for rank, error, count in connection.execute(_count_queued, values) if states.get(QUEUED) else ():
            if rank <= _SENDING:
                sent, sending = (sent + count, sending) if rank == _SENT else (sent, sending + count)
            else:
                refused += count
                reasons[error or "discarded"] += count
        return Counts(
            states.get(WAITING, 0),
            sending,
            sent,
            refused,
            states.get(DROPPED, 0),
            states.get(OPTED_OUT, 0),
            tuple(reasons.most_common(_MAX_REASONS)),
        )

    def count_recipients(self, connection: Transaction, id: int) -> int:
        """Return the number of recipients of a broadcast."""
        return connection.execute(
            sa.select(sa.func.count()).select_from(broadcast_recipients).where(_of_broadcast), {"broadcast": id}
        ).scalar_one()

    def settle_ended(self, connection: Transaction, before: float, limit: int) -> int:
        """Record what became of at most ``limit`` messages that ended before the purge deletes them from the outbox."""
        rows = connection.execute(_find_ended, {"before": before, "most": limit}).all()
        if rows:
            connection.execute(_end_queued, [{"row": row, "to": state} for row, state in rows])
        return len(rows)

    def purge(self, connection: Transaction, before: float, limit: int) -> int:
        """Delete at most ``limit`` recipients of a broadcast that ended before ``before``, at last the broadcast.

        One with dead letters is kept as long as those.
        """
        id = connection.execute(_find_old, {"before": before}).scalar()
        if id is None:
            return 0
        rows = connection.execute(sa.select(_recipients.id).where(_recipients.broadcast == id).limit(limit)).scalars()
        ids = list(rows)
        if len(ids) < limit:
            connection.execute(sa.delete(broadcasts).where(broadcasts.c.id == id))
        connection.execute(sa.delete(broadcast_recipients).where(_recipients.id.in_(ids)))
        return limit  # there may be another one

    def erase(self, connection: Transaction, channel: str, uid: str, bot: str = "") -> None:
        """Delete a user from the broadcasts on a channel, of one bot or of all."""
        own = sa.select(broadcasts.c.id).where(broadcasts.c.channel == channel)
        own = own.where(broadcasts.c.bot == bot) if bot else own
        connection.execute(
            sa.delete(broadcast_recipients).where(_recipients.uid == uid, _recipients.broadcast.in_(own))
        )


def _to_row(row: sa.RowMapping) -> BroadcastRow:
    values = dict(row)
    return BroadcastRow(**{**values, "content": json.loads(values["content"]) if values["content"] else None})
