"""The dialogs that wait for an answer, the steps that their handlers have stored, and the times that they wait for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as bound

from cometbot.approvals import ApprovalCard
from cometbot.dialogs import DIALOGS_KEY, OpenDialog
from cometbot.hand_offs import make_event_body
from cometbot.state import StateChange
from cometbot.steps import (
    ENDING,
    FAILED,
    HAND_OFF,
    OPEN,
    OVER,
    REFUSED,
    REPLACED,
    DialogChange,
    DialogId,
    Step,
    Waiting,
)
from cometbot.store.approvals import Approvals, newest_message
from cometbot.store.database import Database, Transaction
from cometbot.store.leases import Leases
from cometbot.store.state import StateTable
from cometbot.store.tables import (
    DONE,
    KEPT_MESSAGE,
    PENDING_MESSAGE,
    conversations,
    dialogs,
    in_state,
    mailbox,
    of_account,
    steps,
    timers,
)

FORMAT = 1
"""The version of what ``dialogs.waiting`` and ``dialogs.call`` contain."""

INTERNAL_PREFIX = "cometbot:"
"""The prefix of the event keys of cometbot's own rows in the mailbox. Channels cannot use it."""

HAND_OFF_PREFIX = f"{INTERNAL_PREFIX}handed-back:"
"""The prefix of the event keys of hand-offs that have ended."""

SWEEP_BATCH = 500
GRACE_PERIOD = 60.0
"""Seconds for which timers wait that fell due while nothing ran."""

_load_steps = (
    sa.select(steps).where(steps.c.event == bound("ev"), steps.c.generation == bound("gen")).order_by(steps.c.number)
)
_load_dialog = sa.select(dialogs).where(dialogs.c.event == bound("ev"), dialogs.c.generation == bound("gen"))
_delete_steps = sa.delete(steps).where(steps.c.event == bound("ev"), steps.c.generation == bound("gen"))
_delete_dialog = sa.delete(dialogs).where(dialogs.c.event == bound("ev"), dialogs.c.generation == bound("gen"))
_update_dialog = sa.update(dialogs).where(dialogs.c.event == bound("ev"), dialogs.c.generation == bound("gen"))
_find_dialog = sa.select(dialogs).where(dialogs.c.event == bound("ev")).order_by(dialogs.c.generation.desc()).limit(1)
_delete_timer = sa.delete(timers).where(timers.c.event == bound("ev"), timers.c.generation == bound("gen"))
_load_timer = sa.select(timers).where(timers.c.event == bound("ev"), timers.c.generation == bound("gen"))
_delete_fired_timer = _delete_timer.where(timers.c.step == bound("at_step"), timers.c.due_at == bound("due"))
_delete_all_steps = sa.delete(steps).where(steps.c.event == bound("ev"))
_delete_steps_here = [
    sa.delete(steps).where(
        steps.c.event.in_(
            sa.select(sa.literal("m").concat(sa.cast(mailbox.c.seq, sa.Text))).where(
                mailbox.c.conversation_key == bound("key"), in_state(mailbox, state)
            )
        )
    )
    for state in (PENDING_MESSAGE, KEPT_MESSAGE)
]
_unpin = (
    sa.update(mailbox)
    .where(mailbox.c.seq == bound("row"), mailbox.c.state == DONE, mailbox.c.ended_at.is_(None))
    .values(ended_at=bound("now", type_=sa.Double))
)
_pin = (
    sa.update(mailbox)
    .where(mailbox.c.seq == bound("row"), mailbox.c.state == DONE, mailbox.c.body != b"")
    .values(ended_at=None)
)
_names = sa.select(conversations.c.channel, conversations.c.account, conversations.c.bot).where(
    conversations.c.conversation_key == bound("key")
)
_open_here = (
    sa.select(dialogs)
    .where(dialogs.c.conversation_key == bound("key"), dialogs.c.status == OPEN)
    .order_by(dialogs.c.asked_seq.desc())
)


