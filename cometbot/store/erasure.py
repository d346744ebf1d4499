"""Erasing what delivery keeps of a conversation that was removed: what came in, what was said, whom with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as bound

from cometbot.store.database import Database, Transaction
from cometbot.store.tables import DEAD, DISCARDED, SENDING, WAITING, conversations, mailbox, outbox

Body = Mapping[str, Any]

_EMPTY = "{}"

# Word for word the conditions of the indexes by lane, or SQLite does not use them.
_undone_mail = sa.text("state IN ('waiting', 'running')")
_kept_mail = sa.text("state IN ('done', 'discarded', 'dead')")
_undone_replies = sa.text("state IN ('ready', 'sending', 'held', 'unknown')")
_kept_replies = sa.text("state IN ('sent', 'discarded', 'dead')")


def _given_up(table: sa.Table, of: str) -> dict[str, Any]:
    """The columns of a row that ends by being erased, where its state is ``of``; others keep theirs."""
    is_so = table.c.state == of
    return {
        "state": sa.case((is_so, DISCARDED), else_=table.c.state),
        "ended_at": sa.case((is_so, bound("now", type_=sa.Double)), else_=table.c.ended_at),
        "error": None,
    }


_leave = sa.delete(conversations).where(conversations.c.lane == bound("key"), conversations.c.token.is_(None))
_forget_whom = sa.update(conversations).where(conversations.c.lane == bound("key")).values(target="")
_no_body = {"body": b"", "sender": ""}
_end_mail = (
    sa.update(mailbox)
    .where(mailbox.c.lane == bound("key"), _undone_mail)
    .values(**_given_up(mailbox, WAITING), **_no_body)
)
_empty_mail = (
    sa.update(mailbox)
    .where(mailbox.c.lane == bound("key"), _kept_mail, sa.or_(mailbox.c.body != b"", mailbox.c.state == DEAD))
    .values(**_given_up(mailbox, DEAD), **_no_body)
)
_empty_message = (
    sa.update(mailbox)
    .where(
        mailbox.c.channel == bound("ch"),
        mailbox.c.account == bound("acc"),
        mailbox.c.bot == bound("of"),
        mailbox.c.event_key == bound("named"),
    )
    .values(
        state=sa.case((mailbox.c.state.in_([WAITING, DEAD]), DISCARDED), else_=mailbox.c.state),
        ended_at=sa.case(
            (mailbox.c.state.in_([WAITING, DEAD]), bound("now", type_=sa.Double)), else_=mailbox.c.ended_at
        ),
        error=None,
        **_no_body,
    )
)
_undone_of = sa.select(outbox.c.id, outbox.c.payload).where(outbox.c.lane == bound("key"), _undone_replies)
_dead_of = sa.select(outbox.c.id, outbox.c.payload).where(
    outbox.c.lane == bound("key"), _kept_replies, outbox.c.state == DEAD
)
_end_reply = (
    sa.update(outbox)
    .where(outbox.c.id == bound("row"))
    .values(
        payload=_EMPTY,
        error=None,
        state=sa.case((outbox.c.state == SENDING, SENDING), else_=DISCARDED),
        ended_at=sa.case((outbox.c.state == SENDING, outbox.c.ended_at), else_=bound("now", type_=sa.Double)),
        due_at=None,
    )
)
_empty_sent = (
    sa.update(outbox)
    .where(outbox.c.lane == bound("key"), _kept_replies, outbox.c.state != DEAD, outbox.c.payload != _EMPTY)
    .values(payload=_EMPTY, error=None)
)
_over = {"state": DISCARDED, "ended_at": bound("now", type_=sa.Double)}
_end_begun_mail = sa.update(mailbox).where(mailbox.c.lane == bound("key"), _undone_mail).values(_over)
_end_begun_replies = sa.update(outbox).where(outbox.c.lane == bound("key"), _undone_replies).values(_over)
_drop_undone = sa.delete(outbox).where(outbox.c.lane == bound("key"), _undone_replies)
_drop_kept = sa.delete(outbox).where(outbox.c.lane == bound("key"), _kept_replies)
_hold = sa.select(conversations.c.lane).where(conversations.c.lane == bound("key")).with_for_update()
_next_bot = sa.select(sa.func.min(conversations.c.bot)).where(conversations.c.bot > bound("last"))
_with_target = sa.select(conversations.c.lane).where(
    conversations.c.bot == bound("of"),
    conversations.c.target == bound("whom"),
    conversations.c.channel == bound("ch"),
    conversations.c.account == bound("acc"),
)


class Erasure:
    """What is kept of conversations in ``mailbox``, ``outbox`` and ``conversations``, taken out of them.

    Rows stay for as long as others of their kind, without what they held: an event that comes again is known, and no
    reply is stored twice. All methods work inside the caller's transaction. To be called when the conversation itself
    has been removed in it, so that nothing more comes in.
    """

    def __init__(self, database: Database) -> None:
        self._clock: Callable[[], float] = lambda: database.clock()

    def erase(self, transaction: Transaction, lanes: Iterable[str]) -> None:
        """Empty what came in and what was said in ``lanes``, and forget whom with.

        What waits is given up, and so are dead letters. A handler that runs ends as it would have, and so does a
        request that is on its way; what is said there later is for the channel to refuse.
        """
        # In one order for all: who works on several conversations takes them in this order, too.
        for lane in sorted(set(lanes)):
            values = {"key": lane, "now": self._clock()}
            nobody_works = transaction.execute(_leave, values).rowcount > 0
            transaction.execute(_forget_whom, values)
            transaction.execute(_end_mail, values)
            transaction.execute(_empty_mail, values)
            self._empty_replies(transaction, lane, lambda body: True)
            if nobody_works:  # and nobody will: what was begun there and left ends now
                transaction.execute(_end_begun_mail, values)
                transaction.execute(_end_begun_replies, values)

    def drop(self, transaction: Transaction, lanes: Iterable[str]) -> None:
        """As :meth:`erase`, for ``lanes`` that are named after whom they are with: of what was said there, no row stays
        either."""
        named = sorted(set(lanes))
        self.erase(transaction, named)
        for lane in named:
            transaction.execute(_drop_undone, {"key": lane})
            transaction.execute(_drop_kept, {"key": lane})

    def empty_told(
        self, transaction: Transaction, lane: str, is_content: Callable[[Body], bool] = lambda body: True
    ) -> None:
        """Empty the requests of ``lane`` that were sent; of those that wait and of dead letters, give up the ones of
        which ``is_content`` is true. The others still go out."""
        transaction.execute(_hold, {"key": lane})
        self._empty_replies(transaction, lane, is_content)

    def empty_sent(self, transaction: Transaction, lane: str) -> None:
        """Empty what was sent in ``lane``, and nothing else of it."""
        transaction.execute(_empty_sent, {"key": lane})

    def empty_messages(
        self, transaction: Transaction, channel: str, account: str, bot: str, keys: Iterable[str]
    ) -> None:
        """Empty single messages in a bot's mailbox, by their event keys; one that waits is given up."""
        values = {"ch": channel, "acc": account, "of": bot, "now": self._clock()}
        for key in keys:
            transaction.execute(_empty_message, {**values, "named": key})

    def lanes_with(self, transaction: Transaction, channel: str, account: str, target: str) -> list[str]:
        """The lanes of all bots with somebody."""
        lanes: list[str] = []
        bot = transaction.execute(_next_bot, {"last": ""}).scalar()
        while bot is not None:
            values = {"of": bot, "whom": target, "ch": channel, "acc": account}
            lanes += transaction.execute(_with_target, values).scalars()
            bot = transaction.execute(_next_bot, {"last": bot}).scalar()
        return lanes

    def _empty_replies(self, transaction: Transaction, lane: str, is_content: Callable[[Body], bool]) -> None:
        transaction.execute(_empty_sent, {"key": lane})
        for which in (_undone_of, _dead_of):
            for row, payload in transaction.execute(which, {"key": lane}).all():
                if is_content(json.loads(payload)):
                    transaction.execute(_end_reply, {"row": row, "now": self._clock()})
