"""The steps of a handler that runs again: what earlier runs have stored, and what this run adds.

A handler that asks is *suspended*: its run ends, and the handler runs again from its top when the answer has come. Each
call that needs a result that lasts is a step (``ctx.ask``, ``ctx.approve``, ``ctx.call``, ``ctx.once``,
``ctx.sleep``, ``ctx.stream``), or several (``ctx.run_agent``). The first run that reaches a step stores its result;
each later run gets the stored result at once.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, TypedDict

from cometbot.durations import Duration
from cometbot.errors import BotError
from cometbot.events import Event
from cometbot.messages import Choice

MAX_STEPS = 500
"""The steps that one dialog may have."""

MAX_DIALOG_BYTES = 256 * 1024
"""The bytes of JSON that the results of one dialog's steps may have together, without its streams."""

MAX_STREAMED_BYTES = 16 * 1024 * 1024
"""The bytes of JSON that the texts of one dialog's streams may have together."""

APPROVE, ASK, BEGUN, ONCE, SLEEP, STREAM = "approve", "ask", "begun", "once", "sleep", "stream"
HAND_OFF = "hand_off"
"""The kind of ``ctx.hand_off``, and what is recorded in place of the handler of a message that is relayed."""

CALL = "call"
"""The kind of ``ctx.call``: a call of a tool of the client."""

MODEL, TOOL = "model", "tool"
"""The steps of ``ctx.run_agent``: an answer of the model, and a call of a tool."""

STOPPED = "cancelled"
"""The kind of the step where a run has read ``ctx.cancelled`` and got True. Later runs get True there, too."""

TIMEOUT, CANCELLED, GIVEN_UP, REPLACED, REFUSED = "timeout", "cancelled", "given_up", "replaced", "refused"
"""The ways in which a question ends without an answer, as they stand in its result under ``ended``."""

ELAPSED = "elapsed"
"""The end of a sleep whose time has come."""

TURN = "turn"
"""An answer with this under ``ended`` is none: the handler runs again, and its step goes on waiting."""

NO_DEFAULT: Any = object()
DEFAULT_GIVE_UP_TEXT = "Let us leave it there. You can start again at any time."


@dataclass(frozen=True, slots=True)
class AskOptions:
    """The options of one call of ``ctx.ask``."""

    choices: Sequence[Choice[Any] | str] | None = None
    type: Any = None
    validate: Callable[[Any], Any] | None = None
    invalid_text: str = ""
    attempts: int = 3
    give_up_text: str = DEFAULT_GIVE_UP_TEXT
    timeout: Duration | None = None
    default: Any = NO_DEFAULT
    key: str = ""
    listen: bool = False
    of: str = ""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options of one call of ``ctx.call``."""

    timeout: Duration | None = None
    default: Any = NO_DEFAULT
    key: str = ""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call that a model makes of a tool named ``name``. ``identity`` is the same in each run for the same call.

    ``describe`` returns the text that the model gets for a stored result.
    """

    name: str
    arguments: Mapping[str, Any]
    identity: str
    describe: Callable[[Mapping[str, Any]], str]


class AskKeywords(TypedDict, total=False):
    """The options of ``ctx.ask`` that do not change the type of its answer."""

    invalid_text: str
    attempts: int
    give_up_text: str
    timeout: Duration | None
    key: str
    listen: bool
    of: str


class Suspended(BaseException):
    """The handler cannot go on now. It runs again when what it waits for has come."""


@dataclass(frozen=True, slots=True)
class DialogId:
    """The message that started a handler: its id (``m12``) and its generation."""

    event: str
    generation: int = 0

    def __str__(self) -> str:
        return f"{self.event}.{self.generation}"

    @classmethod
    def parse(cls, text: str) -> DialogId | None:
        """Return the id written as ``text``, or None if it is none."""
        event, _, generation = text.partition(".")
        if not generation.isdecimal() or not generation.isascii() or len(generation) > 9:
            return None
        return cls(event, int(generation))


@dataclass(frozen=True, slots=True)
class Step:
    """A step with its stored result.

    ``code`` is the hash of the function that called it, ``text`` that of what it asked. ``trigger`` is the id of the
    message that brought the result (``m13``), and ``at`` the time when that message arrived.
    """

    number: int
    kind: str
    key: str
    code: str
    text: str
    trigger: str
    at: float
    result: Any

    @property
    def size(self) -> int:
        """The bytes of its result."""
        return len(json.dumps(self.result))


