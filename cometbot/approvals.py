"""Approvals: what ``ctx.approve`` asks for, how its card looks, and how a decision about it is recognised."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from cometbot.durations import Duration
from cometbot.errors import BotError
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.messages import APPROVAL_ACTION, Button, Card, QuickReply, Text
from cometbot.models import Conversation, Group, User, conversation_to_json
from cometbot.presses import may_press, to_uids
from cometbot.state import RESERVED_PREFIX
from cometbot.steps import APPROVE, CANCELLED, REFUSED, TIMEOUT, DialogId

APPROVED: Final = "approved"
DECLINED: Final = "declined"
EXPIRED: Final = "expired"
WITHDRAWN: Final = "withdrawn"

APPROVALS_KEY = f"{RESERVED_PREFIX}approvals"
"""The state key of a conversation's approvals: those that wait, and what became of the last ones."""

WITHDRAWN_TEXT = "This request was withdrawn."

_DECISIONS = {"approve": APPROVED, "decline": DECLINED}
_MAX_NUMBER_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Approval:
    """The decision that ``ctx.approve`` returns; it is true if the request was approved.

    ``status`` is ``approved``, ``declined`` or ``expired``. ``by`` is the user who decided, None if nobody did in time.
    ``at`` is when the decision arrived, in UTC.
    """

    status: Literal["approved", "declined", "expired"]
    by: User | None
    at: datetime

    def __bool__(self) -> bool:
        return self.status == APPROVED


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """The arguments of one call of ``ctx.approve``."""

    text: str
    fields: Mapping[str, object] = field(default_factory=dict)
    to: Group | User | Conversation | None = None
    by: Collection[str | User] | None = None
    timeout: Duration | None = None
    own: bool = False
    key: str = ""

    def __post_init__(self) -> None:
        if not (isinstance(self.text, str) and self.text.strip()):
            raise BotError(f"approve: expected a text that says what is to be approved, got {self.text!r}")
        if not isinstance(self.fields, Mapping):
            raise BotError(f'approve: fields: expected a dict such as {{"Amount": "30 €"}}, got {self.fields!r}')
        if not isinstance(self.to, Group | User | Conversation | None):
            raise BotError(f'approve: to: expected a Group such as Group("managers"), a User or None, got {self.to!r}')
        self._check_by()

    def _check_by(self) -> None:
        users = self.by if isinstance(self.by, Collection) and not isinstance(self.by, str | Mapping) else [None]
        are_users = bool(users) and all(isinstance(item, User) or (isinstance(item, str) and item) for item in users)
        if self.by is not None and not are_users:
            raise BotError(f'approve: by: expected uids such as ["tom", "maria"], or None for all, got {self.by!r}')

    @property
    def uids(self) -> tuple[str, ...] | None:
        """The ids of the users who may decide, None for all members."""
        return None if self.by is None else to_uids(self.by)

    @property
    def identity(self) -> str:
        """A text that is the same for the same request."""
        return "\n".join(self._lines)

    @property
    def _lines(self) -> list[str]:
        return [self.text, *(f"{name}: {value}" for name, value in self.fields.items())]

    def make_card(self, number: int, *notes: str) -> Card:
        """Return the card that asks for the approval; ``notes`` follow its fields."""
        title, *lines = self._lines
        return Card(title, "\n\n".join([*lines, *filter(None, notes)]), buttons=_make_buttons(number))

    def make_outcome(self, text: str) -> Text:
        """Return what is shown in place of the card once the approval has ended."""
        return Text("\n\n".join([*self._lines, text]))


def _make_buttons(number: int) -> list[Button]:
    return [Button(word.capitalize(), f"{APPROVAL_ACTION}{number}", f"{word} {number}") for word in _DECISIONS]


def approval_buttons(number: int) -> tuple[QuickReply, ...]:
    """Return the buttons of the approval with this number."""
    return Card("Approval", buttons=_make_buttons(number)).offers()


