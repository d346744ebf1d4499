"""Who works on which conversation: at most one lane, in one process, for as long as that process shows that it
lives."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import Connection

from cometbot.errors import LeaseLost
from cometbot.models import Conversation
from cometbot.store.clock import since_boot
from cometbot.store.database import Database
from cometbot.store.tables import conversations, processes

LEASE = 15.0
"""Seconds that a process's leases last from its last sign of life."""

HEARTBEAT = 5.0
"""Seconds between two signs of life."""

_alive = sa.exists().where(processes.c.token == conversations.c.process, processes.c.lease_until > bound("now"))
_free = sa.or_(conversations.c.token.is_(None), sa.not_(_alive))
_mine = (conversations.c.lane == bound("key"), conversations.c.token == bound("held"))

_columns = (
    conversations.c.lane,
    conversations.c.channel,
    conversations.c.account,
    conversations.c.bot,
    conversations.c.conversation,
    conversations.c.target,
    conversations.c.is_group,
)
_grant = {
    "token": bound("new_token", type_=sa.Text),
    "process": bound("new_process", type_=sa.Text),
    "mail": False,
    "due_at": None,
}
_take_free = (
    sa.update(conversations)
    .where(conversations.c.lane == bound("key"), conversations.c.token.is_(None))
    .values(_grant)
    .returning(*_columns[1:])
)
_take_dead = (
    sa.update(conversations)
    .where(conversations.c.lane == bound("key"), sa.not_(_alive))
    .values(_grant)
    .returning(*_columns[1:])
)
_clear_mail = sa.update(conversations).where(*_mine).values(mail=False)
_check = sa.select(conversations.c.lane).where(*_mine).with_for_update()
_peek = sa.select(conversations.c.lane).where(*_mine)
_release = (
    sa.update(conversations)
    .where(*_mine)
    .values(
        token=None,
        process=None,
        due_at=bound("due", type_=sa.Double),
        mail=sa.or_(conversations.c.mail, bound("more", type_=sa.Boolean)),
    )
)
_ring = sa.update(conversations).where(conversations.c.lane == bound("key")).values(mail=True)
_is_alive = sa.select(processes.c.token).where(
    processes.c.token == bound("who"), processes.c.lease_until > bound("now")
)
_forgotten = (
    sa.select(conversations.c.lane)
    .where(
        sa.or_(
            conversations.c.mail,
            conversations.c.token.is_not(None),
            conversations.c.due_at.is_not(None),
        ),
        sa.or_(conversations.c.due_at.is_(None), conversations.c.due_at <= bound("now")),
        _free,
        conversations.c.bot.in_(bound("bots", expanding=True)),
        conversations.c.channel.in_(bound("channels", expanding=True)),
    )
    .order_by(conversations.c.due_at)
    .limit(bound("most"))
)
_undone = (
    sa.select(conversations.c.lane)
    .where(
        sa.or_(
            conversations.c.mail,
            conversations.c.token.is_not(None),
            conversations.c.due_at.is_not(None),
        )
    )
    .limit(1)
)
_conversation = sa.select(*_columns[1:]).where(conversations.c.lane == bound("key"))
_by_target = sa.select(*_columns[1:]).where(
    conversations.c.bot == bound("b"),
    conversations.c.target == bound("t"),
    conversations.c.channel == bound("ch"),
    conversations.c.account == bound("a"),
    conversations.c.is_group == bound("g"),
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one conversation; ``token`` is different each time. ``recovered``: its holder before had
    died."""

    lane: str
    token: str
    conversation: Conversation
    recovered: bool = False


class Process:
    """This process's sign of life in the database, which renews all its leases in one write."""

    def __init__(self, database: Database, *, handles: bool = True) -> None:
        self.token = secrets.token_hex(8)
        self.address = ""
        self._database = database
        self._handles = handles
        self._seen = float("-inf")
        self._beating = threading.Lock()
        insert = database.insert(processes).values(
            token=self.token, handles=handles, address=bound("where"), lease_until=bound("until")
        )
        self._beat = insert.on_conflict_do_update(
            index_elements=["token"], set_={"lease_until": insert.excluded.lease_until}
        )

    def beat(self) -> None:
        """Show that this process lives. Raises :class:`StoreBusy` when the database does not take it."""
        with self._beating:
            began = since_boot()
            with self._database.write(durable=False) as connection:
                connection.execute(self._beat, {"until": self._database.clock() + LEASE, "where": self.address})
            self._seen = began

    def remaining(self) -> float:
        """Seconds for which this process's leases surely still hold."""
        return self._seen + LEASE - since_boot()

    def leave(self) -> None:
        """Give up every lease at once; others need not wait for them to run out."""
        with self._beating, self._database.write(durable=False) as connection:
            connection.execute(sa.delete(processes).where(processes.c.token == self.token))
            self._seen = float("-inf")


class Leases:
    """The table ``conversations``. All methods work inside the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._clock: Callable[[], float] = lambda: database.clock()
        names = ("lane", "channel", "account", "bot", "conversation", "target", "is_group")
        row: dict[str, Any] = {name: bound(name) for name in names}
        insert = database.insert(conversations).values(**row, mail=True)
        announce = insert.on_conflict_do_update(index_elements=["lane"], set_={"mail": True}).returning(
            conversations.c.process
        )
        self._announce = database.prepare(announce)
        self._is_alive = database.prepare(_is_alive)
        self._take_free = database.prepare(_take_free)
        self._take_dead = database.prepare(_take_dead)
        self._clear_mail = database.prepare(_clear_mail)
        self._check = database.prepare(_check)
        self._release = database.prepare(_release)

    def announce(self, connection: Connection, conversation: Conversation) -> bool:
        """Note that something is undone in ``conversation``; returns whether somebody with a live lease will see to
        it."""
        key = conversation.key
        values = {**key._asdict(), "lane": str(key), "target": conversation.target, "is_group": conversation.is_group}
        [process] = self._announce(connection, values).fetchone()
        if process is None:
            return False
        return self._is_alive(connection, {"who": process, "now": self._clock()}).fetchone() is not None

    def claim(self, connection: Connection, lane: str, process: str) -> Lease | None:
        """The lease of ``lane`` with its mail flag cleared, None if another live process has it."""
        token = secrets.token_hex(8)
        values = {"key": lane, "new_token": token, "new_process": process}
        row = self._take_free(connection, values).fetchone()
        if row is not None:
            return Lease(lane, token, to_conversation(row))
        row = self._take_dead(connection, {**values, "now": self._clock()}).fetchone()
        return Lease(lane, token, to_conversation(row), recovered=True) if row else None

    def clear_mail(self, connection: Connection, lease: Lease) -> None:
        """Take the flag down before looking for what it announced. Raises :class:`LeaseLost`."""
        if self._clear_mail(connection, {"key": lease.lane, "held": lease.token}).rowcount == 0:
            raise LeaseLost

    def check(self, connection: Connection, lease: Lease) -> None:
        """Nothing, if the lease still holds; it then holds until the transaction ends. Raises :class:`LeaseLost`."""
        if self._check(connection, {"key": lease.lane, "held": lease.token}).fetchone() is None:
            raise LeaseLost

    def holds(self, connection: Connection, lease: Lease) -> bool:
        """Whether the lease holds at this moment."""
        return connection.execute(_peek, {"key": lease.lane, "held": lease.token}).first() is not None

    def release(self, connection: Connection, lease: Lease, *, due_at: float | None = None, more: bool = False) -> None:
        """Give the conversation back, to be gone on with at ``due_at``, or at once where there is ``more``."""
        values = {"key": lease.lane, "held": lease.token, "due": due_at, "more": more}
        if self._release(connection, values).rowcount == 0:
            raise LeaseLost

    def ring(self, connection: Connection, lane: str) -> None:
        """Note that something is undone in a conversation that is known already."""
        connection.execute(_ring, {"key": lane})

    def forgotten(
        self, connection: Connection, bots: Collection[str], channels: Collection[str], most: int = 500
    ) -> list[str]:
        """Lanes with something to do now and nobody alive on them."""
        values = {"now": self._clock(), "bots": list(bots), "channels": list(channels), "most": most}
        return list(connection.execute(_forgotten, values).scalars())

    def count_alive(self, connection: Connection) -> int:
        """How many processes handle messages now, as far as they have shown it."""
        alive = sa.select(sa.func.count()).where(processes.c.handles, processes.c.lease_until > self._clock())
        return connection.execute(alive.select_from(processes)).scalar_one()

    def is_idle(self, connection: Connection) -> bool:
        """Whether no conversation has anything undone, now or later."""
        return connection.execute(_undone).first() is None

    def find(self, connection: Connection, lane: str) -> Conversation | None:
        """The conversation behind a lane's name."""
        row = connection.execute(_conversation, {"key": lane}).one_or_none()
        return to_conversation(row) if row else None

    def find_target(self, connection: Connection, wanted: Conversation) -> Conversation:
        """The known conversation of ``wanted``'s bot with the same target, else ``wanted`` itself."""
        values = {"b": wanted.bot, "t": wanted.target, "ch": wanted.channel, "a": wanted.account, "g": wanted.is_group}
        row = connection.execute(_by_target, values).first()
        return to_conversation(row) if row else wanted


def to_conversation(row: Sequence[Any]) -> Conversation:
    """The conversation in the columns channel, account, bot, conversation, target, is_group."""
    channel, account, bot, name, target, is_group = row
    return Conversation(channel, account, bot, name, target, bool(is_group))
