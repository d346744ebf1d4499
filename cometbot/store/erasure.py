"""Erase what delivery stores of a removed conversation: its messages, its replies and its target."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as bound

from cometbot.store.database import Database, Transaction
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.jobs import find_inner_keys
from cometbot.store.tables import (
    DEAD,
    DISCARDED,
    KEPT_MESSAGE,
    KEPT_REPLY,
    PENDING_MESSAGE,
    PENDING_REPLY,
    SENDING,
    WAITING,
    conversations,
    in_state,
    mailbox,
    outbox,
)

Body = Mapping[str, Any]

_EMPTY = "{}"

# Literally the conditions of the indexes by conversation key, or SQLite does not use them.
_message_key = mailbox.c.conversation_key == bound("key")
_reply_key = outbox.c.conversation_key == bound("key")
_has_key = conversations.c.conversation_key == bound("key")
_unfinished_messages = in_state(mailbox, PENDING_MESSAGE)
_finished_messages = in_state(mailbox, KEPT_MESSAGE)
_unfinished_replies = in_state(outbox, PENDING_REPLY)
_finished_replies = in_state(outbox, KEPT_REPLY)


def _discarded_values(table: sa.Table, of: str) -> dict[str, Any]:
    """Return the columns that discard an erased row if its state is ``of``; other rows keep theirs."""
    has_state = table.c.state == of
    return {
        "state": sa.case((has_state, DISCARDED), else_=table.c.state),
        "ended_at": sa.case((has_state, bound("now", type_=sa.Double)), else_=table.c.ended_at),
        "error": None,
    }


_delete_idle_conversation = sa.delete(conversations).where(_has_key, conversations.c.token.is_(None))
_clear_target = sa.update(conversations).where(_has_key).values(target="")
_EMPTY_BODY = {"body": b"", "sender": ""}
_clear_unfinished_messages = (
    sa.update(mailbox)
    .where(_message_key, _unfinished_messages)
    .values(**_discarded_values(mailbox, WAITING), **_EMPTY_BODY)
)
_clear_finished_messages = (
    sa.update(mailbox)
    .where(
        _message_key,
        _finished_messages,
        sa.or_(mailbox.c.body != b"", mailbox.c.state == DEAD),
    )
    .values(**_discarded_values(mailbox, DEAD), **_EMPTY_BODY)
)
_clear_message = (
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
        **_EMPTY_BODY,
    )
    .returning(mailbox.c.seq)
)
_select_unfinished_replies = sa.select(outbox.c.id, outbox.c.payload).where(_reply_key, _unfinished_replies)
_select_dead_replies = sa.select(outbox.c.id, outbox.c.payload).where(
    _reply_key, _finished_replies, outbox.c.state == DEAD
)
_discard_reply = (
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
_clear_sent_replies = (
    sa.update(outbox)
    .where(_reply_key, _finished_replies, outbox.c.state != DEAD, outbox.c.payload != _EMPTY)
    .values(payload=_EMPTY, error=None)
)
_discarded = {"state": DISCARDED, "ended_at": bound("now", type_=sa.Double)}
_discard_unfinished_messages = sa.update(mailbox).where(_message_key, _unfinished_messages).values(_discarded)
_discard_unfinished_replies = sa.update(outbox).where(_reply_key, _unfinished_replies).values(_discarded)
_delete_unfinished_replies = sa.delete(outbox).where(_reply_key, _unfinished_replies)
_delete_finished_replies = sa.delete(outbox).where(_reply_key, _finished_replies)
_lock_conversation = sa.select(conversations.c.conversation_key).where(_has_key).with_for_update()
_select_next_bot = sa.select(sa.func.min(conversations.c.bot)).where(conversations.c.bot > bound("last"))
_select_keys_by_target = sa.select(conversations.c.conversation_key).where(
    conversations.c.bot == bound("of"),
    conversations.c.target == bound("whom"),
    conversations.c.channel == bound("ch"),
    conversations.c.account == bound("acc"),
)


class Erasure:
    """Erases conversations from the tables ``mailbox``, ``outbox`` and ``conversations``.

    The rows are kept as long as others of their kind, without their content: so a redelivered event is recognised, and
    no reply is stored twice. All methods work inside the caller's transaction. Call them after the conversation itself
    was removed in that transaction, so that nothing more is received.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        store = DeliveryStore(database)
        self._dialogs, self._files = store.dialogs, store.files
        self._jobs, self._broadcasts = store.jobs, store.broadcasts

    def erase(self, transaction: Transaction, conversation_keys: Iterable[str]) -> None:
        """Clear the messages, the replies, the files and the target of these conversations.

        Waiting messages and replies and dead letters are discarded. A running handler and a request in flight end as
        usual; the channel must refuse what is sent there later.
        """
        erased = set(conversation_keys)
        erased |= find_inner_keys(erased)
        # In one order everywhere: runners lock several conversations in this order, too.
        if cards := self._dialogs.find_cards(transaction, erased):
            for conversation_key in sorted(erased | cards):
                transaction.execute(_lock_conversation, {"key": conversation_key})
        for conversation_key in sorted(erased):
            values = {"key": conversation_key, "now": self._database.clock()}
            was_idle = transaction.execute(_delete_idle_conversation, values).rowcount > 0
            transaction.execute(_clear_target, values)
            self._dialogs.erase(transaction, conversation_key)
            self._files.erase_conversation(transaction, conversation_key)
            transaction.execute(_clear_unfinished_messages, values)
            transaction.execute(_clear_finished_messages, values)
            self._clear_replies(transaction, conversation_key, lambda body: True)
            if was_idle:  # no runner will continue it, so discard what was started and abandoned
                transaction.execute(_discard_unfinished_messages, values)
                transaction.execute(_discard_unfinished_replies, values)
        self._jobs.erase(transaction, erased)

    def erase_recipient(self, transaction: Transaction, channel: str, user: str, bot: str = "") -> None:
        """Delete a user from the broadcasts of one bot or of all, sent or not."""
        self._broadcasts.erase(transaction, channel, user, bot)

    def erase_and_delete(self, transaction: Transaction, conversation_keys: Iterable[str]) -> None:
        """Like :meth:`erase`, and also delete the rows of all replies, for conversations whose keys name their user."""
        keys = set(conversation_keys)
        sorted_keys = sorted(keys | find_inner_keys(keys))
        self.erase(transaction, sorted_keys)
        for conversation_key in sorted_keys:
            transaction.execute(_delete_unfinished_replies, {"key": conversation_key})
            transaction.execute(_delete_finished_replies, {"key": conversation_key})

    def clear_replies(
        self, transaction: Transaction, conversation_key: str, is_content: Callable[[Body], bool] = lambda body: True
    ) -> None:
        """Clear the requests of a conversation that were sent.

        Waiting requests and dead letters for which ``is_content`` is true are discarded. The other waiting requests are
        still sent.
        """
        transaction.execute(_lock_conversation, {"key": conversation_key})
        self._clear_replies(transaction, conversation_key, is_content)

    def clear_sent_replies(self, transaction: Transaction, conversation_key: str) -> None:
        """Clear only the requests of a conversation that were sent."""
        transaction.execute(_clear_sent_replies, {"key": conversation_key})

    def clear_messages(
        self, transaction: Transaction, channel: str, account: str, bot: str, keys: Iterable[str]
    ) -> None:
        """Clear single messages of a bot's mailbox, by their event keys; a message that waits is discarded.

        A dialog that such a message started ends without a word.
        """
        values = {"ch": channel, "acc": account, "of": bot, "now": self._database.clock()}
        for key in keys:
            seq = transaction.execute(_clear_message, {**values, "named": key}).scalar()
            if seq is not None:
                self._dialogs.erase_opening(transaction, seq)

    def find_conversation_keys(self, transaction: Transaction, channel: str, account: str, target: str) -> list[str]:
        """Return the keys of all bots' conversations with ``target``."""
        found_keys: list[str] = []
        bot = transaction.execute(_select_next_bot, {"last": ""}).scalar()
        while bot is not None:
            values = {"of": bot, "whom": target, "ch": channel, "acc": account}
            found_keys += transaction.execute(_select_keys_by_target, values).scalars()
            bot = transaction.execute(_select_next_bot, {"last": bot}).scalar()
        return found_keys

    def _clear_replies(
        self, transaction: Transaction, conversation_key: str, is_content: Callable[[Body], bool]
    ) -> None:
        transaction.execute(_clear_sent_replies, {"key": conversation_key})
        for query in (_select_unfinished_replies, _select_dead_replies):
            for row, payload in transaction.execute(query, {"key": conversation_key}).all():
                if is_content(json.loads(payload)):
                    transaction.execute(_discard_reply, {"row": row, "now": self._database.clock()})
