"""The dialogs of handlers that ask, for operators: list, show, cancel, and let the time of one come now."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cometbot.approvals import ApprovalCard
from cometbot.errors import DeliveryError
from cometbot.models import ConversationKey
from cometbot.steps import APPROVE, CANCELLED, FAILED, OPEN, Step, Waiting
from cometbot.store.database import Transaction
from cometbot.store.delivery_store import DeliveryStore
from cometbot.store.dialogs import DialogRow


@dataclass(frozen=True, slots=True)
class DialogInfo:
    """A dialog that is not over. ``id`` is that of the message that started it (``m12``); times are Unix seconds.

    ``status`` is ``open``, ``ending`` (its handler runs for the last time) or ``failed``; then ``dead_letter`` is the
    id of the message that failed. ``kind`` is that of the step that it waits at (``ask``, ``approve``, ``call``,
    ``hand_off``, ``sleep``), since ``since``, until ``expires_at``. ``attempts`` counts the answers that did not fit.
    ``call`` has the arguments of the handler. For an approval, ``number`` is that of its card, which is in the
    conversation ``card_in`` of the channel ``card_channel``; ``by`` are the uids of those who may decide, empty for all
    there. For a hand-off, ``card_in`` is the group to which the user is handed over. ``account`` is that of the
    dialog's channel.
    """

    id: str
    status: str
    bot: str
    channel: str
    conversation: str
    user: str
    thread: str
    handler: str
    call: Mapping[str, Any]
    kind: str
    question: str
    since: float
    expires_at: float | None
    attempts: int
    opened_at: float
    dead_letter: str
    number: int = 0
    card_channel: str = ""
    card_in: str = ""
    by: Sequence[str] = ()
    account: str = ""


class DialogList:
    """The dialogs of one database. Methods with an id raise :class:`DeliveryError` if there is no such dialog."""

    def __init__(self, store: DeliveryStore) -> None:
        self._store = store

    def list(self, bot: str = "", limit: int = 100, *, account: str = "") -> list[DialogInfo]:
        """Return at most ``limit`` dialogs of one bot or of all, those that changed last first.

        With ``account``, they are of that CometChat app alone.
        """
        with self._store.database.read() as connection:
            rows = self._store.dialogs.list(connection, bot, limit, account=account)
        return [_to_info(row) for row in rows]

    def list_approvals(self, bot: str = "", limit: int = 100, *, account: str = "") -> Sequence[DialogInfo]:
        """Return dialogs that wait for an approval, the newest first, chosen as by :meth:`list`."""
        with self._store.database.read() as connection:
            rows = self._store.dialogs.list(connection, bot, limit, kind=APPROVE, account=account)
        return [_to_info(row) for row in rows]

    def get(self, dialog_id: str) -> DialogInfo:
        """Return the dialog with this id."""
        with self._store.database.read() as connection:
            return _to_info(self._find(connection, dialog_id))

    def list_steps(self, dialog_id: str) -> Sequence[Step]:
        """Return the stored steps of a dialog, in order."""
        with self._store.database.read() as connection:
            row = self._find(connection, dialog_id)
            return self._store.dialogs.load_steps(connection, row.id)

    def cancel(self, dialog_id: str) -> str:
        """End an open dialog as its user's ``/cancel`` does, and return the key of the conversation to notify.

        Raises :class:`DeliveryError` if it has failed or is about to end.
        """

        def cancel(connection: Transaction, row: DialogRow) -> bool:
            return self._store.dialogs.end(connection, row.conversation_key, row.id, {"ended": CANCELLED})

        return self._change(dialog_id, cancel)

    def expire(self, dialog_id: str) -> str:
        """Fire the timer of an open dialog now, and return the key of the conversation to notify.

        Raises :class:`DeliveryError` if it has failed, is about to end, or waits for no time.
        """
        return self._change(dialog_id, lambda connection, row: self._store.dialogs.fire_timer(connection, row.id))

    def _change(self, dialog_id: str, change: Callable[[Transaction, DialogRow], bool]) -> str:
        with self._store.database.write() as connection:
            row = self._find(connection, dialog_id)
            # Marking locks the conversation's row: a runner that changes the dialog at this moment comes first.
            self._store.leases.mark_pending_by_key(connection, row.conversation_key)
            if not change(connection, row):
                raise DeliveryError(_describe_unchanged(_to_info(self._find(connection, dialog_id))))
        return row.conversation_key

    def _find(self, connection: Transaction, dialog_id: str) -> DialogRow:
        row = self._store.dialogs.find(connection, dialog_id.lower())
        if row is None:
            raise DeliveryError(f"there is no dialog {dialog_id!r} (any more). List them with: cometbot dialogs list")
        return row


def _describe_unchanged(dialog: DialogInfo) -> str:
    if dialog.status == FAILED:
        letter = dialog.dead_letter
        return (
            f"the dialog {dialog.id} has failed. Retry or discard its dead letter: cometbot deadletters show {letter}"
        )
    if dialog.status == OPEN:
        return f"the dialog {dialog.id} waits for no time"
    return f"the dialog {dialog.id} is over: its handler runs for the last time"


def _to_info(row: DialogRow) -> DialogInfo:
    channel, account, bot, conversation = ConversationKey.parse(row.conversation_key)
    waiting = row.waiting
    return DialogInfo(
        id=row.id.event,
        status=row.status,
        bot=bot,
        channel=channel,
        conversation=conversation,
        user=waiting.user,
        thread=waiting.thread,
        handler=row.handler,
        call=row.call,
        kind=waiting.kind,
        question=waiting.question_text,
        since=row.updated_at,
        expires_at=waiting.expires_at,
        attempts=waiting.attempts,
        opened_at=row.opened_at,
        dead_letter=f"m{row.failed_seq}" if row.status == FAILED else "",
        account=account,
        **_describe_card(waiting),
    )


def _describe_card(waiting: Waiting) -> dict[str, Any]:
    if waiting.approval is None:
        return {}
    card = ApprovalCard.from_json(waiting.approval)
    to = card.conversation
    return {"number": card.number, "card_channel": to.channel, "card_in": to.id, "by": tuple(card.by or ())}
