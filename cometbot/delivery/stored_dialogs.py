"""Make the dialogs of handlers from their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cometbot.channels.base import Channel, IncomingEvent
from cometbot.models import Conversation
from cometbot.steps import Step, StoredDialog

if TYPE_CHECKING:
    import sqlalchemy as sa

    from cometbot.store.dialogs import DialogRow


def make_stored_dialog(
    channel: Channel, conversation: Conversation, row: DialogRow, steps: Sequence[Step], opening: sa.RowMapping
) -> StoredDialog:
    """Return a dialog of this conversation, from its rows and that of the message that started it."""
    incoming = IncomingEvent(
        conversation,
        opening["event_key"],
        bytes(opening["body"]),
        opening["sender"],
        received_at=opening["received_at"],
    )
    event = channel.parse(incoming)
    return StoredDialog(
        row.id, event, row.opened_at, row.handler, row.call, row.code, row.waiting, steps, row.updated_at
    )
