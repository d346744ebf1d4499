"""Leases on conversations: at most one runner, in one process, for as long as that process sends heartbeats."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as bound
from sqlalchemy.engine import Connection

from cometbot.errors import LeaseLost
from cometbot.models import Conversation
from cometbot.store.clock import LEASE_TTL, seconds_since_boot
from cometbot.store.database import Database
from cometbot.store.tables import (
    CONVERSATION_COLUMNS,
    conversation_columns,
    conversations,
    has_pending,
    mailbox,
    outbox,
    processes,
)

HEARTBEAT_INTERVAL = 5.0
"""Seconds between two heartbeats."""

_holder_is_alive = sa.exists().where(
    processes.c.token == conversations.c.process, processes.c.lease_until > bound("now")
)
_is_free = sa.or_(conversations.c.token.is_(None), sa.not_(_holder_is_alive))
_has_key = conversations.c.conversation_key == bound("key")
_is_held = (_has_key, conversations.c.token == bound("held"))

# Literally the condition of the index "conversations_undone", or SQLite does not use it.
_has_pending_work = sa.text(
    "(conversations.mail OR conversations.token IS NOT NULL OR conversations.due_at IS NOT NULL)"
)

_lease_values = {
    "token": bound("new_token", type_=sa.Text),
    "process": bound("new_process", type_=sa.Text),
    "mail": False,
    "due_at": None,
}
_claim_free = (
    sa.update(conversations)
    .where(_has_key, conversations.c.token.is_(None))
    .values(_lease_values)
    .returning(*conversation_columns)
)
_find_dead_holder = sa.select(conversations.c.token).where(
    _has_key, conversations.c.token.is_not(None), sa.not_(_holder_is_alive)
)
# By its token: a statement that waits for the row would apply the old result of `_holder_is_alive` to a newer holder.
_claim_dead = sa.update(conversations).where(*_is_held).values(_lease_values).returning(*conversation_columns)
_clear_mail = sa.update(conversations).where(*_is_held).values(mail=False)
_check = sa.select(conversations.c.conversation_key).where(*_is_held).with_for_update()
_has_mail = sa.select(conversations.c.mail).where(*_is_held)
_select_held = sa.select(conversations.c.conversation_key).where(*_is_held)
_release_idle = (
    sa.update(conversations)
    .where(*_is_held, sa.not_(has_pending(mailbox, bound("key"))), sa.not_(has_pending(outbox, bound("key"))))
    .values(token=None, process=None, due_at=None, mail=False)
)
_release = (
    sa.update(conversations)
    .where(*_is_held)
    .values(
        token=None,
        process=None,
        due_at=bound("due", type_=sa.Double),
        mail=sa.or_(conversations.c.mail, bound("more", type_=sa.Boolean)),
    )
)
_held_by = sa.select(conversations.c.conversation_key, conversations.c.token).where(
    conversations.c.process == bound("who"), conversations.c.token.is_not(None), _has_pending_work
)
_set_mail = sa.update(conversations).where(_has_key).values(mail=True)
_holder = sa.select(conversations.c.process).where(conversations.c.conversation_key == bound("conversation_key"))
_find_alive_process = sa.select(processes.c.token).where(
    processes.c.token == bound("who"), processes.c.lease_until > bound("now")
)
_abandoned = (
    sa.select(conversations.c.conversation_key)
    .where(
        _has_pending_work,
        sa.or_(conversations.c.due_at.is_(None), conversations.c.due_at <= bound("now")),
        _is_free,
        # Not the bare column: with that, the index by bot and target would be used, which reads all conversations of
        # the bots.
        conversations.c.bot.concat("").in_(bound("bots", expanding=True)),
    )
    .order_by(conversations.c.due_at)
    .limit(bound("most"))
)
_abandoned_in_channels = _abandoned.where(conversations.c.channel.in_(bound("channels", expanding=True)))
_is_served_account = sa.or_(
    conversations.c.channel.not_in(bound("with_accounts", expanding=True)),
    conversations.c.account.in_(bound("accounts", expanding=True)),
)
_has_replies = has_pending(outbox, conversations.c.conversation_key)
_abandoned_by_role = _abandoned.where(
    sa.or_(
        conversations.c.channel.in_(bound("channels", expanding=True)),
        sa.and_(conversations.c.channel.in_(bound("only_handled", expanding=True)), sa.not_(_has_replies)),
        sa.and_(conversations.c.channel.in_(bound("only_sent", expanding=True)), _has_replies),
    )
)
_any_pending = sa.select(conversations.c.conversation_key).where(_has_pending_work).limit(1)
_old_message = has_pending(mailbox, conversations.c.conversation_key, mailbox.c.received_at < bound("before"))
_old_reply = has_pending(outbox, conversations.c.conversation_key, outbox.c.created_at < bound("before"))
_is_late = sa.or_(
    conversations.c.due_at < bound("before"),
    sa.and_(conversations.c.due_at.is_(None), sa.or_(_old_message, _old_reply)),
)
_stuck = sa.select(conversations.c.bot).where(_has_pending_work, _is_free, _is_late).limit(bound("most")).subquery()
_count_stuck = sa.select(_stuck.c.bot, sa.func.count()).group_by(_stuck.c.bot)
_delete_expired = sa.delete(processes).where(processes.c.lease_until < bound("before"))
_conversation = sa.select(*conversation_columns).where(_has_key)
_by_target = sa.select(*conversation_columns).where(
    conversations.c.bot == bound("b"),
    conversations.c.target == bound("t"),
    conversations.c.channel == bound("ch"),
    conversations.c.account == bound("a"),
    conversations.c.is_group == bound("g"),
)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one conversation.

    ``token`` differs each time. ``is_recovered`` is True if the previous holder had died.
    """

    conversation_key: str
    token: str
    conversation: Conversation
    is_recovered: bool = False