@dataclass(frozen=True, slots=True)
class Answer:
    """What has come for the step with this number.

    ``raw`` has ``text``, ``value`` (of a choice), ``values`` (of a form) or ``ended``, and maybe ``files``. A text of a
    group that is not addressed to the bot has ``overheard``: it is no answer unless it fits.
    """

    step: int
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a step, as this run makes it; ``stored`` is its step if an earlier run has stored one."""

    number: int
    kind: str
    key: str
    code: str
    text: str
    stored: Step | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a suspended run waits for: the answer of ``user`` to a question, or only the time ``expires_at``.

    ``step`` to ``text`` are those of the step that it waits at. ``wakes_with`` is how the step ends at ``expires_at``.
    The question was said under the ordinal ``question`` of the message ``asked_by`` (``m12.0``, with its generation);
    operators see ``question_text``.
    ``offers`` are the quick replies of the question (see :mod:`cometbot.quick_replies`). ``attempts`` is the number of
    answers in a row that did not fit. In groups, ``listen`` counts every text of the user as an answer. ``fields`` are
    the fields of a form that are left; if they are asked one by one, ``asked_field`` is the one that is asked,
    ``skip`` the word that leaves it out (empty if it needs an answer), and ``filled`` has what is answered.
    ``approval`` is the card of an approval (:class:`cometbot.approvals.ApprovalCard`) as JSON; then ``user`` is who
    asks for it. That of a hand-off is what people are shown first; then ``user`` is who is handed over. At a call of a
    client's tool, ``user`` is that of the client.
    """

    step: int
    kind: str
    key: str = ""
    code: str = ""
    text: str = ""
    user: str = ""
    thread: str = ""
    expires_at: float | None = None
    attempts: int = 0
    offers: Sequence[Mapping[str, Any]] = ()
    listen: bool = False
    wakes_with: str = TIMEOUT
    asked_by: str = ""
    question: int | None = None
    question_text: str = ""
    fields: Sequence[str] = ()
    asked_field: str = ""
    skip: str = ""
    filled: Mapping[str, str] = field(default_factory=dict)
    approval: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a run between two stored steps: the message that made it, when that arrived, and what it said."""

    trigger: str
    at: float
    said: int = 0


@dataclass(frozen=True, slots=True)
class StoredDialog:
    """A dialog as it is stored: the event that started it, how that was routed, and its steps.

    It has waited since ``waiting_since``, in Unix seconds.
    ``call`` has the arguments of the handler: ``line`` of a command, ``groups`` of a matcher, ``action`` of a button.
    ``code`` is the hash of the handler's code when it was suspended.
    """

    id: DialogId
    event: Event
    opened_at: float
    handler: str
    call: Mapping[str, Any]
    code: str
    waiting: Waiting
    steps: Sequence[Step]
    waiting_since: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DialogEvent(Event):
    """What cometbot itself reports to a dialog: a time that has come, a question that was refused or replaced."""

    dialog: DialogId
    step: int
    result: Mapping[str, Any]


OPEN, ENDING, OVER, FAILED = "open", "ending", "over", "failed"
"""The states of a dialog. One that is ending runs once more, for the reason that is in the mailbox."""


@dataclass(frozen=True, slots=True)
class DialogChange:
    """What a run changes in its dialog, stored in the commit that ends the run.

    ``status`` is open (the run is suspended), over, or failed. ``steps`` are those that are not stored yet. Dialogs in
    ``replaced`` end, because their user began another one. ``ended`` is how the dialog has ended, empty unless this run
    ended one that was open; ``answer_seconds`` is the time that its question waited for the answer of this run, and
    ``approval`` how an approval ended in it. These are for metrics; see :class:`cometbot.observer.Observer`.
    ``was_suspended`` is False for a run that ended without ever waiting, of which only steps are stored.
    """

    id: DialogId
    status: str
    steps: Sequence[Step] = ()
    waiting: Waiting | None = None
    handler: str = ""
    call: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""
    replaced: Sequence[DialogId] = ()
    ended: str = ""
    answer_seconds: float | None = None
    approval: str = ""
    was_suspended: bool = True


class ChangedCode(Exception):
    """The handler's code has changed, and its stored steps do not fit it any more."""


