"""Who works on which conversation: at most one lane, in one process, for as long as that process shows that it
lives."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import Connection

from cometbot.errors import LeaseLost
from cometbot.models import Conversation
from cometbot.store.clock import LEASE, since_boot
from cometbot.store.database import Database
from cometbot.store.tables import conversations, mailbox, outbox, processes

HEARTBEAT = 5.0
"""Seconds between two signs of life."""

_alive = sa.exists().where(processes.c.token == conversations.c.process, processes.c.lease_until > bound("now"))
_free = sa.or_(conversations.c.token.is_(None), sa.not_(_alive))
_mine = (conversations.c.lane == bound("key"), conversations.c.token == bound("held"))

# Word for word the condition of the index "conversations_undone", or SQLite does not use it.
_has_something_undone = sa.text(
    "(conversations.mail OR conversations.token IS NOT NULL OR conversations.due_at IS NOT NULL)"
)

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
_find_dead = sa.select(conversations.c.token).where(
    conversations.c.lane == bound("key"), conversations.c.token.is_not(None), sa.not_(_alive)
)
# By its token: a statement that waits for the row would apply `_alive`, as it was before, to a newer holder.
_take_dead = sa.update(conversations).where(*_mine).values(_grant).returning(*_columns[1:])
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
_held_by = sa.select(conversations.c.lane, conversations.c.token).where(
    conversations.c.process == bound("who"), conversations.c.token.is_not(None), _has_something_undone
)
_ring = sa.update(conversations).where(conversations.c.lane == bound("key")).values(mail=True)
_holder = sa.select(conversations.c.process).where(conversations.c.lane == bound("lane"))
_is_alive = sa.select(processes.c.token).where(
    processes.c.token == bound("who"), processes.c.lease_until > bound("now")
)
_all_forgotten = (
    sa.select(conversations.c.lane)
    .where(
        _has_something_undone,
        sa.or_(conversations.c.due_at.is_(None), conversations.c.due_at <= bound("now")),
        _free,
        # Not the bare column: with that, the index by bot and target would be read, and so all its conversations.
        conversations.c.bot.concat("").in_(bound("bots", expanding=True)),
    )
    .order_by(conversations.c.due_at)
    .limit(bound("most"))
)
_forgotten = _all_forgotten.where(conversations.c.channel.in_(bound("channels", expanding=True)))
_has_replies = sa.exists().where(
    outbox.c.lane == conversations.c.lane, sa.text("outbox.state IN ('ready', 'sending', 'held', 'unknown')")
)
_forgotten_in_part = _all_forgotten.where(
    sa.or_(
        conversations.c.channel.in_(bound("channels", expanding=True)),
        sa.and_(conversations.c.channel.in_(bound("only_handled", expanding=True)), sa.not_(_has_replies)),
        sa.and_(conversations.c.channel.in_(bound("only_sent", expanding=True)), _has_replies),
    )
)
_undone = sa.select(conversations.c.lane).where(_has_something_undone).limit(1)
_old_mail = sa.exists().where(
    mailbox.c.lane == conversations.c.lane,
    sa.text("mailbox.state IN ('waiting', 'running')"),
    mailbox.c.received_at < bound("before"),
)
_old_reply = sa.exists().where(
    outbox.c.lane == conversations.c.lane,
    sa.text("outbox.state IN ('ready', 'sending', 'held', 'unknown')"),
    outbox.c.created_at < bound("before"),
)
_is_late = sa.or_(
    conversations.c.due_at < bound("before"), sa.and_(conversations.c.due_at.is_(None), sa.or_(_old_mail, _old_reply))
)
_stuck = sa.select(conversations.c.bot).where(_has_something_undone, _free, _is_late).limit(bound("most")).subquery()
_count_stuck = sa.select(_stuck.c.bot, sa.func.count()).group_by(_stuck.c.bot)
_bury = sa.delete(processes).where(processes.c.lease_until < bound("before"))
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
    """This process's sign of life in the database, which renews all its leases in one write.

    It knows which of its leases a lane works under. Where the database did not say what became of a write, it may hold
    others, which this process would renew for ever though nobody works there: those are in doubt.
    """

    def __init__(self, database: Database, *, handles: bool = True) -> None:
        self.token = secrets.token_hex(8)
        self.address = ""
        self._database = database
        self._handles = handles
        self._seen = float("-inf")
        self._beating = threading.Lock()
        self._worked: set[str] = set()
        self._in_doubt = threading.Event()
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
        # A server that crashed may have forgotten a release that it had confirmed, without anybody's noticing.
        self.doubt()

    @contextmanager
    def lease_token(self) -> Iterator[str]:
        """The token for a lease that is worked under until the block ends. A block that fails leaves doubt."""
        token = secrets.token_hex(8)
        self._worked.add(token)
        try:
            yield token
        except BaseException:
            self.doubt()
            raise
        finally:
            self._worked.discard(token)

    def doubt(self) -> None:
        """Note that the database may hold a lease of this process under which nobody works."""
        self._in_doubt.set()

    def give_back_lost(self, leases: Leases) -> list[str]:
        """The lanes whose leases nobody works under, given back; looks only where there is doubt."""
        if not self._in_doubt.is_set():
            return []
        self._in_doubt.clear()
        try:
            with self._database.read() as connection:
                held = leases.held_by(connection, self.token)
            lost = [(lane, token) for lane, token in held if token not in self._worked]
            if not lost:
                return []
            with self._database.write(durable=False) as connection:
                return [lane for lane, token in lost if leases.give_back(connection, lane, token)]
        except BaseException:
            self._in_doubt.set()
            raise

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
        # Where it is known already, the row is locked (on PostgreSQL) and not written again.
        announce = insert.on_conflict_do_update(
            index_elements=["lane"], set_={"mail": True}, where=sa.not_(conversations.c.mail)
        ).returning(conversations.c.process)
        self._announce = database.prepare(announce)
        remember = database.insert(conversations).values(**row, mail=False)
        self._remember = database.prepare(remember.on_conflict_do_nothing(index_elements=["lane"]))
        self._holder = database.prepare(_holder)
        self._is_alive = database.prepare(_is_alive)
        self._take_free = database.prepare(_take_free)
        self._find_dead = database.prepare(_find_dead)
        self._take_dead = database.prepare(_take_dead)
        self._clear_mail = database.prepare(_clear_mail)
        self._check = database.prepare(_check)
        self._release = database.prepare(_release)

    def announce(self, connection: Connection, conversation: Conversation) -> bool:
        """Note that something is undone in ``conversation``; returns whether somebody with a live lease will see to
        it."""
        values = _values_of(conversation)
        row = self._announce(connection, values).fetchone() or self._holder(connection, values).fetchone()
        process = row[0]
        if process is None:
            return False
        return self._is_alive(connection, {"who": process, "now": self._clock()}).fetchone() is not None

    def remember(self, connection: Connection, conversation: Conversation) -> None:
        """Store that there is this conversation, where it is not known yet; nothing is to be done in it."""
        self._remember(connection, _values_of(conversation))

    def claim(self, connection: Connection, lane: str, process: str, token: str = "") -> Lease | None:
        """The lease of ``lane`` with its mail flag cleared, None if another live process has it."""
        token = token or secrets.token_hex(8)
        values = {"key": lane, "new_token": token, "new_process": process}
        row = self._take_free(connection, values).fetchone()
        if row is not None:
            return Lease(lane, token, to_conversation(row))
        dead = self._find_dead(connection, {"key": lane, "now": self._clock()}).fetchone()
        if dead is not None:
            row = self._take_dead(connection, {**values, "held": dead[0]}).fetchone()
            return Lease(lane, token, to_conversation(row), recovered=True) if row else None
        # The holder may have released it since the first statement.
        row = self._take_free(connection, values).fetchone()
        return Lease(lane, token, to_conversation(row)) if row else None

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

    def held_by(self, connection: Connection, process: str) -> list[tuple[str, str]]:
        """Lane and token of every lease of a process."""
        return [(lane, token) for lane, token in connection.execute(_held_by, {"who": process})]

    def give_back(self, connection: Connection, lane: str, token: str) -> bool:
        """Whether the lease with this token was there; the conversation is to be gone on with at once."""
        values = {"key": lane, "held": token, "due": None, "more": True}
        return bool(self._release(connection, values).rowcount > 0)

    def ring(self, connection: Connection, lane: str) -> None:
        """Note that something is undone in a conversation that is known already."""
        connection.execute(_ring, {"key": lane})

    def forgotten(
        self,
        connection: Connection,
        bots: Collection[str],
        channels: Collection[str],
        most: int = 500,
        *,
        only_handled: Collection[str] = (),
        only_sent: Collection[str] = (),
    ) -> list[str]:
        """Lanes with something to do now and nobody alive on them.

        In the channels ``only_handled`` that is a message without a reply that waits before it, in those ``only_sent``
        a reply.
        """
        values: dict[str, Any] = {"now": self._clock(), "bots": list(bots), "channels": list(channels), "most": most}
        if not only_handled and not only_sent:
            return list(connection.execute(_forgotten, values).scalars())
        values |= {"only_handled": list(only_handled), "only_sent": list(only_sent)}
        return list(connection.execute(_forgotten_in_part, values).scalars())

    def count_alive(self, connection: Connection) -> int:
        """How many processes handle messages now, as far as they have shown it."""
        alive = sa.select(sa.func.count()).where(processes.c.handles, processes.c.lease_until > self._clock())
        return connection.execute(alive.select_from(processes)).scalar_one()

    def stuck(self, connection: Connection, seconds: float, most: int = 1000) -> dict[str, int]:
        """For each bot: how many conversations have had something to do for longer than ``seconds`` and nobody on it.

        Counted up to ``most`` in all.
        """
        values = {"now": self._clock(), "before": self._clock() - seconds, "most": most}
        return dict(connection.execute(_count_stuck, values).all())

    def bury(self, connection: Connection, before: float) -> int:
        """How many processes were forgotten that have shown no sign of life since ``before``."""
        return connection.execute(_bury, {"before": before}).rowcount

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


def _values_of(conversation: Conversation) -> dict[str, Any]:
    key = conversation.key
    return {**key._asdict(), "lane": str(key), "target": conversation.target, "is_group": conversation.is_group}


def to_conversation(row: Sequence[Any]) -> Conversation:
    """The conversation in the columns channel, account, bot, conversation, target, is_group."""
    channel, account, bot, name, target, is_group = row
    return Conversation(channel, account, bot, name, target, bool(is_group))
