"""One run of a handler that may ask: how it begins, and what it leaves."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from cometbot.agent_steps import AgentSteps
from cometbot.bot import Sender, handler_sender
from cometbot.buttons import restore_action
from cometbot.context import Context
from cometbot.context_access import resume, use_steps
from cometbot.dialogs import DIALOGS_KEY, OpenDialog
from cometbot.errors import BotError
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.handler_sends import HandlerSender
from cometbot.handlers import Handler
from cometbot.matchers import Match
from cometbot.messages import Operation
from cometbot.quick_replies import make_action_event
from cometbot.replaying_sink import ReplayingSink
from cometbot.routing import HandlerMatch
from cometbot.sinks import ReplySink
from cometbot.steps import (
    APPROVE,
    ASK,
    CALL,
    FAILED,
    ONCE,
    OPEN,
    OVER,
    TOOL,
    Answer,
    DialogChange,
    DialogEvent,
    DialogId,
    StepRun,
    StoredDialog,
    hash_code,
)

REFUSED_TEXT = "Please answer my open question first, or write /cancel."


class DialogRun:
    """The dialog of one run, if it has one: it is created with the first step that the handler calls.

    ``asking`` is None until then.
    """

    def __init__(self, ctx: Context, sink: ReplySink) -> None:
        self.asking: AgentSteps | None = None
        self.is_resumed = False
        self._ctx = ctx
        self._sink = sink
        self._replaying: ReplayingSink | None = None
        self._answer_seconds: float | None = None
        self._handler: Handler | None = None
        self._thread = 0
        self._coroutine: Any = None
        self._task: object = None
        self._sender = HandlerSender(ctx, lambda: self.asking, lambda: bool(self._thread))
        self._outer_sender: Sender | None = None
        use_steps(ctx, self._make)

    @property
    def is_suspended(self) -> bool:
        """True if the run has reached a step that it must wait for."""
        return self.asking is not None and self.asking.run.is_suspended

    @property
    def opening(self) -> str:
        """The id of the message that started the handler (``m12``)."""
        return self.asking.run.dialog.event if self.asking is not None else self._sink.trigger.event

    def resume(self, stored: StoredDialog, answer: Answer, incoming: Event) -> None:
        """Begin a run that continues a dialog."""
        trigger = self._sink.trigger
        is_known = any(step.trigger == trigger.event and step.number >= answer.step for step in stored.steps)
        run = StepRun(
            stored.id,
            trigger.event,
            trigger.received_at,
            stored.opened_at,
            stored.steps,
            None if is_known else answer,
            stored.waiting,
            stored_code=stored.code,
        )
        self.is_resumed = True
        if "ended" not in answer.raw:
            self._answer_seconds = max(0.0, trigger.received_at - stored.waiting_since)
        self._begin(run, stored)
        resume(self._ctx, restore_event(stored), self._replaying or self._sink, stored.id)
        self._ctx.incoming = incoming

    def _begin(self, run: StepRun, stored: StoredDialog | None = None) -> None:
        self._replaying = ReplayingSink(self._sink, run)
        before = stored.waiting if stored else None
        self.asking = asking = AgentSteps(self._ctx, self._replaying, run, before, self._has_other_questions)
        use_steps(self._ctx, lambda: asking)

    def _make(self) -> AgentSteps:
        """Begin the steps of a run that continues none."""
        trigger = self._sink.trigger
        asking = AgentSteps(self._ctx, self._sink, self._new_run(trigger.event, trigger.received_at))
        self._allow(asking)
        self.asking = asking
        return asking

    def _new_run(self, event: str, at: float, steps: Sequence[Any] = ()) -> StepRun:
        dialog = DialogId(event, self._sink.trigger.generation)
        return StepRun(dialog, event, at, at, steps, handler_code=self._get_code())

    def enter_handler(self, handler: Handler) -> None:
        """Allow steps from now on, in this thread."""
        self._handler = handler
        self._thread = threading.get_ident()
        self._outer_sender = handler_sender.get()
        handler_sender.set(self._sender)
        if self.asking is None and self._sink.is_rerun and (steps := self._sink.load_steps()):
            trigger = self._sink.trigger
            run = self._new_run(trigger.event, trigger.received_at, steps)
            self._begin(run)
            resume(self._ctx, self._ctx.event, self._replaying or self._sink, run.dialog)
        if self.asking is not None:
            self.asking.run.handler_code = self._get_code()
            self._allow(self.asking)

    def _get_code(self) -> str:
        return hash_code(_get_code(self._handler.function)) if self._handler is not None else ""

    def wrap(self, coroutine: Any) -> Any:
        """Return a coroutine that runs an async handler, whose own task alone may call steps."""
        self._coroutine = coroutine
        handler_sender.set(self._outer_sender)
        return self._run_async(coroutine)

    async def _run_async(self, coroutine: Any) -> Any:
        self._thread, self._task = threading.get_ident(), asyncio.current_task()
        self._outer_sender = handler_sender.get()
        handler_sender.set(self._sender)
        if self.asking is not None:
            self._allow(self.asking)
        try:
            return await coroutine
        finally:
            self.leave_handler()

    def leave_handler(self) -> None:
        """Allow no more steps."""
        self._thread = 0
        handler_sender.set(self._outer_sender)
        if self.asking is not None:
            self.asking.forbid()

    def _allow(self, asking: AgentSteps) -> None:
        if self._thread:
            asking.allow(self._thread, self._task)

    def check_path(self) -> None:
        """Raise unless the handler, which has returned, took the path of its earlier runs."""
        if self.asking is not None:
            self.asking.run.check_complete()

    def end_past(self) -> None:
        """Check the path of the handler, and let what is said from now on be new."""
        self.check_path()
        self.go_live()

    def go_live(self) -> None:
        """Let what is said from now on follow what earlier runs of the same message have said."""
        if self._replaying is not None:
            self._replaying.go_live()

    def abandon_past(self) -> None:
        """Let what is said from now on count as new, because the handler has failed, maybe before it began."""
        if self._coroutine is not None:
            self._coroutine.close()
        if self.asking is not None:
            self.asking.run.abandon()

    def suspended(self, found: HandlerMatch, replaced: Sequence[DialogId]) -> DialogChange:
        """Return what a suspended run changes."""
        assert self.asking is not None
        run, handler = self.asking.run, found.handler
        if len(self._ctx.bot.routes.find_named(handler.name)) > 1:
            raise BotError(f"two handlers are named {handler.name}; a handler that asks needs a name of its own")
        return DialogChange(
            run.dialog,
            OPEN,
            tuple(run.new_steps),
            run.waiting,
            handler.name,
            describe_call(found, self._ctx.event),
            self._get_code(),
            replaced,
            answer_seconds=self._answer_seconds,
            approval=self.asking.approval_end,
        )

    def others(self, user: str) -> list[OpenDialog]:
        """Return the dialogs that wait for an answer of ``user`` in the same thread, other than this run's own."""
        own = self.asking.run.dialog if self.asking is not None else None
        dialogs = map(OpenDialog.from_json, self._ctx.state.get(DIALOGS_KEY) or ())
        here = self._ctx.thread_id
        return [
            item
            for item in dialogs
            if item.kind == ASK and item.id != own and item.user == user and item.thread == here
        ]

    def _has_other_questions(self, user: str) -> bool:
        """Return True if the run was made by cometbot, not by ``user``, who has another question open."""
        return isinstance(self._ctx.incoming, DialogEvent) and bool(self.others(user))

    def over(self, replaced: Sequence[DialogId] = (), *, ended: str = "") -> DialogChange | None:
        """Return what a run that has ended changes; None if nothing is stored of its dialog.

        ``ended`` is how it ended, if its last question does not say so.
        """
        if self.asking is None:
            return None if not replaced else DialogChange(DialogId(""), OVER, replaced=replaced)
        run = self.asking.run
        if not (self.is_resumed or run.steps or self.asking.has_saved or replaced):
            return None
        how = (ended or self.asking.last_end or "done") if self.is_resumed else ""
        return DialogChange(
            run.dialog,
            OVER,
            replaced=replaced,
            ended=how,
            answer_seconds=self._answer_seconds,
            approval=self.asking.approval_end,
            was_suspended=self.is_resumed,
        )

    def failed(self) -> DialogChange | None:
        """Return what a run that failed for good changes."""
        if self.asking is None or not self.is_resumed:
            return None
        return DialogChange(
            self.asking.run.dialog,
            FAILED,
            self.asking.run.kept_steps,
            ended="failed",
            answer_seconds=self._answer_seconds,
            approval=self.asking.approval_end,
        )

    @property
    def withdrawal(self) -> tuple[Operation, ...]:
        """The operation that withdraws the card of an approval that this run has not ended; empty without one."""
        operation = self.asking.withdrawal if self.asking is not None else None
        return (operation,) if operation is not None else ()

    @property
    def lasting_results(self) -> list[str]:
        """The calls of ``once`` and of tools and the approvals of this dialog that have a result, described."""
        if self.asking is None:
            return []
        run = self.asking.run
        found = [(step.number, step.result) for step in run.steps if step.kind in (APPROVE, CALL, ONCE, TOOL)]
        if run.answer is not None and "status" in run.answer.raw:  # an approval's, which has just arrived
            found.append((run.answer.step, run.answer.raw))
        return [f"step {number + 1}: {result}" for number, result in found]


