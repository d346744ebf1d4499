"""The steps of a conversation runner, and the results that are stored with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cometbot.approvals import Decision
from cometbot.state import StateChange
from cometbot.steps import DialogChange, DialogId, Step
from cometbot.store.mailbox import MailboxMessage
from cometbot.store.outbox import Draft, MarkChanges, SendAttempt, SendResult
from cometbot.store.tables import DONE


@dataclass(frozen=True, slots=True)
class HandleMessage:
    """A message to handle now. It is marked as running, unless it has crashed too many processes."""

    message: MailboxMessage


@dataclass(frozen=True, slots=True)
class SendReplies:
    """Replies to send now, in order, which are marked as being sent."""

    attempts: Sequence[SendAttempt]


@dataclass(frozen=True, slots=True)
class StartNext:
    """The next step is to be chosen in a transaction of its own (``Transactions.start_next``)."""


@dataclass(frozen=True, slots=True)
class Released:
    """The end of the work: the lease is released.

    The conversation continues at ``due_at`` (0: at the tail of the queue; None: when something arrives), with
    ``to_send`` with a reply.
    """

    due_at: float | None = None
    to_send: bool = False


Work: TypeAlias = HandleMessage | SendReplies | StartNext | Released
"""The next step of a runner, which is already committed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The steps that a runner may begin; none if it ``must_yield`` to other conversations."""

    can_handle: bool
    can_send: bool
    must_yield: bool = False


@dataclass(frozen=True, slots=True)
class ReplyBatch:
    """Replies to store, and the results of earlier sends that are not saved yet.

    ``is_blocked``: an earlier reply waits, so these must wait, too. ``steps`` and ``marks`` are stored in the same
    commit, and with the steps ``changes`` of the state, unless the steps are stored already. It also ends the messages
    ``stops``, each a waiting ``/stop`` that is answered here, and stores in the state that they have ``stopped`` the
    handler.
    """

    drafts: Sequence[Draft] = ()
    results: Sequence[SendResult] = ()
    is_blocked: bool = False
    steps: tuple[DialogId, Sequence[Step]] | None = None
    changes: Sequence[StateChange] = ()
    stops: Sequence[MailboxMessage] = ()
    stopped: StateChange | None = None
    marks: MarkChanges | None = None


@dataclass(frozen=True, slots=True)
class MessageEnd:
    """The end of a message, with everything that is stored in the same commit.

    ``state`` is done, dead, or waiting: then the message runs again after ``retry_in`` seconds. ``handler`` is the
    handler, or what stopped the message. ``report`` is that of the end of a message that decides about an approval,
    for a client that waits: if the decision counts, the dialog that goes on makes it instead. With ``is_held``, the
    message has done nothing, and the run does not count. The waiting messages ``joined`` end with it, for the same
    reason.
    """

    message: MailboxMessage
    handler: str
    state: str = DONE
    error_text: str = ""
    retry_in: float = 0.0
    changes: Sequence[StateChange] = ()
    replies: ReplyBatch = ReplyBatch()
    dialog: DialogChange | None = None
    question_ordinal: int | None = None
    decision: Decision | None = None
    report: Sequence[Draft] = ()
    is_held: bool = False
    joined: Sequence[MailboxMessage] = ()
