"""Throttles: accounts that no process may send to for a while."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import Connection

from cometbot.error_text import storable_text
from cometbot.models import ConversationKey
from cometbot.store.database import Database
from cometbot.store.tables import conversations, pauses

_TRIAL_REASON = "tried out by a send"

# Locked, so that no conversation waits for a throttle that ends at this moment: ending it resumes the waiting ones.
_get = sa.select(pauses.c.until).where(pauses.c.account == bound("key")).with_for_update()
_count_rate_limits = sa.select(pauses.c.failures).where(pauses.c.account == bound("key"))
_start_trial = (
    sa.update(pauses)
    .where(pauses.c.account == bound("key"), pauses.c.until <= bound("now"))
    .values(until=bound("then"), reason=_TRIAL_REASON)
)
# Only the throttle that was tried, not one that another process set in the meantime.
_clear = sa.delete(pauses).where(pauses.c.account == bound("key"), pauses.c.reason == _TRIAL_REASON)

_waiting_conversations = sa.select(conversations.c.conversation_key).where(
    conversations.c.channel == bound("ch"),
    conversations.c.account == bound("acc"),
    conversations.c.due_at.is_not(None),
)
# A locked row belongs to a runner, which checks the throttle itself; waiting for the lock could cause a deadlock.
_resume_waiting = (
    sa.update(conversations)
    .where(conversations.c.conversation_key.in_(_waiting_conversations.with_for_update(skip_locked=True)))
    .values(due_at=bound("now"))
)


@dataclass(frozen=True, slots=True)
class ThrottleState:
    """The throttle of an account: the ``seconds`` until it may be sent to.

    ``is_trial`` is True if a throttle has expired and this send is the trial request.
    """

    seconds: float = 0.0
    is_trial: bool = False


class AccountThrottles:
    """The table ``pauses``: accounts that no process may send to for a while.

    All methods work inside the caller's transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._get = database.prepare(_get)
        row, columns = database.insert(pauses), pauses.c
        # Requests in flight when the throttle began are refused too; they neither count as refusals nor shorten it.
        is_active = sa.and_(columns.until > bound("now"), columns.reason != _TRIAL_REASON)
        longest = sa.case(
            (sa.and_(is_active, columns.until > row.excluded.until), columns.until), else_=row.excluded.until
        )
        refusals = sa.case((row.excluded.failures == 0, 0), (is_active, columns.failures), else_=columns.failures + 1)
        self._set = row.on_conflict_do_update(
            index_elements=["account"],
            set_={"until": longest, "reason": row.excluded.reason, "failures": refusals},
        )

    def acquire(self, connection: Connection, key: ConversationKey, trial_timeout: float) -> ThrottleState:
        """Return the throttle of this account.

        When a throttle has expired, the first caller sends the trial request. The others wait up to ``trial_timeout``
        seconds more for its result.
        """
        row = self._get(connection, {"key": account_key(key)}).fetchone()
        if row is None:
            return ThrottleState()
        until, now = row[0], self._database.clock()
        if until > now:
            return ThrottleState(until - now)
        values = {"key": account_key(key), "now": now, "then": now + trial_timeout}
        return (
            ThrottleState(is_trial=True)
            if connection.execute(_start_trial, values).rowcount
            else ThrottleState(trial_timeout)
        )

    def count_rate_limits(self, connection: Connection, key: ConversationKey) -> int:
        """Return the number of times in a row that this account was refused for too many requests."""
        return int(connection.execute(_count_rate_limits, {"key": account_key(key)}).scalar() or 0)

    def set(
        self,
        connection: Connection,
        key: ConversationKey,
        seconds: float,
        reason: str,
        *,
        is_rate_limited: bool = False,
    ) -> None:
        """Throttle this account for ``seconds``; a throttle that lasts longer is kept.

        ``is_rate_limited``: the platform refused a request because there were too many. Any other reason resets the
        count of refusals.
        """
        now, stored_reason = self._database.clock(), storable_text(reason)
        values = {
            "account": account_key(key),
            "until": now + seconds,
            "reason": stored_reason,
            "failures": int(is_rate_limited),
        }
        connection.execute(self._set.values(values), {"now": now})

    def clear(self, connection: Connection, key: ConversationKey) -> None:
        """End the throttle that was tried, and resume the conversations that wait for it at once."""
        if connection.execute(_clear, {"key": account_key(key)}).rowcount == 0:
            return
        connection.execute(_resume_waiting, {"ch": key.channel, "acc": key.account, "now": self._database.clock()})


def account_key(key: ConversationKey) -> str:
    """Return the key of the conversation's account in the table."""
    return f"{key.channel}/{key.account}"