def describe_call(found: HandlerMatch, event: Event) -> dict[str, Any]:
    """Return as JSON how an event was routed to its handler."""
    call: dict[str, Any] = {"line": found.line, "groups": dict(found.match.groups)}
    if isinstance(event, ActionEvent) and event.message is not None:
        call["action"] = {"name": event.name, "value": event.value, "values": dict(event.values)}
    return call


def restore_event(stored: StoredDialog) -> Event:
    """Return the event that started a dialog; a text that selected a button is that action again."""
    action: Mapping[str, Any] | None = stored.call.get("action")
    if action is None or not isinstance(stored.event, MessageEvent):
        return restore_action(stored.event)
    return make_action_event(stored.event, action["name"], value=action["value"], values=action["values"])


def restore_match(handler: Handler, stored: StoredDialog, ctx: Context) -> HandlerMatch:
    """Return the match of a dialog's handler, as it was when the dialog began."""
    groups = dict(stored.call["groups"])
    regex = None
    with suppress(Exception):
        found = handler.matcher.find(ctx)
        regex = found.regex if found is not None else None
    arguments = None
    if handler.kind == "message" and handler.signature.parameters:
        arguments = handler.signature.bind(groups)
    return HandlerMatch(handler, Match(groups, regex), line=stored.call["line"], arguments=arguments)


def _get_code(function: Any) -> Any:
    plain = inspect.unwrap(getattr(function, "func", function))
    if not hasattr(plain, "__code__"):  # an object with a method __call__
        plain = type(plain).__call__
    return getattr(plain, "__code__", None)