@dataclass
class StepRun:
    """The steps of one run of a handler.

    ``steps`` are the stored ones, ``answer`` is what has come for the next step, ``trigger`` the message that made this
    run, and ``at`` the time when it arrived; ``opened_at`` is that of the message that started the handler.
    ``handler_code`` is the hash of the handler's code, ``stored_code`` the one of the run that was suspended.
    """

    dialog: DialogId
    trigger: str
    at: float
    opened_at: float
    steps: Sequence[Step] = ()
    answer: Answer | None = None
    waiting_for: Waiting | None = None
    handler_code: str = ""
    stored_code: str = ""
    new_steps: list[Step] = field(default_factory=list)
    waiting: Waiting | None = None
    is_suspended: bool = False
    position: int = 0
    said: int = 0
    """The messages said since the last step of another message."""
    is_cancelled: bool = False
    """True behind the point where the run, or an earlier one of the same message, has read that it was stopped."""

    def __post_init__(self) -> None:
        self.random = random.Random()
        self._used_bytes = sum(step.size for step in self.steps if step.kind != STREAM)
        self._streamed_bytes = sum(step.size for step in self.steps if step.kind == STREAM)
        self._segment = Segment(self.dialog.event, self.opened_at)
        self._begin_segment()

    @property
    def segment(self) -> Segment:
        """The part of the run that the handler is in."""
        return self._segment

    @property
    def is_past(self) -> bool:
        """True while the handler repeats what an earlier run has done."""
        return self.position < len(self.steps) + (self.answer is not None)

    def enter(self, kind: str, key: str, code: str, text: str) -> Call:
        """Begin the next step, and return it with its stored result, if there is one.

        Raises :class:`ChangedCode` or :class:`BotError` if an earlier run had another step here, and
        :class:`BotError` for too many steps.
        """
        self._pass_stopped()  # the code may have changed, and not look any more
        number = self.position
        if number >= MAX_STEPS:
            raise BotError(
                f"a dialog has at most {MAX_STEPS} steps (ask, approve, call, once, run_agent, sleep, stream); for "
                "what goes on for ever use bot.every or ctx.later"
            )
        call = Call(number, kind, key, code, text)
        if number >= len(self.steps):
            if self.answer is not None and self.waiting_for is not None and not _is_same(self.waiting_for, call):
                self._refuse(self.waiting_for, call)
            return call
        stored = self.steps[number]
        if not _is_same(stored, call):
            self._refuse(stored, call)
        self._pass(stored)
        return Call(number, kind, key, code, text, stored)

    def read_cancelled(self, is_cancelled: bool) -> bool:
        """Return True if the run is stopped at this point; ``is_cancelled`` says if it is by now.

        What was read is part of the path, like a step: a run that repeats this point reads the same.
        """
        self._pass_stopped()
        if is_cancelled and not self.is_cancelled and not self.is_past:
            self.record(Call(self.position, STOPPED, "", "", ""), None)
            self.is_cancelled = True
        return self.is_cancelled

    def _pass_stopped(self) -> None:
        """Pass the step of an earlier run that was stopped here, if it is the next one."""
        if self.position < len(self.steps) and self.steps[self.position].kind == STOPPED:
            self._pass(self.steps[self.position])
            self.is_cancelled = True

    def take_answer(self, call: Call) -> Answer | None:
        """Return what has come for this step, or None."""
        if self.answer is None or self.answer.step != call.number or self.answer.raw.get("ended") == TURN:
            return None
        return self.answer

    def record(self, call: Call, result: Any) -> Step:
        """Add the result of a step. It is stored with the next commit."""
        step = Step(call.number, call.kind, call.key, call.code, call.text, self.trigger, self.at, result)
        self._check_size(step)
        self.new_steps.append(step)
        self.answer = None
        self._pass(step)
        return step

    @property
    def free_bytes(self) -> int:
        """The bytes that further results may have."""
        return MAX_DIALOG_BYTES - self._used_bytes

    def _check_size(self, step: Step) -> None:
        """Count the bytes of a step. Raises :class:`BotError` if they are too many together."""
        if step.kind == STREAM:
            self._streamed_bytes += step.size
            if self._streamed_bytes > MAX_STREAMED_BYTES:
                raise BotError(
                    f"the streams of a dialog have at most {MAX_STREAMED_BYTES} bytes together, with this one "
                    f"{self._streamed_bytes}"
                )
            return
        used = self._used_bytes + step.size
        if used > MAX_DIALOG_BYTES:
            raise BotError(
                f"the results of a dialog's steps have at most {MAX_DIALOG_BYTES} bytes together, with this one "
                f"{used}; return an id from ctx.once and keep the rest in your database"
            )
        self._used_bytes = used

    def suspend(self, waiting: Waiting) -> Suspended:
        """Return the exception that ends this run, which continues when what it waits for has come."""
        self.waiting = waiting
        self.is_suspended = True
        return Suspended()

    def abandon(self) -> None:
        """Repeat nothing more: the handler has failed."""
        self.steps, self.answer = self.steps[: self.position], None

    @property
    def kept_steps(self) -> list[Step]:
        """The new steps that a failed run keeps, without the error of a call that ended it."""
        kept = list(self.new_steps)
        while kept and kept[-1].kind in (MODEL, ONCE, STREAM, TOOL):
            if not isinstance(kept[-1].result.get("error"), Mapping):  # that of a tool may be a text for the model
                break
            kept.pop()
        return kept

    def check_complete(self) -> None:
        """Raise unless the handler, which has ended, came past all stored steps."""
        self._pass_stopped()
        if self.is_past:
            is_stored = self.position < len(self.steps)
            self._refuse(self.steps[self.position] if is_stored else self.waiting_for, None)

    def _pass(self, step: Step) -> None:
        self.position = step.number + 1
        if step.trigger != self._segment.trigger:
            self._segment = Segment(step.trigger, step.at)
            self.said, self.is_cancelled = 0, False
        self._begin_segment()

    def _begin_segment(self) -> None:
        self.random.seed(f"{self.dialog}/{self.position}")

    def _refuse(self, stored: Step | Waiting | None, call: Call | None) -> None:
        has_changed = bool(self.stored_code) and self.stored_code != self.handler_code
        if stored is not None and call is not None and stored.code != call.code:
            has_changed = has_changed or not self.stored_code
        if has_changed:
            raise ChangedCode
        raise BotError(
            f"the handler is not deterministic: in an earlier run, step {self.position + 1} was {_describe(stored)}, "
            f"and is {_describe(call)} in this one, or asks something else. A handler that asks runs again for each "
            "answer and must take the same path. Put what may differ (time, random numbers, databases, requests) into "
            "ctx.once, or use ctx.now() and ctx.random"
        )


