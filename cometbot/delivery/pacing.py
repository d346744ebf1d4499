"""When to try again, and when a whole account has to be left alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import Connection

from cometbot.delivery.causes import storable
from cometbot.models import LaneKey
from cometbot.store.database import Database
from cometbot.store.tables import conversations, pauses

_PROBING = "tried out by a send"

# Locked, so that nobody goes to sleep because of a pause that ends at this moment: who ends it wakes the sleepers.
_get = sa.select(pauses.c.until).where(pauses.c.account == bound("key")).with_for_update()
_probe = (
    sa.update(pauses)
    .where(pauses.c.account == bound("key"), pauses.c.until <= bound("now"))
    .values(until=bound("then"), reason=_PROBING)
)
# Not a pause that somebody else was told of in the meantime.
_clear = sa.delete(pauses).where(pauses.c.account == bound("key"), pauses.c.reason == _PROBING)

_waiting = sa.select(conversations.c.lane).where(
    conversations.c.channel == bound("ch"),
    conversations.c.account == bound("acc"),
    conversations.c.due_at.is_not(None),
)
# Whose row is locked is being worked on and looks for itself; to wait for it could mean to wait for each other.
_go_on = (
    sa.update(conversations)
    .where(conversations.c.lane.in_(_waiting.with_for_update(skip_locked=True)))
    .values(due_at=bound("now"))
)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the n-th repetition: doubling from ``first`` to ``most`` seconds, spread by
    ``jitter``."""

    first: float = 0.5
    most: float = 300.0
    jitter: float = 0.25

    def seconds(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        wait = min(self.most, self.first * 2.0 ** min(failures, 30))
        return wait * (1 + self.jitter * random.random())


@dataclass(frozen=True, slots=True)
class Wait:
    """``seconds`` until an account may be sent to. ``probing``: a pause ran out, and this is the send that tries it."""

    seconds: float = 0.0
    probing: bool = False


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """How hard a reply is tried: ``timeout`` seconds a request, ``tries`` requests that may have failed for its own
    fault, ``age`` seconds in all."""

    timeout: float = 8.0
    tries: int = 12
    age: float = 24 * 3600.0
    backoff: Backoff = Backoff()
    outage: Backoff = Backoff(first=0.5, most=30.0)


class Pauses:
    """The table ``pauses``: accounts that no process may send to for a while. Methods work in the caller's
    transaction."""

    def __init__(self, database: Database) -> None:
        self._clock: Callable[[], float] = lambda: database.clock()
        self._get = database.prepare(_get)
        row = database.insert(pauses)
        self._set = row.on_conflict_do_update(
            index_elements=["account"],
            set_={"until": row.excluded.until, "reason": row.excluded.reason, "failures": pauses.c.failures + 1},
        )

    def wait(self, connection: Connection, key: LaneKey, probe: float) -> Wait:
        """How long this account has to be left alone.

        When a pause has run out, the first who asks is its probe; the others wait up to ``probe`` seconds more for
        what becomes of it.
        """
        row = self._get(connection, {"key": account_name(key)}).fetchone()
        if row is None:
            return Wait()
        until, now = row[0], self._clock()
        if until > now:
            return Wait(until - now)
        values = {"key": account_name(key), "now": now, "then": now + probe}
        return Wait(probing=True) if connection.execute(_probe, values).rowcount else Wait(probe)

    def set(self, connection: Connection, key: LaneKey, seconds: float, reason: str) -> None:
        """Let nobody send to this account for ``seconds``."""
        until, why = self._clock() + seconds, storable(reason)
        values = {"account": account_name(key), "until": until, "reason": why, "failures": 1}
        connection.execute(self._set, values)

    def clear(self, connection: Connection, key: LaneKey) -> None:
        """End the pause that was tried out, and let the conversations that waited for it go on at once."""
        if connection.execute(_clear, {"key": account_name(key)}).rowcount == 0:
            return
        connection.execute(_go_on, {"ch": key.channel, "acc": key.account, "now": self._clock()})


def account_name(key: LaneKey) -> str:
    """What the account of a conversation is called in the table."""
    return f"{key.channel}/{key.account}"