@dataclass(frozen=True, slots=True)
class ApprovalCard:
    """The card of an approval, as it is stored with what its dialog waits for.

    ``conversation`` and ``thread`` are where it was sent. ``withdrawal`` are the requests that replace it if its dialog
    is deleted: they edit it if ``edits`` is true, or follow it. ``by`` are the uids of those who may decide, None for
    all.
    """

    number: int
    conversation: Conversation
    by: Sequence[str] | None
    withdrawal: Sequence[Mapping[str, Any]]
    edits: bool
    thread: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the card as JSON."""
        return {
            "number": self.number,
            "conversation": conversation_to_json(self.conversation),
            "by": None if self.by is None else list(self.by),
            "withdrawal": list(self.withdrawal),
            "edits": self.edits,
            "thread": self.thread,
        }

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> ApprovalCard:
        """Return the card that :meth:`to_json` described."""
        return cls(**{**item, "conversation": Conversation(**item["conversation"])})


@dataclass(frozen=True, slots=True)
class OpenApproval:
    """An approval that waits for a decision in this conversation.

    ``dialog`` waits for it at ``step``, in the conversation with the key ``asked_in``. ``asker`` has the ids of the
    user who asked, who may decide only with ``own``. A message up to the sequence number ``after`` was written before
    the card, which was sent as ``card``: the generation and ordinal under the message that asked. A hand-off waits here
    in the same way (``kind``), until it ends; then ``conversation`` is the user's, as JSON.
    """

    number: int
    dialog: DialogId
    step: int
    asked_in: str
    asker: Sequence[str]
    by: Sequence[str] | None
    own: bool
    after: int = 0
    card: Sequence[int] = ()
    kind: str = APPROVE
    conversation: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the approval as JSON."""
        return {
            "number": self.number,
            "dialog": str(self.dialog),
            "step": self.step,
            "asked_in": self.asked_in,
            "asker": list(self.asker),
            "by": None if self.by is None else list(self.by),
            "own": self.own,
            "after": self.after,
            "card": list(self.card),
            "kind": self.kind,
            "conversation": self.conversation,
        }

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> OpenApproval:
        """Return the approval that :meth:`to_json` described."""
        return cls(**{**item, "dialog": DialogId.parse(item["dialog"]) or DialogId("")})


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that counts: its approval, the result of the step that waits for it, and how others read it."""

    approval: OpenApproval
    result: Mapping[str, Any]
    text: str


@dataclass(frozen=True, slots=True)
class Vote:
    """The wish of a user that an approval becomes ``status``: approved or declined."""

    number: int
    status: str
    is_button: bool


def read_vote(event: Event, text: str) -> Vote | None:
    """Return the vote about an approval that an event is, or None. ``text`` is the event's, without a mention.

    A text counts if it is the word with the number: ``approve 17``.
    """
    is_button = isinstance(event, ActionEvent) and event.name.startswith(APPROVAL_ACTION)
    if not (is_button or isinstance(event, MessageEvent)):
        return None
    written = event.value if isinstance(event, ActionEvent) else text
    words = str(written).casefold().rstrip(" .!").split(maxsplit=2)
    if len(words) != 2 or words[0] not in _DECISIONS:
        return None
    number = words[1].removeprefix("#")
    if not (number.isascii() and number.isdecimal() and len(number) <= _MAX_NUMBER_DIGITS):
        return None
    return Vote(int(number), _DECISIONS[words[0]], is_button)


def find_open(stored: Any, number: int, sequence: int) -> OpenApproval | None:
    """Return the approval with this number that waited when the message ``sequence`` was written, or None.

    ``stored`` is the value of :data:`APPROVALS_KEY`.
    """
    item = (stored or {}).get("open", {}).get(str(number))
    found = OpenApproval.from_json(item) if item is not None else None
    return found if found is not None and sequence > found.after else None


def find_over_text(stored: Any, number: int) -> str:
    """Return what became of an approval that no longer waits here, empty if it is not known."""
    return str((stored or {}).get("over", {}).get(str(number), ""))


def find_objection(approval: OpenApproval, user: User) -> str:
    """Return why a user may not decide about an approval, for that user; empty if they may."""
    if not approval.own and may_press(approval.asker, user):
        return f"You have asked for {approval.number} yourself, so somebody else decides."
    if approval.by is not None and not may_press(approval.by, user):
        return f"You cannot decide about {approval.number}."
    return ""


def make_decision(approval: OpenApproval, status: str, user: User) -> Decision:
    """Return the decision of a user who may decide."""
    result = {"status": status, "by": {"uid": user.uid, "name": user.name}}
    return Decision(approval, result, describe_end(result))


def describe_end(result: Mapping[str, Any]) -> str:
    """Return how an approval ended, for those who see its card."""
    ended = result.get("ended")
    if ended is None:
        return f"{result['status'].capitalize()} by {read_user(result)}."
    return {TIMEOUT: "Expired: nobody has decided in time.", REFUSED: ""}.get(str(ended), "Withdrawn.")


def name_end(result: Mapping[str, Any]) -> str:
    """Return how an approval ended in one word: approved, declined, expired, withdrawn or refused."""
    ended = result.get("ended")
    if ended is None:
        return str(result["status"])
    return {TIMEOUT: EXPIRED, REFUSED: REFUSED, CANCELLED: WITHDRAWN}.get(str(ended), WITHDRAWN)


def read_user(result: Mapping[str, Any]) -> User:
    """Return the user who decided, from a stored result."""
    return User(result["by"]["uid"], result["by"]["name"])
