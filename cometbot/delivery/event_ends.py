"""The reports of the end of a message to clients that wait for it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cometbot.channels.base import Channel, EndKind, EventEnd
from cometbot.models import Conversation
from cometbot.steps import DialogChange
from cometbot.store.dialogs import INTERNAL_PREFIX
from cometbot.store.mailbox import MailboxMessage
from cometbot.store.outbox import END_ORDINAL, Draft
from cometbot.token_usage import ModelUsage


def report_end(
    channel: Channel,
    conversation: Conversation,
    message: MailboxMessage,
    kind: EndKind,
    dialog: DialogChange | None = None,
    usage: Sequence[ModelUsage] = (),
) -> list[Draft]:
    """Return the request that reports the end of a message to a client that waits for it; nothing if none does.

    ``dialog`` is what its run has changed in a dialog, and ``usage`` what models have cost in it.
    """
    request = _find_request(message) if channel.reports_ends and message.body else ""
    if not request:
        return []
    end = EventEnd(
        request,
        kind,
        message.generation,
        dialog=str(dialog.id) if dialog is not None else "",
        waiting=dialog.waiting if dialog is not None else None,
        usage=usage,
    )
    payload = channel.render_end(end)
    return [Draft(message.event_id, message.generation, END_ORDINAL, conversation, [payload])]


def _find_request(message: MailboxMessage) -> str:
    """Return the key of the event whose client waits for the end of a message; empty for most of cometbot's own."""
    if not message.key.startswith(INTERNAL_PREFIX):
        return message.key
    return str(json.loads(message.body).get("request", ""))