@dataclass(frozen=True, slots=True)
class DialogRow:
    """A stored dialog; times are Unix seconds."""

    id: DialogId
    conversation_key: str
    handler: str
    call: Mapping[str, Any]
    code: str
    waiting: Waiting
    asked_seq: int
    status: str
    failed_seq: int
    opened_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The run that changes a dialog: its conversation, the message that made it, when that arrived, and its question.

    ``question_ordinal`` is that of the question under the message, None if the run asks nothing.
    """

    conversation_key: str
    trigger: DialogId
    received_at: float
    question_ordinal: int | None = None


class Dialogs:
    """The tables ``dialogs``, ``steps`` and ``timers``. All methods work inside the caller's transaction."""

    def __init__(self, database: Database, state: StateTable, leases: Leases, approvals: Approvals) -> None:
        self._database = database
        self._approvals = approvals
        self._leases = leases
        self._state = state
        self._insert_steps = (
            database.insert(steps)
            .on_conflict_do_nothing(index_elements=["event", "generation", "number"])
            .returning(steps.c.number)
        )
        insert = database.insert(dialogs)
        changed = ("handler", "call", "code", "waiting", "asked_seq", "status", "failed_seq", "updated_at")
        self._save = insert.on_conflict_do_update(
            index_elements=["event", "generation"], set_={name: insert.excluded[name] for name in changed}
        )

    def save_steps(self, connection: Transaction, dialog: DialogId, added: Iterable[Step]) -> bool:
        """Store steps, and return True if any of them is new; one that is stored already is kept."""
        rows = [
            {
                "event": dialog.event,
                "generation": dialog.generation,
                "number": step.number,
                "kind": step.kind,
                "key": step.key,
                "code": step.code,
                "text": step.text,
                "trigger": step.trigger,
                "at": step.at,
                "result": json.dumps(step.result),
            }
            for step in added
        ]
        # PostgreSQL's driver knows no number of rows for several, so the new ones are returned.
        is_new = bool(rows) and bool(connection.execute(self._insert_steps, rows).all())
        if is_new:
            self._report_hand_offs(connection, dialog, added)
        return is_new

    def _report_hand_offs(self, connection: Transaction, dialog: DialogId, added: Iterable[Step]) -> None:
        """Put an event for each hand-off that has ended into the mailbox, with the step that says so."""
        for step in [step for step in added if step.kind == HAND_OFF]:
            found = self.load(connection, dialog)
            body = make_event_body(step.result, found.waiting.user) if found is not None else None
            if found is not None and body is not None:
                key = f"{HAND_OFF_PREFIX}{dialog}.{step.number}"
                self._add_internal(connection, found.conversation_key, key, body)

    def load_steps(self, connection: Transaction, dialog: DialogId) -> list[Step]:
        """Return the stored steps of a dialog, in order."""
        rows = connection.execute(_load_steps, _key(dialog)).mappings()
        return [_to_step(row) for row in rows]

    def load(self, connection: Transaction, dialog: DialogId) -> DialogRow | None:
        """Return a dialog, open or failed, or None."""
        row = connection.execute(_load_dialog, _key(dialog)).mappings().one_or_none()
        return _to_row(row) if row is not None else None

    def find(self, connection: Transaction, event: str) -> DialogRow | None:
        """Return the dialog, open or failed, that the message with this id (``m12``) started, or None."""
        row = connection.execute(_find_dialog, {"ev": event}).mappings().one_or_none()
        return _to_row(row) if row is not None else None

    def apply(self, connection: Transaction, change: DialogChange, end: RunEnd) -> None:
        """Store what a run changes in its dialog, in the commit that ends the run."""
        for replaced in change.replaced:
            self.end(connection, end.conversation_key, replaced, {"ended": REPLACED})
        if change.status == OVER and not change.was_suspended:
            connection.execute(_delete_steps, _key(change.id))
            if not change.replaced:
                return
        elif change.id.event:
            self._apply(connection, change, end)
        self._save_open(connection, end.conversation_key)

    def _apply(self, connection: Transaction, change: DialogChange, end: RunEnd) -> None:
        if change.status == OVER:
            self._delete(connection, change.id)
            return
        connection.execute(_delete_timer, _key(change.id))
        self.save_steps(connection, change.id, change.steps)
        if change.status == OPEN:
            self._save_waiting(connection, change, end)
        else:
            values = {"status": FAILED, "failed_seq": _seq(end.trigger), "updated_at": self._database.clock()}
            connection.execute(_update_dialog.values(values), _key(change.id))

    def _save_waiting(self, connection: Transaction, change: DialogChange, end: RunEnd) -> None:
        waiting, now, key = change.waiting, self._database.clock(), end.conversation_key
        assert waiting is not None
        dialog = {"event": change.id.event, "generation": change.id.generation, "conversation_key": key}
        stored = asdict(waiting) | {"question": end.question_ordinal, "asked_by": str(end.trigger)}
        connection.execute(
            self._save,
            {
                **dialog,
                "handler": change.handler,
                "call": json.dumps(change.call),
                "code": change.code,
                "waiting": json.dumps(stored),
                "asked_seq": connection.execute(newest_message, {"key": key}).scalar() or 0,
                "status": OPEN,
                "failed_seq": 0,
                "opened_at": end.received_at,
                "updated_at": now,
                "format": FORMAT,
            },
        )
        if connection.execute(_pin, {"row": _seq(change.id)}).rowcount == 0:  # the conversation was erased meanwhile
            self._delete(connection, change.id)
            return
        if waiting.expires_at is not None:
            timer = {
                **dialog,
                "due_at": waiting.expires_at,
                "step": waiting.step,
                "result": json.dumps({"ended": waiting.wakes_with}),
            }
            connection.execute(sa.insert(timers), timer)

    def _delete(self, connection: Transaction, dialog: DialogId) -> None:
        for statement in (_delete_timer, _delete_steps, _delete_dialog):
            connection.execute(statement, _key(dialog))
        connection.execute(_unpin, {"row": _seq(dialog), "now": self._database.clock()})

    def end(self, connection: Transaction, conversation_key: str, dialog: DialogId, result: Mapping[str, Any]) -> bool:
        """Let an open dialog end: its handler runs once more, with ``result``. Return False if it is not open."""
        found = self.load(connection, dialog)
        if found is None or found.status != OPEN:
            return False
        connection.execute(_delete_timer, _key(dialog))
        connection.execute(_update_dialog.values(status=ENDING), _key(dialog))
        self.add_event(connection, conversation_key, dialog, found.waiting.step, result)
        return True

    def add_event(
        self,
        connection: Transaction,
        conversation_key: str,
        dialog: DialogId,
        step: int,
        result: Mapping[str, Any],
        due_at: float | None = None,
        request: str = "",
    ) -> None:
        """Put what cometbot itself reports to a dialog into the mailbox, once for a step, or for each time of it.

        ``request`` is the key of the event whose client gets the answer of the dialog, empty if none waits for it.
        """
        self._leases.mark_pending_by_key(connection, conversation_key)
        body = {"dialog": str(dialog), "step": step, "result": dict(result), "request": request}
        kind = str(result.get("ended", "event"))
        at = f".{due_at:.3f}" if due_at is not None else ""
        key = f"{INTERNAL_PREFIX}{kind}:{dialog}.{step}{at}"
        self._add_internal(connection, conversation_key, key, json.dumps(body).encode())

    def _add_internal(self, connection: Transaction, conversation_key: str, key: str, body: bytes) -> None:
        """Put an event of cometbot's own into the mailbox, once."""
        names = connection.execute(_names, {"key": conversation_key}).mappings().one_or_none()
        if names is None:  # erased
            return
        insert = self._database.insert(mailbox).values(
            **names,
            event_key=key,
            conversation_key=conversation_key,
            sender="",
            body=body,
            received_at=self._database.clock(),
        )
        connection.execute(insert.on_conflict_do_nothing(index_elements=["channel", "account", "bot", "event_key"]))

    def refuse_question(
        self, connection: Transaction, conversation_key: str, asked_by: DialogId, ordinal: int, error: str
    ) -> None:
        """Let the dialog go on whose question, said under this ordinal of a message, the platform refused."""
        for row in connection.execute(_open_here, {"key": conversation_key}).mappings().all():
            found = _to_row(row)
            if (found.waiting.asked_by, found.waiting.question) == (str(asked_by), ordinal):
                self.end(connection, conversation_key, found.id, {"ended": REFUSED, "error": error})
                self._save_open(connection, conversation_key)

    def end_for_replay(self, connection: Transaction, seq: int, generation: int) -> str:
        """End the dialog that the message ``seq`` started, which is handled again.

        Return why the message cannot be handled again, empty if it can: it answered a question of another dialog.
        """
        answered = sa.select(steps.c.event).where(steps.c.trigger == f"m{seq}", steps.c.event != f"m{seq}").limit(1)
        failed = sa.select(dialogs.c.event).where(dialogs.c.failed_seq == seq, dialogs.c.status == FAILED).limit(1)
        if (event := connection.execute(answered).scalar() or connection.execute(failed).scalar()) is not None:
            return f"it answered a question of the dialog of {event}, which is not over"
        dialog = DialogId(f"m{seq}", generation)
        if (found := self.load(connection, dialog)) is not None:
            self._withdraw(connection, [found])
            self._delete(connection, dialog)
            self._save_open(connection, found.conversation_key)
        connection.execute(_delete_all_steps, {"ev": dialog.event})
        return ""

    def _withdraw(self, connection: Transaction, rows: Iterable[DialogRow]) -> None:
        """Withdraw the cards of dialogs that are deleted without another run, from all conversations but their own.

        The conversations are locked first, with those of the dialogs.
        """
        waiting = [(row, to) for row in rows if (to := find_card_place(row.waiting)) not in ("", row.conversation_key)]
        self._approvals.lock(connection, [key for row, to in waiting for key in (to, row.conversation_key)])
        for row, _ in waiting:
            self._approvals.withdraw(connection, row.waiting)

    def fire_timers(self, connection: Transaction, started_at: float = 0.0, limit: int = SWEEP_BATCH) -> list[str]:
        """Put the timers that are due into the mailbox; return the keys of their conversations.

        Timers that fell due before ``started_at``, while perhaps nothing ran, wait for :data:`GRACE_PERIOD` from then
        on: an answer that was given meanwhile arrives first.
        """
        now = self._database.clock()
        is_due = timers.c.due_at <= now
        if now < started_at + GRACE_PERIOD:
            is_due &= timers.c.due_at >= started_at
        due = sa.select(timers).where(is_due).order_by(timers.c.due_at).limit(limit)
        rows = connection.execute(due).mappings().all()
        for row in sorted(rows, key=lambda row: str(row["conversation_key"])):
            self._fire(connection, row)
        return sorted({row["conversation_key"] for row in rows})

    def fire_timer(self, connection: Transaction, dialog: DialogId) -> bool:
        """Fire the timer of an open dialog before its time. Return False if it is not open or has none."""
        key = _key(dialog)
        found, timer = self.load(connection, dialog), connection.execute(_load_timer, key).mappings().one_or_none()
        if found is None or found.status != OPEN or timer is None:
            return False
        self._fire(connection, timer)
        return True

    def _fire(self, connection: Transaction, timer: sa.RowMapping) -> None:
        """Put a timer into the mailbox and delete it, unless its dialog has ended or got another one meanwhile.

        The conversation's row is locked first, as a runner does, which changes the timer after that.
        """
        dialog, due_at = DialogId(timer["event"], timer["generation"]), timer["due_at"]
        self._leases.mark_pending_by_key(connection, timer["conversation_key"])
        fired = {"ev": dialog.event, "gen": dialog.generation, "at_step": timer["step"], "due": due_at}
        if connection.execute(_delete_fired_timer, fired).rowcount > 0:
            result = json.loads(timer["result"])
            self.add_event(connection, timer["conversation_key"], dialog, timer["step"], result, due_at)

    def next_timer(self, connection: Transaction) -> float | None:
        """Return when the next timer is due, or None."""
        found: float | None = connection.execute(sa.select(sa.func.min(timers.c.due_at))).scalar()
        return found

    def list(
        self, connection: Transaction, bot: str = "", limit: int = 100, kind: str = "", account: str = ""
    ) -> list[DialogRow]:
        """Return the newest dialogs of one bot or of all, open and failed; with ``kind``, open ones at such a step."""
        query = sa.select(dialogs).order_by(dialogs.c.updated_at.desc())
        if kind:
            # The text finds few others, such as a form with an answer like it.
            query = query.where(dialogs.c.status == OPEN, dialogs.c.waiting.like(f'%"kind": "{kind}"%'))
        else:
            query = query.limit(limit)
        if bot:
            query = query.join(conversations, conversations.c.conversation_key == dialogs.c.conversation_key).where(
                conversations.c.bot == bot
            )
        if account:
            query = query.where(of_account(dialogs.c.conversation_key, account))
        rows = map(_to_row, connection.execute(query).mappings())
        return list(islice((row for row in rows if kind in ("", row.waiting.kind)), limit))

    def count_open(self, connection: Transaction) -> dict[str, int]:
        """Return the number of open dialogs of each bot."""
        query = (
            sa.select(conversations.c.bot, sa.func.count())
            .join(dialogs, dialogs.c.conversation_key == conversations.c.conversation_key)
            .where(dialogs.c.status != FAILED)
            .group_by(conversations.c.bot)
        )
        return dict(connection.execute(query).all())

    def reopen(self, connection: Transaction, seq: int) -> None:
        """Open the dialog again that failed at the message ``seq``, which is handled again."""
        found = connection.execute(
            sa.update(dialogs)
            .where(dialogs.c.failed_seq == seq, dialogs.c.status == FAILED)
            .values(status=OPEN)
            .returning(dialogs.c.conversation_key)
        ).scalar()
        if found is not None:
            self._save_open(connection, found)

    def fail(self, connection: Transaction, conversation_key: str, trigger: DialogId) -> None:
        """Let the dialog fail of which the message ``trigger``, which is given up, has stored steps."""
        has_steps = sa.exists().where(
            steps.c.event == dialogs.c.event,
            steps.c.generation == dialogs.c.generation,
            steps.c.trigger == trigger.event,
        )
        found = connection.execute(
            _open_here.where(dialogs.c.event != trigger.event, has_steps), {"key": conversation_key}
        )
        for row in found.mappings().all():
            change = DialogChange(DialogId(row["event"], row["generation"]), FAILED)
            self.apply(connection, change, RunEnd(conversation_key, trigger, 0.0))

    def discard(self, connection: Transaction, seq: int) -> None:
        """Delete the steps of the message ``seq``, which is discarded, and the dialog that failed at it."""
        connection.execute(_delete_all_steps, {"ev": f"m{seq}"})
        rows = connection.execute(sa.select(dialogs).where(dialogs.c.failed_seq == seq, dialogs.c.status == FAILED))
        found = [_to_row(row) for row in rows.mappings().all()]
        self._withdraw(connection, found)
        for row in found:
            self._delete(connection, row.id)

    def erase(self, connection: Transaction, conversation_key: str) -> None:
        """Delete all dialogs of a conversation with their timers, and all steps of its messages."""
        for row in self._list_here(connection, conversation_key):
            if find_card_place(row.waiting) != conversation_key:
                self._approvals.withdraw(connection, row.waiting)
            self._delete(connection, row.id)
        for delete in _delete_steps_here:
            connection.execute(delete, {"key": conversation_key})
        self._save_open(connection, conversation_key)

    def find_cards(self, connection: Transaction, conversation_keys: Iterable[str]) -> set[str]:
        """Return the keys of the conversations that have cards of dialogs in these conversations."""
        keys = list(conversation_keys)
        return {find_card_place(row.waiting) for key in keys for row in self._list_here(connection, key)} - {"", *keys}

    def _list_here(self, connection: Transaction, conversation_key: str) -> Sequence[DialogRow]:
        rows = connection.execute(sa.select(dialogs).where(dialogs.c.conversation_key == conversation_key))
        return [_to_row(row) for row in rows.mappings().all()]

    def erase_opening(self, connection: Transaction, seq: int) -> None:
        """Delete the dialogs that the message ``seq`` started, and its steps."""
        connection.execute(_delete_all_steps, {"ev": f"m{seq}"})
        rows = connection.execute(sa.select(dialogs).where(dialogs.c.event == f"m{seq}")).mappings().all()
        found = [_to_row(row) for row in rows]
        self._withdraw(connection, found)
        for row in found:
            self._delete(connection, row.id)
            self._save_open(connection, row.conversation_key)

    def _save_open(self, connection: Transaction, conversation_key: str) -> None:
        """Write the open dialogs of a conversation into its state, where each message's run finds them."""
        found = [_to_open(_to_row(row)) for row in connection.execute(_open_here, {"key": conversation_key}).mappings()]
        waiting = [item.to_json() for item in found if item.user]
        removed = frozenset[str]() if waiting else frozenset({DIALOGS_KEY})
        values = {DIALOGS_KEY: json.dumps(waiting)} if waiting else {}
        self._state.apply(connection, [StateChange("conversation", conversation_key, values, removed)])


