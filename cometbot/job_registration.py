"""Registration of jobs: the functions that run at a time, and when."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

from cometbot.durations import Duration
from cometbot.errors import RegistrationError
from cometbot.handlers import Handler, HandlerKind, MiddlewareFunction, function_name
from cometbot.jobs import (
    Missed,
    ScheduledJob,
    check_arguments,
    check_job_name,
    check_missed,
    encode_arguments,
    find_duplicate,
    make_job_name,
)
from cometbot.matchers import Matcher, any_message
from cometbot.schedules import Schedule, make_cron, make_every

F = TypeVar("F", bound=Callable[..., Any])


class JobGroup(ABC):
    """The jobs of a bot or router, and those of them that its code schedules."""

    def __init__(self) -> None:
        self._scheduled: list[ScheduledJob] = []

    @property
    def scheduled_jobs(self) -> tuple[ScheduledJob, ...]:
        """The jobs that run at intervals, by cron lines or at a fixed time, in order of registration."""
        return tuple(self._scheduled)

    @property
    @abstractmethod
    def handlers(self) -> tuple[Handler, ...]:
        """The handlers in order of registration."""

    @abstractmethod
    def _check_open(self) -> None: ...

    @abstractmethod
    def _register(
        self,
        function: Any,
        kind: HandlerKind,
        matcher: Matcher,
        retries: int,
        timeout: float | None,
        stop_on_new: bool,
        middleware: Sequence[MiddlewareFunction],
    ) -> None: ...

    @overload
    def job(self, function: F, /) -> F: ...

    @overload
    def job(
        self, *, retries: int = 0, timeout: float | None = None, middleware: Sequence[MiddlewareFunction] = ()
    ) -> Callable[[F], F]: ...

    def job(
        self,
        *function: Any,
        retries: int = 0,
        timeout: float | None = None,
        middleware: Sequence[MiddlewareFunction] = (),
    ) -> Any:
        """Register a function that runs at a time: see :meth:`every`, :meth:`cron`, ``bot.at`` and ``ctx.later``.

        ::

            @bot.job
            def report(ctx):
                ctx.send("Good morning.", to=ctx.conversation_with(group="team"))

            bot.cron("0 9 * * 1-5", report, tz="Europe/Berlin")

        It gets a context as handlers do, and runs like them: stored first, once over all processes, again after a crash
        of its process. It answers no message, so it says things with :meth:`Context.send`. Parameters behind the
        context are filled by name, with JSON or a :class:`Conversation`. ``retries``, ``timeout`` and ``middleware``
        are those of :meth:`command`.
        """

        def register(function: F) -> F:
            self._register(function, "job", any_message, retries, timeout, False, middleware)
            return function

        return register(*function) if function else register

    def every(
        self,
        interval: Duration,
        job: Callable[..., Any],
        /,
        *,
        name: str = "",
        missed: Missed = "once",
        **arguments: Any,
    ) -> None:
        """Run a job at an interval (``"30s"``, ``"5m"``, a ``timedelta``), in whole seconds from 1 on.

        The times are counted from 1970, so they stay the same over restarts: ``"1h"`` means each full hour of UTC.
        ``name`` (default: that of the function) is unique in the bot. An occurrence is missed if no process was there
        for it, or the one before it still waits; with ``missed="once"``, the job then runs once as soon as possible,
        with ``"skip"`` at its next time. Raises :class:`RegistrationError`.
        """
        self._schedule(job, make_every(interval), name, missed, arguments)

    def cron(
        self,
        line: str,
        job: Callable[..., Any],
        /,
        *,
        tz: str = "UTC",
        name: str = "",
        missed: Missed = "once",
        **arguments: Any,
    ) -> None:
        """Run a job at the times of a cron line, on the clocks of the time zone ``tz``.

        ::

            bot.cron("0 9 * * 1-5", report, tz="Europe/Berlin")

        The fields are minute, hour, day of the month, month and day of the week (``MON`` or 1). On the day when clocks
        are set forward, a time that is left out becomes the next that exists; when they are set back, a time that comes
        twice counts once. ``name`` and ``missed`` are those of :meth:`every`. Raises :class:`RegistrationError` for a
        wrong line or zone.
        """
        self._schedule(job, make_cron(line, tz), name, missed, arguments)

    def _make_scheduled(
        self, job: Callable[..., Any], schedule: Schedule, name: str, missed: str, arguments: dict[str, Any]
    ) -> ScheduledJob:
        handler = find_job(self.handlers, job)
        check_arguments(handler.function, handler.signature, handler.name, arguments)
        encoded = encode_arguments(handler.name, arguments)
        made = name or make_job_name(handler.name, schedule, encoded)
        return ScheduledJob(check_job_name(made), handler.name, schedule, check_missed(missed), encoded)

    def _schedule(
        self, job: Callable[..., Any], schedule: Schedule, name: str, missed: str, arguments: dict[str, Any]
    ) -> None:
        self._check_open()
        self._add_scheduled([self._make_scheduled(job, schedule, name, missed, arguments)])

    def _add_scheduled(self, jobs: Sequence[ScheduledJob]) -> None:
        if name := find_duplicate([*self._scheduled, *jobs]):
            raise RegistrationError(f"a job named {name!r} is scheduled already; give one of them another name=")
        self._scheduled += jobs


def find_job(handlers: Sequence[Handler], job: Any) -> Handler:
    """Return the handler of a job's function. Raises :class:`RegistrationError` if it is no job of the bot."""
    for handler in handlers:
        if handler.kind == "job" and handler.function == job:
            return handler
    shown = function_name(job) if callable(job) else repr(job)
    raise RegistrationError(
        f"{shown} is no job of this bot: put @bot.job on the function, and pass the function itself"
    )
