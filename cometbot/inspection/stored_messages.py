"""The stored messages: find one, list the newest, and handle one again."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import sqlalchemy as sa

from cometbot.errors import DeliveryError
from cometbot.models import Conversation
from cometbot.store.database import Database
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.leases import to_conversation
from cometbot.store.tables import (
    CONVERSATION_COLUMNS,
    DEAD,
    DISCARDED,
    DONE,
    WAITING,
    conversations,
    mailbox,
)

_MESSAGE_ID = re.compile(r"[mM](\d{1,18})", re.ASCII)
_FINAL_STATES = (DONE, DEAD, DISCARDED)


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A row of the mailbox, with its state, handler and error so far; times are Unix seconds."""

    id: str
    conversation: Conversation
    event: str
    sender: str
    body: bytes = field(repr=False)
    received_at: float
    state: str
    generation: int
    handler: str
    error: str


@dataclass(frozen=True, slots=True)
class RecentEvent:
    """An event: its state in the mailbox, and the handler that processed it.

    ``id`` is the value of ``event`` in the outbox, and part of the client ids of its replies (``m12``). ``seconds`` is
    the time from its arrival to its end, 0 while it has not ended.
    """

    bot: str
    event: str
    state: str
    handler: str
    error: str
    attempts: int
    seconds: float
    id: str


MESSAGE_ROWS = sa.select(mailbox, conversations.c.conversation, conversations.c.target, conversations.c.is_group).join(
    conversations, conversations.c.conversation_key == mailbox.c.conversation_key
)
"""The query of the rows that :func:`to_stored_message` gets."""

_recent_columns = (
    mailbox.c.seq,
    mailbox.c.bot,
    mailbox.c.event_key,
    mailbox.c.state,
    mailbox.c.handler,
    mailbox.c.error,
    mailbox.c.attempts,
    mailbox.c.received_at,
    mailbox.c.ended_at,
)


def is_message_id(text: str) -> bool:
    """Return True for a text that is an id of a message, whether or not it exists."""
    return _MESSAGE_ID.fullmatch(text) is not None


def find_message(store: DeliveryStore, message_id: str) -> StoredMessage:
    """Return the message with the id ``message_id`` (``m12``).

    Raises :class:`DeliveryError` if the id is invalid, or if the message is no longer kept.
    """
    match = _MESSAGE_ID.fullmatch(message_id)
    if match is None:
        raise DeliveryError(_describe_invalid_id(message_id))
    query = MESSAGE_ROWS.where(mailbox.c.seq == int(match[1]))
    with store.database.read() as connection:
        row = connection.execute(query).mappings().one_or_none()
    if row is None or not row["body"]:
        raise DeliveryError(
            f"there is no message {message_id} (any more): what is done is kept for COMETBOT_KEEP_DAYS days, "
            "by default 7"
        )
    return to_stored_message(row)


def replay(store: DeliveryStore, message_id: str) -> StoredMessage:
    """Queue the message with the id ``message_id`` to be handled again, and return it.

    It gets a new generation, so all replies are sent again. It precedes the later messages of its conversation that
    still wait. The caller notifies the conversation. Raises :class:`DeliveryError` if the id is invalid, or if the
    message is not done yet.
    """
    message = find_message(store, message_id)
    change = (
        sa.update(mailbox)
        .where(mailbox.c.seq == int(message.id[1:]), mailbox.c.state.in_(_FINAL_STATES))
        .values(
            state=WAITING,
            generation=mailbox.c.generation + 1,
            attempts=0,
            failures=0,
            due_at=None,
            ended_at=None,
            handler=None,
            error=None,
        )
    )
    with store.database.write() as connection:
        if problem := store.dialogs.end_for_replay(connection, int(message.id[1:]), message.generation):
            raise DeliveryError(f"cannot replay {message.id}: {problem}. Replay the message that began it.")
        is_changed = connection.execute(change).rowcount > 0
        if is_changed:
            store.leases.mark_pending_by_key(connection, str(message.conversation.key))
    if not is_changed:
        raise DeliveryError(f"cannot replay {message.id}: it is not done yet. Wait until it is handled.")
    return find_message(store, message.id)


def list_recent_events(database: Database, limit: int = 200) -> list[RecentEvent]:
    """Return the newest events of all bots, at most ``limit``, the newest first."""
    query = sa.select(*_recent_columns).order_by(mailbox.c.seq.desc()).limit(limit)
    with database.read() as connection:
        rows = connection.execute(query).all()
    return [
        RecentEvent(
            row.bot,
            row.event_key,
            row.state,
            row.handler or "",
            row.error or "",
            row.attempts,
            max(0.0, row.ended_at - row.received_at) if row.ended_at else 0.0,
            f"m{row.seq}",
        )
        for row in rows
    ]


def _describe_invalid_id(message_id: str) -> str:
    if re.fullmatch(r"[rR]\d+", message_id, re.ASCII):
        return f"{message_id} is a reply, only messages such as m12 can be replayed; see cometbot deadletters retry"
    return (
        f"{message_id!r} is not a message id: expected one like m12 (cometbot deadletters list and the page show them)"
    )


def to_stored_message(row: sa.RowMapping) -> StoredMessage:
    """Return the message of a row of :data:`MESSAGE_ROWS`."""
    return StoredMessage(
        id=f"m{row['seq']}",
        conversation=to_conversation([row[name] for name in CONVERSATION_COLUMNS]),
        event=row["event_key"],
        sender=row["sender"],
        body=bytes(row["body"]),
        received_at=row["received_at"],
        state=row["state"],
        generation=row["generation"],
        handler=row["handler"] or "",
        error=row["error"] or "",
    )
