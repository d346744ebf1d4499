"""A stored conversation: its messages in order, each with the requests that answered it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from cometbot.errors import DeliveryError
from cometbot.inspection.stored_messages import (
    MESSAGE_ROWS,
    StoredMessage,
    find_message,
    is_message_id,
    to_stored_message,
)
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.tables import RUNNING, WAITING, conversations, mailbox, outbox

_BATCH = 500
"""The number of values that one query names."""


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A row of the outbox: one request of an operation, as its channel rendered it.

    ``event`` is the id of the message that caused it (``m12``). ``target`` is the ordinal of the operation that it
    edits or deletes, of the message ``target_event`` if that is not empty. ``payload`` is empty if it was erased.
    ``is_elsewhere`` is True if it went to another conversation.
    """

    event: str
    ordinal: int
    part: int
    payload: Mapping[str, Any] = field(repr=False)
    target: int | None
    target_event: str
    platform_id: str
    is_elsewhere: bool


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message and the requests of the run that handled it last."""

    message: StoredMessage
    replies: tuple[StoredReply, ...]


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """The exchanges of a conversation. ``has_earlier`` is True if earlier ones are stored but were not asked for."""

    exchanges: tuple[Exchange, ...]
    has_earlier: bool

    @property
    def newest(self) -> StoredMessage:
        """The newest message."""
        return self.exchanges[-1].message


def load_conversation(store: DeliveryStore, id: str, last: int | None = None) -> StoredConversation:
    """Return the conversation of the message ``id`` (``m12``) up to this message, or the whole conversation ``id``.

    ``last`` limits it to that many messages, the newest ones. Raises :class:`DeliveryError` if nothing of it is stored,
    or if the message is not done yet.
    """
    until = find_message(store, id) if is_message_id(id) else _find_newest(store, id)
    if until.state in (WAITING, RUNNING):
        raise DeliveryError(f"{until.id} is not done yet. Wait until it is handled.")
    messages = _list_messages(store, until, None if last is None else last + 1)
    shown = messages if last is None else messages[-last:]
    replies = _load_replies(store, shown)
    exchanges = tuple(Exchange(message, tuple(replies[message.id])) for message in shown)
    return StoredConversation(exchanges, has_earlier=len(shown) < len(messages))


def _find_newest(store: DeliveryStore, name: str) -> StoredMessage:
    """Return the newest message that is done of the conversation with this id or key."""
    key = conversations.c.conversation_key
    here = sa.select(key).where(sa.or_(conversations.c.conversation == name, key == name)).order_by(key)
    with store.database.read() as connection:
        keys = connection.execute(here).scalars().all()
        newest = sa.select(sa.func.max(mailbox.c.seq)).where(
            mailbox.c.conversation_key.in_(keys[:1]), mailbox.c.state.not_in((WAITING, RUNNING)), mailbox.c.body != b""
        )
        seq = connection.execute(newest).scalar() if keys else None
    if len(keys) > 1:
        raise DeliveryError(f"several conversations are called {name}; name one of {', '.join(keys)}")
    if seq is None:
        raise DeliveryError(
            f"there is no message m… and no conversation {name!r} with messages (any more): expected an id like m12, "
            "or the id of a conversation as cometbot replay m12 prints it"
        )
    return find_message(store, f"m{seq}")


def _list_messages(store: DeliveryStore, until: StoredMessage, limit: int | None) -> list[StoredMessage]:
    query = (
        MESSAGE_ROWS.where(
            mailbox.c.conversation_key == until.conversation.key_text, mailbox.c.seq <= int(until.id[1:])
        )
        .order_by(mailbox.c.seq.desc())
        .limit(limit)
    )
    with store.database.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [to_stored_message(row) for row in reversed(rows)]


def _load_replies(store: DeliveryStore, messages: Sequence[StoredMessage]) -> Mapping[str, list[StoredReply]]:
    found: dict[str, list[StoredReply]] = defaultdict(list)
    by_id = {message.id: message for message in messages}
    for ids in _batches(list(by_id)):
        query = sa.select(outbox).where(outbox.c.event.in_(ids)).order_by(outbox.c.id)
        with store.database.read() as connection:
            rows = connection.execute(query).mappings().all()
        for row in rows:
            message = by_id[row["event"]]
            if row["generation"] == message.generation:
                found[message.id].append(_to_reply(row, message))
    return found


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    yield from (ids[start : start + _BATCH] for start in range(0, len(ids), _BATCH))


def _to_reply(row: sa.RowMapping, message: StoredMessage) -> StoredReply:
    payload = json.loads(row["payload"])
    return StoredReply(
        event=row["event"],
        ordinal=row["ordinal"],
        part=row["part"],
        payload=payload if isinstance(payload, dict) else {},
        target=row["target"],
        target_event=(row["target_event"] or "").partition(".")[0],
        platform_id=row["platform_id"] or "",
        is_elsewhere=row["conversation_key"] != message.conversation.key_text,
    )