def find_card_place(waiting: Waiting) -> str:
    """Return the key of the conversation that has the card of an approval; empty for any other step."""
    return ApprovalCard.from_json(waiting.approval).conversation.key_text if waiting.approval is not None else ""


def _key(dialog: DialogId) -> dict[str, Any]:
    return {"ev": dialog.event, "gen": dialog.generation}


def _seq(dialog: DialogId) -> int:
    return int(dialog.event[1:])


def _to_step(row: sa.RowMapping) -> Step:
    return Step(
        row["number"],
        row["kind"],
        row["key"],
        row["code"],
        row["text"],
        row["trigger"],
        row["at"],
        json.loads(row["result"]),
    )


def _to_row(row: sa.RowMapping) -> DialogRow:
    return DialogRow(
        DialogId(row["event"], row["generation"]),
        row["conversation_key"],
        row["handler"],
        json.loads(row["call"]),
        row["code"],
        Waiting(**json.loads(row["waiting"])),
        row["asked_seq"],
        row["status"],
        row["failed_seq"],
        row["opened_at"],
        row["updated_at"],
    )


def _to_open(row: DialogRow) -> OpenDialog:
    waiting = row.waiting
    return OpenDialog(
        row.id,
        waiting.step,
        waiting.user,
        waiting.thread,
        row.handler,
        row.asked_seq,
        waiting.offers,
        waiting.listen,
        row.failed_seq,
        DialogId.parse(waiting.asked_by) or DialogId(""),
        waiting.question or 0,
        waiting.asked_field,
        waiting.kind,
        waiting.approval["conversation"] if waiting.kind == HAND_OFF and waiting.approval is not None else None,
    )
