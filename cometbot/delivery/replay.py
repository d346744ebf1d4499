"""Find stored messages by their ids, and handle them again."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import sqlalchemy as sa

from cometbot.delivery.delivery import Delivery
from cometbot.delivery.store import Store
from cometbot.errors import DeliveryError
from cometbot.models import Conversation
from cometbot.store.leases import to_conversation
from cometbot.store.tables import DEAD, DISCARDED, DONE, WAITING, conversations, mailbox, processes

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


def find_message(store: Store, message_id: str) -> StoredMessage:
    """Return the message with the id ``message_id`` (``m12``).

    Raises :class:`DeliveryError` if the id is invalid, or if the message is no longer kept.
    """
    match = _MESSAGE_ID.fullmatch(message_id)
    if match is None:
        raise DeliveryError(_describe_invalid_id(message_id))
    query = (
        sa.select(mailbox, conversations.c.conversation, conversations.c.target, conversations.c.is_group)
        .join(conversations, conversations.c.lane == mailbox.c.lane)
        .where(mailbox.c.seq == int(match[1]))
    )
    with store.database.read() as connection:
        row = connection.execute(query).mappings().one_or_none()
    if row is None or not row["body"]:
        raise DeliveryError(
            f"there is no message {message_id} (any more): what is done is kept for COMETBOT_KEEP_DAYS days, "
            "by default 7"
        )
    return _from_row(row)


def replay(delivery: Delivery, message_id: str) -> StoredMessage:
    """Queue the message with the id ``message_id`` to be handled again, and return it.

    It gets a new generation, so all replies are sent again. It precedes the later messages of its conversation that
    still wait. Raises :class:`DeliveryError` if the id is invalid, or if the message is not done yet.
    """
    message = find_message(delivery.store, message_id)
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
    conversation_key = str(message.conversation.key)
    with delivery.database.write() as connection:
        is_changed = connection.execute(change).rowcount > 0
        if is_changed:
            delivery.store.leases.mark_pending_by_key(connection, conversation_key)
    if not is_changed:
        raise DeliveryError(f"{message.id} is not done yet and is going to be handled anyway; wait for that first")
    delivery.notify(conversation_key)
    return find_message(delivery.store, message.id)


def count_handling_processes(store: Store) -> int:
    """Return the number of live processes that handle messages, on all machines that share the database."""
    now = store.database.clock()
    query = sa.select(sa.func.count()).where(processes.c.handles, processes.c.lease_until > now)
    with store.database.read() as connection:
        return int(connection.execute(query).scalar_one())


def _describe_invalid_id(message_id: str) -> str:
    if re.fullmatch(r"[rR]\d+", message_id, re.ASCII):
        return (
            f"{message_id} is a reply, and what can be replayed is a message such as m12; "
            "see cometbot deadletters retry"
        )
    return (
        f"{message_id!r} is no id of a message; one looks like m12 (cometbot deadletters list and the page show them)"
    )


def _from_row(row: sa.RowMapping) -> StoredMessage:
    names = ("channel", "account", "bot", "conversation", "target", "is_group")
    return StoredMessage(
        id=f"m{row['seq']}",
        conversation=to_conversation([row[name] for name in names]),
        event=row["event_key"],
        sender=row["sender"],
        body=bytes(row["body"]),
        received_at=row["received_at"],
        state=row["state"],
        generation=row["generation"],
        handler=row["handler"] or "",
        error=row["error"] or "",
    )
