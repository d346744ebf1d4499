"""Dispatch an event: find its handler, run it inside its middleware, and collect the result.

Only the reply sink does I/O.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from cometbot.backoff import Backoff
from cometbot.bot import Bot
from cometbot.bursts import MessageGatherer
from cometbot.buttons import Buttons
from cometbot.commands import Arguments, UsageError
from cometbot.context import Context, with_limits
from cometbot.context_access import count_said, made_states, make_exceeded_text, set_burst
from cometbot.conversation_turns import TURNS_KEY
from cometbot.decisions import decide
from cometbot.dialog_runs import REFUSED_TEXT, DialogRun, restore_match
from cometbot.dialogs import DIALOGS_KEY, Resume, find_replaced, find_resume
from cometbot.errors import AskCancelled, AskEnded, AskGivenUp, BotError, LeaseLost, TokenBudgetExceeded
from cometbot.event_limits import EventLimits
from cometbot.event_loop import run_coroutine, run_in_thread
from cometbot.events import ActionEvent, EditEvent, Event, JobEvent, MessageEvent, ReactionEvent
from cometbot.handlers import ErrorHandler, Handler, Middleware, is_coroutine_function
from cometbot.jobs import check_arguments
from cometbot.messages import Operation, to_messages
from cometbot.models import Attachment, file_reader
from cometbot.outcomes import Outcome
from cometbot.outgoing import filter_operation
from cometbot.providers import ProvidedCall
from cometbot.questions import ACTION_PREFIX
from cometbot.reading import turn_moves
from cometbot.relaying import Relay
from cometbot.routing import HandlerMatch
from cometbot.sinks import ReplySink
from cometbot.state import RESERVED_PREFIX, StateChange, pop_reserved, set_reserved
from cometbot.steps import (
    FAILED,
    Answer,
    ChangedCode,
    DialogChange,
    DialogEvent,
    DialogId,
    StoredDialog,
    Suspended,
)
from cometbot.stopping import STOP, is_for_nothing, is_stop, make_stop_text
from cometbot.token_meter import find_exceeded

logger = logging.getLogger(__name__)

ErrorClasses = tuple[type[BaseException], ...]
"""Classes of errors that dispatch and delivery raise again. Any other error counts as a failure of the message."""

MAX_CONSECUTIVE_BOT_EVENTS = 10
"""The events of bots handled in a conversation before a human must write again."""

_BOT_COUNT_KEY = f"{RESERVED_PREFIX}bots"
_CONVERSATION_EVENTS = (MessageEvent, ActionEvent, EditEvent, ReactionEvent)
"""The events of other bots that a bot without ``handle_bots`` ignores."""

_MISSING_HANDLER_INTERVAL = 30.0
_MISSING_HANDLER_RETRIES = 20
"""Ten minutes: as long as two versions of a bot may run side by side while a new one is rolled out."""

_RETRY_BACKOFF = Backoff(initial=1.0, maximum=300.0, jitter=0.0)


def dispatch(
    bot: Bot,
    event: Event,
    sink: ReplySink,
    *,
    failures: int = 0,
    sender_is_bot: bool = False,
    reraise: ErrorClasses = (KeyboardInterrupt,),
) -> Outcome:
    """Pass ``event`` to its handler and return the outcome.

    ``failures`` is how often its handler raised before.

    An error that a handler, matcher or middleware raises is in the outcome, whatever its class: neither ``sys.exit()``
    nor the panic of a library in another language may end a worker. Raised again are only ``LeaseLost``, the classes in
    ``reraise``, and what the sink raises before the search for a handler begins. Python raises ``KeyboardInterrupt``
    for a signal only in the main thread, so callers in other threads need not reraise it.

    The search for a handler has the bot's ``handler_timeout``. From then on, the handler's own timeout applies to the
    rest, middleware included.

    The order of the search is actions, commands, messages, ``@bot.event``, the fallback; within a kind, the first
    registered handler that matches. A text that selects a quick reply is an action if an action handler matches it,
    otherwise a message. If a form is filled in with something that does not fit a field, the action handler is not
    called: the user gets the text of a :class:`UsageError`, or the result of the error handler for that class, and the
    form stays open.
    """
    if event.sender.uid.lower() in map(str.lower, bot.ids):
        return Outcome(stopped_by="own")
    return _Dispatch(bot, event, sink, sender_is_bot, reraise).outcome(failures)


def backoff(failures: int) -> float:
    """Return the seconds before the next try of a handler that raised ``failures`` times before.

    They are 1, 2, 4 … up to 300.
    """
    return _RETRY_BACKOFF.delay(failures)


class _Dispatch:
    """One run of :func:`dispatch`."""

    def __init__(self, bot: Bot, event: Event, sink: ReplySink, sender_is_bot: bool, reraise: ErrorClasses) -> None:
        self._reraise: ErrorClasses = (LeaseLost, *reraise)
        self._bot = bot
        self._event = event
        self._sink = sink
        self._sender_is_bot = sender_is_bot
        self._bot_count = 0
        self._open_dialogs: Any = None
        self._ctx = Context(bot, event, sink)
        self._dialog = DialogRun(self._ctx, sink)
        self._buttons = Buttons(self._ctx, sink)
        self._limits = EventLimits(self._ctx, sink, sender_is_bot=sender_is_bot)

    def outcome(self, failures: int) -> Outcome:
        token = file_reader.set(self._read_file)
        try:
            return self._limits.count(self._find_outcome(failures))
        finally:
            file_reader.reset(token)

    def _read_file(self, file: Attachment, limit: int) -> bytes:
        return self._sink.read_file(file, limit)

    def _find_outcome(self, failures: int) -> Outcome:
        if self._sender_is_bot:
            if not self._bot.handle_bots and isinstance(self._event, _CONVERSATION_EVENTS):
                return Outcome(stopped_by="bot")
            self._bot_count = self._ctx.state.get(_BOT_COUNT_KEY, 0) + 1
            if self._bot_count > MAX_CONSECUTIVE_BOT_EVENTS:
                return Outcome(stopped_by="brake")
        found = None
        self._sink.start_handler("", self._bot.handler_timeout)
        try:
            if (ended := self._end_without_handler(failures)) is not None:
                return ended
            resume = self._find_resume()
            if resume is not None:
                stored = self._load_dialog(resume)
                if stored is None or resume.answer is None:
                    return Outcome(stopped_by="dialog")  # the question is over
                found = self._resume(stored, resume.answer)
                if found is None:
                    return self._wait_for_handler(stored, failures)
            else:
                found = self._buttons.find_handler()
                if found is None and isinstance(self._event, JobEvent):
                    return self._wait_for_job(self._event, failures)
            if self._buttons.refusal is not None:
                return self._refuse_press(self._buttons.refusal)
            if resume is None and (gathered := self._gather(found)) is not None:
                return gathered
            return self._run_handler(found)
        except self._reraise:
            raise
        except BaseException as error:
            return self._handle_failure(found, error, failures)

    def _end_without_handler(self, failures: int) -> Outcome | None:
        """Return the outcome of a decision, of a hand-off's message, of a stop or beyond a limit; None for the rest."""
        if (decided := decide(self._ctx, self._sink, failures, sender_is_bot=self._sender_is_bot)) is not None:
            return decided
        if not self._sender_is_bot and (relayed := Relay(self._ctx, self._sink).find_outcome()) is not None:
            return replace(relayed, changes=self._collect_changes(()))
        if is_stop(self._ctx) and (self._sink.has_stopped or not is_for_nothing(self._ctx)):
            return self._answer_stop()
        if (reached := self._limits.check()) is not None:
            return self._answer_without_handler(reached.limit, reached.text)
        return None

    def _find_resume(self) -> Resume | None:
        event = self._event
        if isinstance(event, DialogEvent):
            return find_resume(self._ctx, None, self._sink)
        if not isinstance(event, ActionEvent | MessageEvent):
            return None
        self._open_dialogs = self._ctx.state.get(DIALOGS_KEY)
        may_answer = event.name.startswith(ACTION_PREFIX) if isinstance(event, ActionEvent) else self._open_dialogs
        return find_resume(self._ctx, self._open_dialogs, self._sink) if may_answer else None

    def _load_dialog(self, resume: Resume) -> StoredDialog | None:
        """Return the dialog that waits for this answer, or None if it is over or has gone on to another step."""
        if resume.answer is None:
            return None
        stored = self._sink.load_dialog(resume.dialog)
        return stored if stored is not None and stored.waiting.step == resume.answer.step else None

    def _resume(self, stored: StoredDialog, answer: Answer) -> HandlerMatch | None:
        """Continue a dialog. Return the match of its handler, or None if the handler does not exist (any more)."""
        handlers = self._bot.routes.find_named(stored.handler)
        if not handlers:
            return None
        self._dialog.resume(stored, answer, self._event)
        return restore_match(handlers[0], stored, self._ctx)

    def _wait_for_handler(self, stored: StoredDialog, failures: int) -> Outcome:
        """Try again for some minutes: while a new version is rolled out, another process may have the handler."""
        error = BotError(f"the handler {stored.handler}, which asked, does not exist any more")
        if failures < _MISSING_HANDLER_RETRIES:
            return Outcome(stored.handler, error=error, retry_in=_MISSING_HANDLER_INTERVAL)
        return Outcome(stored.handler, error=error, dialog=DialogChange(stored.id, FAILED, ended="failed"))

    def _wait_for_job(self, event: JobEvent, failures: int) -> Outcome:
        """Try again for some minutes, like :meth:`_wait_for_handler`."""
        error = BotError(f"there is no job {event.handler} in the code of this bot (any more)")
        can_retry = failures < _MISSING_HANDLER_RETRIES
        return Outcome(event.handler, error=error, retry_in=_MISSING_HANDLER_INTERVAL if can_retry else None)

    def _refuse_press(self, refusal: str) -> Outcome:
        """Tell the user why a press does not count."""
        return self._answer_without_handler("press", self._bot.refusal_texts[refusal])

    def _answer_stop(self) -> Outcome:
        """Answer a ``/stop`` whose turn has come, so that nothing of its user runs."""
        text = make_stop_text(self._ctx, has_stopped=self._sink.has_stopped)
        return self._answer_without_handler(STOP, text)

    def _answer_without_handler(self, stopped_by: str, text: str | None) -> Outcome:
        """Answer with ``text`` alone. The quick replies stay valid."""
        self._buttons.keeps_quick_replies = True
        operations = self._to_operations(text)
        return Outcome(stopped_by=stopped_by, operations=operations, changes=self._collect_changes(operations))

    def _gather(self, found: HandlerMatch | None) -> Outcome | None:
        """Return the outcome of a message that waits for others, or ends with a newer one; None if it is handled."""
        if found is None or found.error is not None or found.handler.concurrency == "queue":
            return None
        return MessageGatherer(self._ctx, self._sink, found.handler).gather()

    def _run_handler(self, found: HandlerMatch | None) -> Outcome:
        middleware = self._bot.middlewares
        if found is None and not middleware:
            return Outcome(changes=self._collect_changes(()))
        name, timeout = "", None
        if found is not None:
            if isinstance(found.error, self._reraise):
                raise found.error
            self._ctx.match = found.match.regex
            middleware += found.handler.middleware
            name, timeout = found.handler.name, found.handler.timeout
        seconds = self._bot.handler_timeout if timeout is None else timeout
        stops_on_new = found is not None and found.handler.stop_on_new
        self._sink.start_handler(name, seconds, stops_on_new=stops_on_new)
        if found is not None and found.handler.concurrency == "burst":
            set_burst(self._ctx, self._dialog.opening)
        answer, stopped_by = self._call_until_suspended(middleware, found)
        asking = self._dialog.asking
        if found is not None and asking is not None and asking.run.is_suspended:
            return self._suspend(found)
        if stopped_by:
            self._buttons.release()
            logger.info("stopped the event in middleware %s", stopped_by, extra=self._ctx.log.extra)
        elif asking is not None:
            self._dialog.end_past()
        operations = self._to_operations(answer)
        changes = self._collect_changes(operations)
        dialog = None
        if found is not None and not stopped_by and (asking is not None or self._open_dialogs):
            dialog = self._dialog.over(self._find_replaced(name))
        return Outcome("" if stopped_by else name, stopped_by, operations, changes, dialog=dialog)

    def _call_until_suspended(self, middleware: tuple[Middleware, ...], found: HandlerMatch | None) -> tuple[Any, str]:
        """Return the result of the handler inside ``middleware``, and the name of the one that did not call it.

        What a suspended run returns or raises is dropped.
        """
        try:
            if not middleware:
                answer, stopped_by = _await_in_thread(self._call_handler(found)), ""
            else:
                inside = _MiddlewareChain(self._ctx, middleware, lambda: self._call_handler(found))
                answer, stopped_by = inside.call(), inside.stopped_by
        except Suspended:
            return None, ""
        except self._reraise:
            raise
        except BaseException as error:
            if not self._dialog.is_suspended:
                raise
            answer, stopped_by = error, ""
        if self._dialog.asking is not None and self._dialog.is_suspended:
            self._warn_of_dropped(answer)
        return answer, stopped_by

    def _warn_of_dropped(self, answer: Any) -> None:
        logger.warning(
            "a handler caught the end of its run, which waits for an answer; what it then did (%r) is dropped. "
            "Let Suspended pass: catch Exception, not BaseException",
            answer,
            extra=self._ctx.log.extra,
        )

    def _suspend(self, found: HandlerMatch) -> Outcome:
        """Return the outcome of a run that waits: its question, and cometbot's own changes of the state."""
        self._discard_changes()
        asking = self._dialog.asking
        assert asking is not None
        assert asking.run.waiting is not None
        if asking.ignores_answer:
            return Outcome(stopped_by="dialog", changes=self._collect_changes(()))
        others = self._dialog.others(asking.run.waiting.user) if asking.question is not None else []
        if others and self._bot.dialogs == "refuse" and not self._dialog.is_resumed:
            operations = self._to_operations(REFUSED_TEXT)
            return Outcome(
                found.handler.name,
                operations=operations,
                changes=self._collect_changes(operations),
                dialog=self._dialog.over(),
            )
        change = self._dialog.suspended(found, [item.id for item in others])
        self._dialog.go_live()
        operations = asking.operations
        return Outcome(
            found.handler.name, operations=operations, changes=self._collect_changes(operations), dialog=change
        )

    def _find_replaced(self, handler: str) -> list[DialogId]:
        """Return the dialogs that end because their user has started the same handler again."""
        if self._dialog.is_resumed:
            return []
        return find_replaced(self._ctx, self._open_dialogs, handler)

    def _call_handler(self, found: HandlerMatch | None) -> Any:
        """Return the handler's result, a coroutine if it is async."""
        if found is None:
            return None
        if found.error is not None:
            raise found.error
        try:
            if found.rejection_text:
                self._buttons.keeps_quick_replies = True
                raise UsageError(found.rejection_text)
            values, named = found.arguments or self._parse_arguments(found)
        except UsageError as error:
            self._buttons.release()
            for item in chain.from_iterable(self._error_scopes(found)):
                if UsageError in item.classes:
                    return item.function(self._ctx, error)
            return str(error)
        return self._call_function(found.handler, values, named)

    def _call_function(self, handler: Handler, values: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Call the handler, inside which steps are allowed."""
        self._dialog.enter_handler(handler)
        try:
            if handler.signature.provided:
                value = self._call_with_provided(handler, values, named)
            else:
                value = handler.function(self._ctx, *values, **named)
        except BaseException:
            self._dialog.leave_handler()
            raise
        if inspect.iscoroutine(value):
            return self._dialog.wrap(value)
        self._dialog.leave_handler()
        return value

    def _call_with_provided(self, handler: Handler, values: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """Call the handler with what its bot provides."""
        providers = handler.find_providers(self._bot.providers)
        call = ProvidedCall(handler.function, providers, self._check_returned)
        run = call.call_async if is_coroutine_function(handler.function) else call.call
        return run(self._ctx, (list(values), dict(named)))

    def _check_returned(self, answer: Any) -> None:
        """Raise if the handler, which returned ``answer``, is suspended or took another path than before."""
        if self._dialog.is_suspended:
            self._warn_of_dropped(answer)
            raise Suspended
        self._dialog.check_path()

    def _parse_arguments(self, found: HandlerMatch) -> Arguments:
        handler, event = found.handler, self._ctx.event
        if handler.command is not None:
            return handler.command.read(handler.signature, found.line)
        if isinstance(event, ActionEvent) and handler.kind == "action":
            return handler.signature.parse_action(event, found.match.groups, handler.name)
        if isinstance(event, JobEvent):
            check_arguments(handler.function, handler.signature, handler.name, event.arguments)
            return [], dict(event.arguments)
        return [], {}

    def _to_operations(self, answer: Any) -> tuple[Operation, ...]:
        operations = tuple(map(self._ctx.operation, to_messages(answer)))
        if self._bot.outgoing_middlewares:
            operations = tuple(filter_operation(item, self._bot, self._ctx.event) for item in operations)
        return tuple(map(partial(with_limits, self._ctx), operations))

    def _to_operations_or_error(self, text: str | None) -> tuple[tuple[Operation, ...], BaseException | None]:
        """Return the operations that send a text of the bot's own, or the error of its outgoing middleware."""
        try:
            return self._to_operations(text), None
        except self._reraise:
            raise
        except BaseException as error:
            logger.error("held back a text of the bot", exc_info=error, extra=self._ctx.log.extra)
            return (), error

    def _handle_failure(self, found: HandlerMatch | None, error: BaseException, failures: int) -> Outcome:
        name = found.handler.name if found else ""
        self._discard_changes()
        self._buttons.release()
        if found is not None and (end := _find_end(error)) is not None:
            return self._end_dialog(name, end)
        if (exceeded := find_exceeded(error)) is not None:
            return self._end_dialog(name, exceeded)
        if found is not None and failures < found.handler.retries:
            return Outcome(name, error=error, retry_in=backoff(failures))
        self._dialog.abandon_past()
        self._sink.mark_failed()
        before = count_said(self._ctx)
        operations: tuple[Operation, ...] = ()
        try:
            operations = self._to_operations(self._call_error_handler(found, error))
            # It raises here, not below, if the error handler left a state that cannot be stored.
            self._collect_changes(operations)
        except self._reraise:
            raise
        except BaseException as second:
            operations = ()
            self._discard_changes()
            if second is not error:
                error = _chain_errors(second, error)
                logger.error("failed to handle an error of %s", name, exc_info=error, extra=self._ctx.log.extra)
        if not operations and count_said(self._ctx) == before:
            operations, _ = self._to_operations_or_error(self._default_error_text())
        changes = self._collect_changes(operations)
        return Outcome(name, operations=operations, changes=changes, error=error, dialog=self._dialog.failed())

    def _end_dialog(self, name: str, error: BaseException) -> Outcome:
        """Return the outcome of a dialog that ends without an answer, or that does not fit today's code.

        So ends a handler, too, whose user has no tokens left.
        """
        text: str | None = ""
        letter: BotError | None = None
        ended = ""
        if isinstance(error, ChangedCode):
            text, ended = self._bot.restart_text, "restarted"
            if results := self._dialog.lasting_results:
                letter = BotError(
                    f"the code of {name} has changed, and its dialog was ended. It had results: {'; '.join(results)}"
                )
        elif isinstance(error, AskCancelled):
            text = self._bot.cancel_text
        elif isinstance(error, AskGivenUp):
            text = str(error)
        elif isinstance(error, TokenBudgetExceeded):
            logger.info("ended %s: the user's token budget is used up", name or "an event", extra=self._ctx.log.extra)
            text = make_exceeded_text(self._ctx) if self._expects_reply else None
        withdrawn = self._dialog.withdrawal
        self._dialog.abandon_past()
        self._dialog.go_live()
        operations, problem = self._to_operations_or_error(text)
        operations = (*withdrawn, *operations)
        changes = self._collect_changes(operations)
        return Outcome(
            name, operations=operations, changes=changes, error=letter or problem, dialog=self._dialog.over(ended=ended)
        )

    def _call_error_handler(self, found: HandlerMatch | None, error: BaseException) -> Any:
        """Return the result of the nearest error handler, or None if there is none."""
        for scope in self._error_scopes(found):
            fitting = [(distance, item) for item in scope if (distance := item.distance(error)) is not None]
            if fitting:
                nearest = min(fitting, key=lambda pair: pair[0])[1]
                return _await_in_thread(nearest.function(self._ctx, error))
        return None

    def _error_scopes(self, found: HandlerMatch | None) -> tuple[tuple[ErrorHandler, ...], ...]:
        """Return the error handlers of the handler's routers, the nearest first, then those of the bot."""
        return (*(found.handler.error_handlers if found else ()), self._bot.error_handlers)

    def _default_error_text(self) -> str | None:
        return self._bot.error_text if self._expects_reply else None

    @property
    def _expects_reply(self) -> bool:
        """True for messages and actions, and for a time in a dialog that one of them started."""
        return isinstance(self._ctx.event, MessageEvent | ActionEvent)

    def _discard_changes(self) -> None:
        for state in made_states(self._ctx):
            state.discard_changes()

    def _collect_changes(self, operations: tuple[Operation, ...]) -> tuple[StateChange, ...]:
        """Return the changes of both states, with cometbot's own.

        Raises :class:`BotError` for a value that is not JSON.
        """
        state = self._ctx.state
        if self._sender_is_bot:
            set_reserved(state, _BOT_COUNT_KEY, self._bot_count)
        elif self._bot.handle_bots:
            pop_reserved(state, _BOT_COUNT_KEY)
        if (moves := turn_moves(self._ctx)) is not None:
            set_reserved(state, TURNS_KEY, moves)
        elsewhere = self._buttons.changes(operations, asks=self._dialog.is_suspended)
        changes = [state.changes() for state in made_states(self._ctx) if state.is_loaded]
        return tuple(filter(None, (*changes, *elsewhere)))


class _MiddlewareChain:
    """A handler inside its middleware. Plain and async functions may be mixed."""

    def __init__(self, ctx: Context, middleware: tuple[Middleware, ...], handler: Callable[[], Any]) -> None:
        self.stopped_by = ""
        self._ctx = ctx
        self._middleware = middleware
        self._handler = handler

    def call(self) -> Any:
        """Return the result of the outermost middleware."""
        return _await_in_thread(self._call_from(0))

    def _call_from(self, index: int) -> Any:
        """Return the result from the middleware at ``index`` inwards, or a coroutine of it."""
        if index == len(self._middleware):
            return self._handler()
        middleware = self._middleware[index]
        return (
            self._call_async_middleware(middleware, index)
            if middleware.is_async
            else self._call_middleware(middleware, index)
        )

    def _call_middleware(self, middleware: Middleware, index: int) -> Any:
        answers: list[Any] = []

        def call_next() -> Any:
            self._check_called_once(middleware, answers)
            answers[0] = _await_in_thread(self._call_from(index + 1))
            return answers[0]

        returned = _await_in_thread(middleware.function(self._ctx, call_next))
        return self._choose_answer(middleware, answers, returned)

    async def _call_async_middleware(self, middleware: Middleware, index: int) -> Any:
        answers: list[Any] = []

        async def call_next() -> Any:
            self._check_called_once(middleware, answers)
            inner = run_in_thread(self._call_from, index + 1)  # what is plain inside would block the loop
            answers[0] = await inner if inspect.isawaitable(inner) else inner
            return answers[0]

        returned = await middleware.function(self._ctx, call_next)
        return self._choose_answer(middleware, answers, returned)

    @staticmethod
    def _check_called_once(middleware: Middleware, answers: list[Any]) -> None:
        if answers:
            raise BotError(f"the middleware {middleware.name} called call_next() twice; a handler runs once")
        answers.append(None)

    def _choose_answer(self, middleware: Middleware, answers: list[Any], returned: Any) -> Any:
        if not answers:
            self.stopped_by = middleware.name
            return returned
        return answers[0] if returned is None else returned


def _await_in_thread(value: Any) -> Any:
    return run_coroutine(value) if inspect.iscoroutine(value) else value


def _chain_errors(second: BaseException, first: BaseException) -> BaseException:
    """Return ``second`` with ``first`` at the end of its chain of contexts."""
    last = second
    while last is not first and last.__context__ is not None:
        last = last.__context__
    if last is not first:
        last.__context__ = first
    return second


def _find_end(error: BaseException) -> BaseException | None:
    """Return the end of a dialog that an error is, or that alone is in a group of a TaskGroup; None for others."""
    errors: Sequence[BaseException] = getattr(error, "exceptions", ())
    while len(errors) == 1:
        error = errors[0]
        errors = getattr(error, "exceptions", ())
    return error if isinstance(error, AskEnded | ChangedCode) else None