class ProcessRegistration:
    """The row of this process in the table ``processes``; its heartbeat renews all leases of the process in one write.

    The registration knows which leases a runner works under. If the outcome of a write is unknown, the database may
    hold further leases of this process, which the heartbeat would renew for ever although no runner works under them.
    Then the leases are uncertain.
    """

    def __init__(self, database: Database, *, handles: bool = True) -> None:
        self.token = secrets.token_hex(8)
        self.address = ""
        self._database = database
        self._handles = handles
        self._last_heartbeat = float("-inf")
        self._heartbeat_lock = threading.Lock()
        self._active_tokens: set[str] = set()
        self._uncertain = threading.Event()
        insert = database.insert(processes).values(
            token=self.token, handles=handles, address=bound("where"), lease_until=bound("until")
        )
        self._upsert = insert.on_conflict_do_update(
            index_elements=["token"], set_={"lease_until": insert.excluded.lease_until}
        )

    def heartbeat(self) -> None:
        """Renew the leases of this process. Raises :class:`StoreBusy` if the database does not accept the write."""
        with self._heartbeat_lock:
            started_at = seconds_since_boot()
            with self._database.write(durable=False) as connection:
                connection.execute(self._upsert, {"until": self._database.clock() + LEASE_TTL, "where": self.address})
            self._last_heartbeat = started_at
        # A server that crashed may have lost a release that it had confirmed, unnoticed by this process.
        self.mark_uncertain()

    @contextmanager
    def lease_token(self) -> Iterator[str]:
        """Yield the token for a lease that is in use until the block ends.

        A block that fails makes the leases uncertain.
        """
        token = secrets.token_hex(8)
        self._active_tokens.add(token)
        try:
            yield token
        except BaseException:
            self.mark_uncertain()
            raise
        finally:
            self._active_tokens.discard(token)

    def mark_uncertain(self) -> None:
        """Record that the database may hold a lease of this process under which no runner works."""
        self._uncertain.set()

    def release_lost(self, leases: Leases) -> list[str]:
        """Release the leases that no runner works under, and return their conversation keys.

        Reads the database only if :meth:`mark_uncertain` was called since the last successful run.
        """
        if not self._uncertain.is_set():
            return []
        self._uncertain.clear()
        try:
            with self._database.read() as connection:
                held = leases.list_held_by(connection, self.token)
            lost = [(conversation_key, token) for conversation_key, token in held if token not in self._active_tokens]
            if not lost:
                return []
            with self._database.write(durable=False) as connection:
                return [
                    conversation_key
                    for conversation_key, token in lost
                    if leases.release_token(connection, conversation_key, token)
                ]
        except BaseException:
            self._uncertain.set()
            raise

    def lease_time_left(self) -> float:
        """Return the seconds for which this process's leases are certain to hold."""
        return self._last_heartbeat + LEASE_TTL - seconds_since_boot()

    def deregister(self) -> None:
        """Give up every lease at once, so that other processes need not wait for their expiry."""
        with self._heartbeat_lock, self._database.write(durable=False) as connection:
            connection.execute(sa.delete(processes).where(processes.c.token == self.token))
            self._last_heartbeat = float("-inf")


