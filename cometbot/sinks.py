"""What a context is built on: the sink of its replies, and the calls whose results last."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import CodeType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cometbot.approvals import Approval, ApprovalRequest
from cometbot.durations import Duration
from cometbot.errors import BotError
from cometbot.events import MessageEvent
from cometbot.hand_offs import HandOff, HandOffRequest
from cometbot.jobs import JobChange, PlannedJob
from cometbot.messages import Capabilities, Operation
from cometbot.models import Attachment, Conversation, User
from cometbot.state import StateChange
from cometbot.steps import AskOptions, CallOptions, DialogId, Step, StoredDialog, ToolUse
from cometbot.token_usage import ReportedUsage

if TYPE_CHECKING:
    from cometbot.bot import Bot

T = TypeVar("T")


class ReplySink(Protocol):
    """The backend of a context. Delivery implements it on top of the outbox; tests may replace it with a fake.

    ``post`` stores an operation under the event's next ordinal, carries it out if its turn has come, and returns the
    ordinal. The first write wins: an ordinal that is already stored keeps its operation. ``post`` raises ``LeaseLost``
    if another worker holds the conversation now.

    ``preview`` shows an unfinished text in a message that was sent, if that is possible at the moment. ``stream_delta``
    does the same with the next piece of a message that is not sent yet, and abandons that message if the piece is None.
    Neither is stored or repeated.
    """

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the channel."""
        ...

    @property
    def client(self) -> Any:
        """The platform's API client."""
        ...

    def post(self, operation: Operation) -> int:
        """Store an operation, carry it out in its turn, and return its ordinal."""
        ...

    def platform_id(self, ordinal: int) -> str | None:
        """Return the platform's id of the message posted under this ordinal, or None while it waits."""
        ...

    def preview(self, ordinal: int, text: str) -> None:
        """Show an unfinished text in a message that was sent."""
        ...

    def stream_delta(self, stream_id: str, sequence: int, text: str | None) -> None:
        """Show the next piece of a message that is not sent yet. None abandons the message."""
        ...

    def show_tool_call(self, call_id: str, name: str, arguments: Mapping[str, Any]) -> None:
        """Show that a tool is being called, where the channel can. It is neither stored nor repeated."""
        return

    def show_tool_result(self, call_id: str, content: str) -> None:
        """Show the result of a tool, as a model gets it, like :meth:`show_tool_call`."""
        return

    def check_open(self) -> None:
        """Raise :class:`LeaseLost` if the message has been given up while its handler runs."""
        return

    def stream_key(self) -> int | None:
        """Return the key of a stream that begins now, the same in all runs; None if its outcome is not stored."""
        return None

    def prepare_mark(self, key: int, mark: Operation) -> None:
        """Store the operation that marks a stream as broken off, which is carried out if nothing completes it."""
        return

    def break_off(self, key: int, mark: Operation) -> None:
        """Carry out ``mark`` before the next operation, or when the message ends, unless its handler runs again."""
        return

    def store_marks(self) -> None:
        """Carry out the marks of streams now. The steps that are stored next say that these streams are over."""
        return

    def sent_mark(self, key: int) -> int | None:
        """Return the ordinal of the message by which an earlier run has marked a stream as broken off, or None."""
        return None

    def history(self, conversation: Conversation, limit: int) -> list[MessageEvent]:
        """Return the newest messages of a conversation, oldest first."""
        ...

    def transcript(self, conversation: Conversation, limit: int) -> Transcript:
        """Return the newest messages of a conversation as a model wants them."""
        ...

    def read_file(self, file: Attachment, limit: int) -> bytes:
        """Return the content of a file that a user sent, of at most ``limit`` bytes. Raises a :class:`ChannelError`."""
        raise BotError("attachment.read: files cannot be loaded here")

    def conversation(self, bot: Bot, user: str, group: str, channel: str = "", app: str = "") -> Conversation:
        """Return the conversation of ``bot`` with a user, or that of a group; one of the two is empty.

        Without ``channel`` and ``app``, it is on the channel of the event. Raises :class:`BotError` for one that is not
        configured.
        """
        ...

    def get_app(self, conversation: Conversation) -> str:
        """Return the name of a conversation's app, or its account if it is not served here; empty without apps."""
        return ""

    def capabilities_of(self, conversation: Conversation) -> Capabilities:
        """Return the capabilities of the channel of a conversation, which may be another one."""
        ...

    def has_member(self, conversation: Conversation, user: User) -> bool:
        """Return True if ``user`` takes part in the conversation now. Raises a ``ChannelError`` if it cannot tell."""
        ...

    def members(self, conversation: Conversation) -> list[User]:
        """Return the members of a group with their scopes, without bots of this server. Raises a ``ChannelError``."""
        ...

    def get_scope(self, conversation: Conversation, user: User) -> str:
        """Return what ``user`` is in a group now, empty for nobody of it. Raises a ``ChannelError``."""
        ...

    def render(self, operation: Operation) -> Sequence[Mapping[str, Any]]:
        """Return the requests of an operation, as the channel of its conversation sends them."""
        ...

    def hears_only_mentions(self, bot: Bot, channel: str = "") -> bool:
        """Return True if, in groups, ``bot`` gets only messages that mention it."""
        ...

    def load_state(self, scope: str, owner: str) -> dict[str, str]:
        """Return the stored state of an owner: JSON texts by key."""
        ...

    def waiting_messages(self, limit: int) -> Sequence[WaitingMessage]:
        """Return the oldest ``limit`` messages that wait in the conversation behind that of this run."""
        return ()

    def joined_messages(self, message: str) -> Sequence[MessageEvent]:
        """Return the messages, oldest first, that ended with ``message`` (``m15``) because they are of its burst."""
        return ()

    def start_handler(self, handler: str, timeout: float | None, *, stops_on_new: bool = False) -> None:
        """Record that a handler of this name begins. ``timeout`` is its limit in seconds (None: the default).

        An empty name means that the search for a handler begins, or the middleware around no handler. With
        ``stops_on_new``, a newer message of the same user stops it.
        """
        ...

    is_cancelled: bool = False
    """True once the user has stopped this run. Reading it does no I/O."""

    has_stopped: bool = False
    """True if the message of this run is a ``/stop`` that has stopped another run."""

    @property
    def has_said_next(self) -> bool:
        """True if an earlier run of the same message has said what is posted next."""
        return False

    def status(self, text: str) -> None:
        """Show for a moment what the handler is doing, where the channel can. It is neither stored nor repeated."""
        ...

    def mark_failed(self) -> None:
        """Record that the handler raised. Operations posted from now on have a separate range of ordinals."""
        ...

    @property
    def calls_once(self) -> bool:
        """True if ``ctx.once`` may call the author's function; the run ends there otherwise."""
        return True

    @property
    def trigger(self) -> Trigger:
        """The message that made this run."""
        ...

    def find_said(self, platform_id: str) -> tuple[DialogId, int] | None:
        """Return which message the bot said in this conversation under this id of the platform, and the ordinal.

        None if it has said none.
        """
        return None

    def end_hand_off(self, conversation: Conversation, dialog: DialogId, step: int, result: Mapping[str, Any]) -> None:
        """End the hand-off of a conversation with ``result``, unless it has ended otherwise before."""
        return

    def skip_ordinals(self, count: int) -> None:
        """Leave out the next ``count`` ordinals, which an earlier run of the same message has used."""
        ...

    def platform_id_of(self, said_for: DialogId, ordinal: int) -> str | None:
        """Return the platform's id of what the run of an earlier message of the dialog said.

        ``said_for`` has the id and the generation of that message.
        """
        ...

    @property
    def is_past(self) -> bool:
        """True while the handler repeats what an earlier run has said."""
        return False

    is_rerun: bool = False
    """True if a handler may have run for the same message before."""

    def load_steps(self) -> Sequence[Step]:
        """Return the steps that earlier runs of the same message have stored, without a dialog."""
        ...

    def load_dialog(self, dialog: DialogId) -> StoredDialog | None:
        """Return an open dialog with its steps, or None if it is over."""
        ...

    def attach_steps(self, dialog: DialogId, steps: Sequence[Step]) -> None:
        """Store steps in the commit of the next operation, or in the one that ends the run."""
        ...

    def save_steps(self, dialog: DialogId, steps: Sequence[Step], changes: Sequence[StateChange]) -> None:
        """Store steps and the changes made inside them in a durable commit."""
        ...

    def record_usage(self, reported: ReportedUsage) -> None:
        """Store and count a call of a model in the commit of the next steps, or in the one that ends the run."""
        ...

    def change_job(self, change: JobChange) -> int:
        """Add a job in a durable commit, as :meth:`post` stores an operation, and return its ordinal."""
        ...

    def cancel_job(self, change: JobChange) -> None:
        """Remove a job in a durable commit, which may be repeated."""
        ...

    def list_jobs(self, scope: str) -> Sequence[PlannedJob]:
        """Return what was scheduled in the conversation ``scope`` and is still to come, by its time."""
        ...

    @property
    def pending_usage(self) -> Sequence[ReportedUsage]:
        """The calls of models that are not stored yet."""
        return ()


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message that waits: its number in the mailbox, when it arrived, and its event.

    The event is None for what is no new message, cannot be read now, or has run before.
    """

    sequence: int
    received_at: float
    event: MessageEvent | None


@dataclass(frozen=True, slots=True)
class Transcript:
    """The newest messages of a conversation, oldest first, in the form of :meth:`Channel.transcript`.

    ``answered`` are the keys of the events that the bot's own messages answer, by the ids of these messages, as far as
    that is known.
    """

    messages: Sequence[MessageEvent]
    answered: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trigger:
    """The message that made a run: its id (``m13``), generation, number in the mailbox, and time of arrival.

    ``now`` is the present time, which for a message that had to wait is later than its arrival.
    """

    event: str
    generation: int
    sequence: int
    received_at: float
    now: float


class StepCalls(Protocol):
    """The calls of a context whose results last (see :mod:`cometbot.asking`)."""

    @property
    def is_in_handler(self) -> bool:
        """True while the handler runs, not middleware around it, nor the check of an answer that has just come."""
        ...

    def check_call(self, name: str) -> None:
        """Raise unless the context may do something now."""
        ...

    def ask(self, asked: Any, options: AskOptions, code: CodeType) -> Any:
        """Return the answer to a question, or suspend the run until it has come."""
        ...

    def approve(self, request: ApprovalRequest, code: CodeType) -> Approval:
        """Return the decision about a request, or suspend the run until it has come."""
        ...

    def hand_off(self, request: HandOffRequest, code: CodeType) -> HandOff:
        """Return how a hand-off has ended, or suspend the run until then."""
        ...

    def resume(self, conversation: Conversation) -> None:
        """End the hand-off of a conversation, if it has one."""
        ...

    def call_client(
        self, name: str, arguments: Mapping[str, Any], options: CallOptions, code: CodeType
    ) -> Mapping[str, Any]:
        """Return the client's result of a call of its tool, or suspend the run until it has come."""
        ...

    @property
    def has_begun_client_call(self) -> bool:
        """True if an earlier run has called a tool of the client where this one is."""
        ...

    def once(
        self,
        function: Callable[..., Any],
        values: Sequence[Any],
        named: Mapping[str, Any],
        key: str,
        code: CodeType,
        *,
        again: bool,
    ) -> Any:
        """Return the result of a call that is made once."""
        ...

    def sleep(self, duration: Duration, key: str, code: CodeType) -> None:
        """Suspend the run for a time."""
        ...

    def cancelled(self) -> bool:
        """Return True if the user has stopped the run, at this point of it."""
        ...

    def now(self) -> datetime:
        """Return the time of the run."""
        ...

    def random(self) -> random.Random:
        """Return the random numbers of the run."""
        ...

    def idempotency_key(self) -> str:
        """Return a key of the call of ``once`` or of a tool that is being made, the same in every run."""
        ...

    def stream(
        self, send: Callable[[Callable[[str], None]], T], restore: Callable[[int, str], T], key: str, code: CodeType
    ) -> T:
        """Return the message that ``send`` makes, or ``restore(ordinal, text)`` if an earlier run has sent it."""
        ...

    def call(self, name: str, function: Callable[[], T]) -> T:
        """Call a function that makes steps for the handler, in a thread where they are allowed."""
        ...

    def model(
        self,
        send: Callable[[Callable[[str], None]], T],
        restore: Callable[[int, str], T],
        describe: Callable[[], Mapping[str, Any]],
        key: str,
        code: CodeType,
    ) -> tuple[T, Mapping[str, Any]]:
        """Return the message of a model's answer and what is stored of it."""
        ...

    @property
    def has_stored_tool(self) -> bool:
        """True if the next step is a call of a tool whose result is stored."""
        ...

    @property
    def has_asked_approval(self) -> bool:
        """True if an earlier run has asked for an approval where this one is."""
        ...

    def tool(
        self, function: Callable[[], Mapping[str, Any]], use: ToolUse, key: str, code: CodeType
    ) -> Mapping[str, Any]:
        """Return the result of a call of a tool that is made once."""
        ...