def _describe(step: Step | Waiting | Call | None) -> str:
    if step is None:
        return "the end"
    return _DESCRIPTIONS.get(step.kind, f"ctx.{step.kind}")


_DESCRIPTIONS = {
    BEGUN: "ctx.once(…, again=False)",
    MODEL: "an answer of the model of ctx.run_agent",
    TOOL: "a call of a tool of ctx.run_agent",
}


def _is_same(stored: Step | Waiting, call: Call) -> bool:
    if stored.kind != call.kind or stored.key != call.key:
        return False
    return bool(call.key) or stored.code == call.code or stored.text == call.text


def hash_text(*parts: str) -> str:
    """Return a short hash of texts."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=8).hexdigest()


@functools.lru_cache(maxsize=1024)
def hash_code(code: CodeType | None) -> str:
    """Return a short hash of a function's code, constants and names, without line numbers; empty for None."""
    if code is None:
        return ""
    digest = hashlib.blake2b(digest_size=8)
    _add_code(digest, code)
    return digest.hexdigest()


def _add_code(digest: Any, code: CodeType) -> None:
    digest.update(code.co_code)
    digest.update("\0".join((*code.co_names, *code.co_varnames, *code.co_freevars)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(digest, constant)
        elif isinstance(constant, frozenset):
            digest.update("\0".join(sorted(map(repr, constant))).encode("utf-8", "replace"))
        else:
            digest.update(repr(constant).encode("utf-8", "replace"))
