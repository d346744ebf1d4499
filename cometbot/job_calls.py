"""The calls of a context that schedule jobs and messages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from cometbot.durations import Duration
from cometbot.errors import BotError
from cometbot.event_loop import run_in_thread
from cometbot.events import Event, JobEvent
from cometbot.job_registration import find_job
from cometbot.jobs import (
    Job,
    JobChange,
    PlannedJob,
    check_arguments,
    check_job_name,
    encode_arguments,
    make_content,
    make_inner_conversation,
)
from cometbot.messages import Operation
from cometbot.models import Conversation, User
from cometbot.outgoing import filter_operation
from cometbot.press_limits import apply_limits, find_presses
from cometbot.quick_replies import serialize_quick_replies
from cometbot.reading import ConversationReader
from cometbot.schedules import DueTime, to_due_time


class JobCalls(ConversationReader):
    """The calls of a context that schedule something: ``later``, ``jobs``, and ``send`` with ``at``."""

    _origin: str
    _change_count = 0
    _posted_change_count = 0
    _broadcast_count = 0

    @property
    @abstractmethod
    def sender(self) -> User:
        """The user who caused the event."""

    @abstractmethod
    def _check_call(self, name: str) -> None: ...

    def later(self, when: Duration | datetime, job: Callable[..., Any], /, *, name: str = "", **arguments: Any) -> Job:
        """Run a job of the bot once, at a time or after a duration, and return it.

        ::

            @bot.command
            def remind(ctx, minutes: int, *, what: str):
                ctx.later(timedelta(minutes=minutes), ring, what=what)

            @bot.job
            def ring(ctx, what):
                ctx.send(f"Time for {what}!")

        ``when`` is a duration (``"2h"``, seconds, a ``timedelta``) or a ``datetime`` with a zone; one that is over
        means now. The job is stored when this call returns. A handler that runs again does not schedule it twice. In
        the job, ``ctx.sender`` is the user of this event, and ``ctx.send`` without ``to`` writes to this conversation.
        ``name`` makes it replace the job of that name which this conversation has. Raises :class:`BotError` for
        arguments that do not fit the job.
        """
        handler = find_job(self.bot.handlers, job)
        check_arguments(handler.function, handler.signature, handler.name, arguments)
        origin = self._home_conversation
        content = make_content(encode_arguments(handler.name, arguments), origin, self.sender)
        where = make_inner_conversation(self.bot.name, self._scope)
        return self._plan("later", handler.name, where, to_due_time(when, "later", self._now), name, content)

    def jobs(self) -> list[Job]:
        """Return what was scheduled in this conversation with :meth:`later` or :meth:`send` and is still to come.

        Those that come first are first. A handler that runs again does not get what it has scheduled itself behind this
        call.
        """
        return [self._make_job(planned) for planned in self._sink.list_jobs(self._scope) if self._is_before(planned)]

    def _is_before(self, planned: PlannedJob) -> bool:
        """Return True unless an earlier run of this handler has planned a job where this run has yet to come."""
        prefix = f"{self._change_origin}.j"
        number = planned.key.removeprefix(prefix)
        return number == planned.key or int(number) < self._change_count

    @property
    def _home_conversation(self) -> Conversation | None:
        """The conversation of the event; in a job, the one in which a handler scheduled it, None if none did."""
        return self.event.origin if isinstance(self.event, JobEvent) else self.conversation

    @property
    def _scope(self) -> str:
        return (self._home_conversation or self.conversation).key_text

    @property
    def _now(self) -> float:
        return self._sink.trigger.now

    def _send_later(self, operation: Operation, when: Duration | datetime, name: str) -> Job:
        """Store a message that is sent at ``when``, unless outgoing middleware drops it."""
        due = to_due_time(when, "send: at", self._now)
        if self.bot.outgoing_middlewares and not self._sink.is_past:
            operation = run_in_thread(filter_operation, operation, self.bot, self.event)
        content: dict[str, Any] = {"text": "", "offers": [], "has_limits": False}
        if operation.message is not None:
            message = apply_limits(operation.message, self._change_id, due.at)
            operation = replace(operation, message=message)
            content["text"] = message.to_text()
            content["offers"] = serialize_quick_replies([message])
            content["has_limits"] = bool(find_presses(message))
        return self._plan("send", "", operation.conversation, due, name, content, operation)

    def _plan(
        self,
        call: str,
        handler: str,
        where: Conversation,
        due: DueTime,
        name: str,
        content: dict[str, Any],
        operation: Operation | None = None,
    ) -> Job:
        self._check_call(call)
        given = check_job_name(name) if name else f"#{self._change_id}"
        planned = PlannedJob(given, handler, where, due.at, due.on_wall_clock, content, self._change_id)
        is_dropped = operation is not None and operation.is_dropped
        change = JobChange(self.bot.name, self._scope, given, None if is_dropped else planned, operation, planned.key)
        self._change(change)
        return self._make_job(planned)

    @property
    def _change_origin(self) -> str:
        trigger = self._sink.trigger
        return self._origin or f"{trigger.event}.{trigger.generation}"

    @property
    def _change_id(self) -> str:
        """An id of the next job, the same in every run: later runs of a dialog count what earlier ones planned."""
        return f"{self._change_origin}.j{self._change_count}"

    def _make_job(self, planned: PlannedJob) -> Job:
        cancel = partial(self._cancel, planned.name, planned.key)
        return Job(planned.name, planned.handler, planned.due_at, planned.content, cancel)

    def _cancel(self, name: str, key: str) -> None:
        self._check_call("jobs")
        self._sink.cancel_job(JobChange(self.bot.name, self._scope, name, key=key))

    def _change(self, change: JobChange) -> None:
        self._change_count += 1
        if self._sink.change_job(change) >= 0:  # else an earlier run of the handler has done it
            self._posted_change_count += 1


def can_be_answered(event: Event) -> bool:
    """Return False for an event that happened in no conversation: of a job, or about the platform's whole app."""
    return not (isinstance(event, JobEvent) or event.conversation.is_app)


def refuse_reply(event: Event) -> BotError:
    """Return the error for a reply to an event that cannot be answered."""
    remedy = "use ctx.send(…, to=…), with ctx.conversation_with(user=…) or (group=…)"
    if isinstance(event, JobEvent):
        return BotError(f"the job {event.name} answers no message, so it cannot reply or ask; {remedy}")
    return BotError(
        f"this {type(event).__name__} happened in no conversation of the bot (ctx.conversation.is_app), so there is "
        f"nobody to reply to or ask; {remedy}"
    )
