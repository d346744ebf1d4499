"""The quick replies of a message that the bot says by itself, in the state of its conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cometbot.press_limits import keep_stored
from cometbot.quick_replies import QUICK_REPLIES_KEY
from cometbot.state import StateChange, to_json
from cometbot.store.database import Transaction
from cometbot.store.state import StateTable


def save_quick_replies(
    connection: Transaction,
    state: StateTable,
    conversation_key: str,
    quick_replies: Sequence[Mapping[str, Any]],
    *,
    has_limits: bool,
    now: float,
) -> None:
    """Store the quick replies of a message, if it has some, behind older ones that stay valid if both have limits."""
    if not quick_replies:
        return
    kept = keep_stored(state.load(connection, "conversation", conversation_key), now) if has_limits else []
    values = {QUICK_REPLIES_KEY: to_json(QUICK_REPLIES_KEY, [*kept, *quick_replies])}
    state.apply(connection, [StateChange("conversation", conversation_key, values)])
