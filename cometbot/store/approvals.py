"""The approvals that wait in a conversation for a decision, in its state, and the cards of deleted dialogs."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as bound

from cometbot.approvals import APPROVALS_KEY, ApprovalCard, OpenApproval, find_open
from cometbot.hand_offs import WITHDRAWN_TEXT
from cometbot.state import StateChange, to_json
from cometbot.steps import HAND_OFF, Waiting
from cometbot.store.database import Database, Transaction
from cometbot.store.leases import Leases
from cometbot.store.outbox import Draft, Outbox, OutboxMessage
from cometbot.store.state import StateTable
from cometbot.store.tables import mailbox

MAX_REMEMBERED = 20
"""The approvals of a conversation that have ended of which a late press is answered how."""

_AT_ANY_TIME = sys.maxsize

newest_message = sa.select(sa.func.max(mailbox.c.seq)).where(mailbox.c.conversation_key == bound("key"))


class Approvals:
    """The approvals that wait in conversations. All methods work inside the caller's transaction.

    The state of a conversation has them under :data:`APPROVALS_KEY`, so the run of a message finds them without a query
    of its own. Callers have locked the conversation's row: several others may ask here at the same time.
    """

    def __init__(self, database: Database, state: StateTable, leases: Leases, outbox: Outbox) -> None:
        self._database = database
        self._state = state
        self._leases = leases
        self._outbox = outbox

    def lock(self, connection: Transaction, conversation_keys: Iterable[str]) -> None:
        """Lock the rows of conversations, in one order everywhere, so that no two transactions deadlock."""
        for conversation_key in sorted(set(conversation_keys)):
            self._leases.mark_pending_by_key(connection, conversation_key)

    def stored(self, connection: Transaction, draft: Draft) -> StateChange | None:
        """Return how the state of a draft's conversation changes, because the draft is stored; None if it does not."""
        if draft.approval is None:
            return None
        owner = draft.conversation.key_text
        if "open" not in draft.approval:
            number = draft.approval["number"]
            return self._change(connection, owner, number, over=draft.approval["over"])
        after = connection.execute(newest_message, {"key": owner}).scalar() or 0
        entry = {**draft.approval["open"], "after": after, "card": [draft.generation, draft.ordinal]}
        return self._change(connection, owner, entry["number"], entry)

    def decided(self, connection: Transaction, conversation_key: str, number: int, text: str) -> StateChange | None:
        """Return how the state changes when somebody has decided, None if the approval no longer waits here."""
        is_open = find_open(self._load(connection, conversation_key), number, sequence=_AT_ANY_TIME) is not None
        return self._change(connection, conversation_key, number, over=text) if is_open else None

    def find_refused(self, connection: Transaction, reply: OutboxMessage) -> OpenApproval | None:
        """Return the approval whose card is ``reply``, which its platform has refused; None if it is no such card."""
        if reply.target is not None or not reply.event.startswith("m"):
            return None
        stored = self._load(connection, reply.conversation_key)
        found = find_open(stored, int(reply.event[1:]), sequence=_AT_ANY_TIME)
        is_card = found is not None and list(found.card) == [reply.generation, reply.ordinal]
        return found if is_card else None

    def refused(self, connection: Transaction, conversation_key: str, approval: OpenApproval) -> StateChange:
        """Return how the state changes because the platform has refused a card."""
        return self._change(connection, conversation_key, approval.number)

    def withdraw(self, connection: Transaction, waiting: Waiting) -> None:
        """Withdraw the card of a dialog that is deleted without another run; do nothing if it has none."""
        if waiting.approval is None:
            return
        card = ApprovalCard.from_json(waiting.approval)
        owner = card.conversation.key_text
        text = WITHDRAWN_TEXT if waiting.kind == HAND_OFF else "Withdrawn."
        change = self.decided(connection, owner, card.number, text)
        if change is None or self._leases.find(connection, owner) is None:  # decided already, or erased
            return
        self._state.apply(connection, [change])
        target = (waiting.question, waiting.asked_by) if card.edits else (None, "")
        draft = Draft(f"s{secrets.token_hex(8)}", 0, 0, card.conversation, card.withdrawal, *target)
        self._outbox.add(connection, [draft])
        self._leases.mark_pending_by_key(connection, owner)

    def _load(self, connection: Transaction, conversation_key: str) -> dict[str, Any]:
        stored = self._state.load(connection, "conversation", conversation_key).get(APPROVALS_KEY)
        value: dict[str, Any] = json.loads(stored) if stored else {}
        return value

    def _change(
        self,
        connection: Transaction,
        conversation_key: str,
        number: int,
        entry: Mapping[str, Any] | None = None,
        over: str = "",
    ) -> StateChange:
        stored = self._load(connection, conversation_key)
        waiting = {key: item for key, item in stored.get("open", {}).items() if key != str(number)}
        ended = {key: text for key, text in stored.get("over", {}).items() if key != str(number)}
        if entry is not None:
            waiting[str(number)] = dict(entry)
        if over:
            ended[str(number)] = over
        kept = dict(sorted(ended.items(), key=lambda item: int(item[0]))[-MAX_REMEMBERED:])
        if not (waiting or kept):
            return StateChange("conversation", conversation_key, removed=frozenset({APPROVALS_KEY}))
        value = to_json(APPROVALS_KEY, {"open": waiting, "over": kept})
        return StateChange("conversation", conversation_key, {APPROVALS_KEY: value})
