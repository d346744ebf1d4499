"""Make the dialogs of handlers from their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cometbot.channels.base import Channel, IncomingEvent
from cometbot.events import Event
from cometbot.hand_offs import parse_event
from cometbot.models import Conversation
from cometbot.steps import Step, StoredDialog
from cometbot.store.dialogs import HAND_OFF_PREFIX

if TYPE_CHECKING:
    import sqlalchemy as sa

    from cometbot.store.dialogs import DialogRow


def make_stored_dialog(
    channel: Channel, conversation: Conversation, row: DialogRow, steps: Sequence[Step], opening: sa.RowMapping
) -> StoredDialog:
    """Return a dialog of this conversation, from its rows and that of the message that started it."""
    key, body = opening["event_key"], bytes(opening["body"])
    if key.startswith(HAND_OFF_PREFIX):
        event: Event = parse_event(key, conversation, body)
    else:
        incoming = IncomingEvent(conversation, key, body, opening["sender"], received_at=opening["received_at"])
        event = channel.parse(incoming)
    return StoredDialog(
        row.id, event, row.opened_at, row.handler, row.call, row.code, row.waiting, steps, row.updated_at
    )