class Leases:
    """The table ``conversations``. All methods work inside the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        names = ("conversation_key", *CONVERSATION_COLUMNS)
        row: dict[str, Any] = {name: bound(name) for name in names}
        insert = database.insert(conversations).values(**row, mail=True)
        # If the conversation is known and marked, its row is locked (on PostgreSQL) and not written again.
        mark_pending = insert.on_conflict_do_update(
            index_elements=["conversation_key"], set_={"mail": True}, where=sa.not_(conversations.c.mail)
        )
        self._upsert_pending = database.prepare(mark_pending.returning(conversations.c.process))
        self._upsert_many_pending = database.prepare(mark_pending)
        remember = database.insert(conversations).values(**row, mail=False)
        self._insert = database.prepare(remember.on_conflict_do_nothing(index_elements=["conversation_key"]))
        self._holder = database.prepare(_holder)
        self._find_alive_process = database.prepare(_find_alive_process)
        self._claim_free = database.prepare(_claim_free)
        self._find_dead_holder = database.prepare(_find_dead_holder)
        self._claim_dead = database.prepare(_claim_dead)
        self._clear_mail = database.prepare(_clear_mail)
        self._check = database.prepare(_check)
        self._release_idle = database.prepare(_release_idle)
        self._release = database.prepare(_release)

    def mark_pending(self, connection: Connection, conversation: Conversation) -> bool:
        """Mark that ``conversation`` has pending work, and return True if a process with a live lease will do it."""
        values = _row_values(conversation)
        row = self._upsert_pending(connection, values).fetchone() or self._holder(connection, values).fetchone()
        process = row[0]
        if process is None:
            return False
        return (
            self._find_alive_process(connection, {"who": process, "now": self._database.clock()}).fetchone() is not None
        )

    def mark_all_pending(self, connection: Connection, pending: Iterable[Conversation]) -> None:
        """Mark that these conversations have pending work, which locks their rows, in the order of their keys."""
        by_key = {conversation.key_text: conversation for conversation in pending}
        self._upsert_many_pending.run_many(connection, [_row_values(by_key[key]) for key in sorted(by_key)])

    def add(self, connection: Connection, conversation: Conversation) -> None:
        """Store the conversation, without pending work, if it is not known yet."""
        self._insert(connection, _row_values(conversation))

    def claim(self, connection: Connection, conversation_key: str, process: str, token: str = "") -> Lease | None:
        """Lease the conversation and clear its mail flag. Return None if it is unknown, or held by a live process."""
        token = token or secrets.token_hex(8)
        values = {"key": conversation_key, "new_token": token, "new_process": process}
        row = self._claim_free(connection, values).fetchone()
        if row is not None:
            return Lease(conversation_key, token, to_conversation(row))
        dead_holder = self._find_dead_holder(
            connection, {"key": conversation_key, "now": self._database.clock()}
        ).fetchone()
        if dead_holder is not None:
            row = self._claim_dead(connection, {**values, "held": dead_holder[0]}).fetchone()
            return Lease(conversation_key, token, to_conversation(row), is_recovered=True) if row else None
        # The holder may have released the conversation since the first statement.
        row = self._claim_free(connection, values).fetchone()
        return Lease(conversation_key, token, to_conversation(row)) if row else None

    def clear_mail(self, connection: Connection, lease: Lease) -> None:
        """Clear the mail flag before the mailbox is read, so that no notification is lost.

        Raises :class:`LeaseLost`.
        """
        if self._clear_mail(connection, {"key": lease.conversation_key, "held": lease.token}).rowcount == 0:
            raise LeaseLost

    def has_mail(self, connection: Connection, lease: Lease) -> bool:
        """Return True if something was stored since the mail flag was cleared."""
        return bool(connection.execute(_has_mail, {"key": lease.conversation_key, "held": lease.token}).scalar())

    def check(self, connection: Connection, lease: Lease) -> None:
        """Lock the lease, so that it holds until the transaction ends.

        Raises :class:`LeaseLost` if it no longer holds.
        """
        if self._check(connection, {"key": lease.conversation_key, "held": lease.token}).fetchone() is None:
            raise LeaseLost

    def holds(self, connection: Connection, lease: Lease) -> bool:
        """Return True if the lease holds at this moment."""
        return (
            connection.execute(_select_held, {"key": lease.conversation_key, "held": lease.token}).first() is not None
        )

    def release_idle(self, connection: Connection, lease: Lease) -> bool:
        """Release a lease that was checked in this transaction, if nothing is left to do; return True if it was.

        What is stored later waits for the lock of the check, and finds that nobody holds the conversation.
        """
        return bool(self._release_idle(connection, {"key": lease.conversation_key, "held": lease.token}).rowcount)

    def release(
        self, connection: Connection, lease: Lease, *, due_at: float | None = None, has_more: bool = False
    ) -> None:
        """Release the lease. Work continues at ``due_at``, or at once with ``has_more``.

        Raises :class:`LeaseLost`.
        """
        values = {"key": lease.conversation_key, "held": lease.token, "due": due_at, "more": has_more}
        if self._release(connection, values).rowcount == 0:
            raise LeaseLost

    def list_held_by(self, connection: Connection, process: str) -> list[tuple[str, str]]:
        """Return the conversation key and token of every lease of a process."""
        return [(conversation_key, token) for conversation_key, token in connection.execute(_held_by, {"who": process})]

    def release_token(self, connection: Connection, conversation_key: str, token: str) -> bool:
        """Release the lease with this token, and return True if there was such a lease.

        The conversation is marked as pending, so that work continues at once.
        """
        values = {"key": conversation_key, "held": token, "due": None, "more": True}
        return bool(self._release(connection, values).rowcount > 0)

    def mark_pending_by_key(self, connection: Connection, conversation_key: str) -> None:
        """Mark that a known conversation has pending work."""
        connection.execute(_set_mail, {"key": conversation_key})

    def find_abandoned(
        self,
        connection: Connection,
        bots: Collection[str],
        channels: Collection[str],
        limit: int = 500,
        *,
        only_handled: Collection[str] = (),
        only_sent: Collection[str] = (),
        accounts: Mapping[str, Collection[str]] | None = None,
    ) -> list[str]:
        """Return the keys of conversations that have something to do now and no live holder.

        In the channels ``only_handled`` these are conversations without a waiting reply, in those ``only_sent``
        conversations with one. Of the channels in ``accounts``, only these accounts are served.
        """
        values: dict[str, Any] = {
            "now": self._database.clock(),
            "bots": list(bots),
            "channels": list(channels),
            "most": limit,
        }
        query = _abandoned_in_channels
        if only_handled or only_sent:
            query = _abandoned_by_role
            values |= {"only_handled": list(only_handled), "only_sent": list(only_sent)}
        if accounts:
            query = query.where(_is_served_account)
            values |= {"with_accounts": list(accounts), "accounts": [one for some in accounts.values() for one in some]}
        return list(connection.execute(query, values).scalars())

    def list_addresses(self, connection: Connection, other_than: str) -> list[str]:
        """Return the addresses of all processes that have one, without the process with the token ``other_than``."""
        query = sa.select(processes.c.address).where(processes.c.token != other_than, processes.c.address != "")
        return list(connection.execute(query).scalars())

    def delete_processes(self, connection: Connection, addresses: Collection[str]) -> None:
        """Delete the processes with these addresses, so that their leases end."""
        connection.execute(sa.delete(processes).where(processes.c.address.in_(addresses)))

    def count_alive(self, connection: Connection) -> int:
        """Return the number of live processes that handle messages."""
        alive = sa.select(sa.func.count()).where(processes.c.handles, processes.c.lease_until > self._database.clock())
        return connection.execute(alive.select_from(processes)).scalar_one()

    def count_stuck(self, connection: Connection, seconds: float, limit: int = 1000) -> dict[str, int]:
        """Return the number of stuck conversations of each bot.

        A conversation is stuck if it has had pending work for longer than ``seconds`` without a live holder. At most
        ``limit`` conversations are counted in all.
        """
        values = {"now": self._database.clock(), "before": self._database.clock() - seconds, "most": limit}
        return dict(connection.execute(_count_stuck, values).all())

    def delete_expired(self, connection: Connection, before: float) -> int:
        """Delete the processes whose lease ended before ``before``, and return their number."""
        return connection.execute(_delete_expired, {"before": before}).rowcount

    def is_idle(self, connection: Connection) -> bool:
        """Return True if no conversation has pending work, now or later."""
        return connection.execute(_any_pending).first() is None

    def find(self, connection: Connection, conversation_key: str) -> Conversation | None:
        """Return the conversation with this key, or None if it is unknown."""
        row = connection.execute(_conversation, {"key": conversation_key}).one_or_none()
        return to_conversation(row) if row else None

    def find_target(self, connection: Connection, wanted: Conversation) -> Conversation:
        """Return the known conversation of ``wanted``'s bot with the same target, else ``wanted`` itself."""
        values = {"b": wanted.bot, "t": wanted.target, "ch": wanted.channel, "a": wanted.account, "g": wanted.is_group}
        row = connection.execute(_by_target, values).first()
        return to_conversation(row) if row else wanted


def _row_values(conversation: Conversation) -> dict[str, Any]:
    return {
        **conversation.key._asdict(),
        "conversation_key": conversation.key_text,
        "target": conversation.target,
        "is_group": conversation.is_group,
    }


def to_conversation(row: Sequence[Any]) -> Conversation:
    """Return the conversation from the columns channel, account, bot, conversation, target, is_group."""
    channel, account, bot, name, target, is_group = row
    return Conversation(channel, account, bot, name, target, bool(is_group))
