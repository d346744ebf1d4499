"""The messages that wait behind the one of a run, and those that ended with it, as events."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from cometbot.bursts import MAX_MESSAGES, join_mark
from cometbot.channels.base import Channel, IncomingEvent
from cometbot.events import MessageEvent
from cometbot.models import Conversation
from cometbot.sinks import WaitingMessage
from cometbot.store.database import Transaction
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.dialogs import INTERNAL_PREFIX
from cometbot.store.mailbox import MailboxMessage

log = logging.getLogger(__name__)


def read_waiting(channel: Channel, conversation: Conversation, row: MailboxMessage) -> WaitingMessage:
    """Return a message that waits; without its event if it has run before, is no message, or cannot be read now."""
    event = None if row.is_rerun else _read(channel, conversation, row)
    return WaitingMessage(row.seq, row.received_at, event)


def read_joined(channel: Channel, conversation: Conversation, rows: Iterable[MailboxMessage]) -> list[MessageEvent]:
    """Return the messages of a burst; those that were erased since are left out."""
    events = [_read(channel, conversation, row) for row in rows]
    return [event for event in events if event is not None]


def list_joined(
    store: DeliveryStore, connection: Transaction, conversation_key: str, message: str
) -> list[MailboxMessage]:
    """Return the messages that ended because they are of the burst of ``message`` (``m15``), oldest first."""
    return store.mailbox.list_ended_by(
        connection, conversation_key, int(message[1:]), join_mark("burst", message), 2 * MAX_MESSAGES
    )


def _read(channel: Channel, conversation: Conversation, row: MailboxMessage) -> MessageEvent | None:
    if not row.body or row.key.startswith(INTERNAL_PREFIX):
        return None
    try:
        event = channel.parse(IncomingEvent(conversation, row.key, row.body, row.sender, row.received_at))
    except Exception:
        extra = {"event": row.key, "conversation": conversation.key_text}
        log.debug("cannot read a message that may belong to a burst", exc_info=True, extra=extra)
        return None
    return event if isinstance(event, MessageEvent) else None
