"""An event's way to its handler and back: through middleware, with what came of it. No I/O but through the outlet."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cometbot.bot import Bot
from cometbot.commands import Arguments, UsageError
from cometbot.context import RESERVED_PREFIX, Context, ReplySink, StateChange, to_json
from cometbot.errors import BotError, LeaseLost
from cometbot.events import ActionEvent, EditEvent, Event, MessageEvent, ReactionEvent
from cometbot.handlers import ErrorHandler, Middleware
from cometbot.messages import Message, Operation, to_messages
from cometbot.quick_replies import QUICK_REPLIES_KEY, find_invalid_option, resolve, serialize_quick_replies
from cometbot.routing import HandlerMatch

logger = logging.getLogger(__name__)

CoroutineRunner = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine to its end and returns what it returns; ``asyncio.run`` is one."""

ErrorClasses = tuple[type[BaseException], ...]
"""Classes of errors that come out of whoever works on a message, where all others are the failure of that message."""

MAX_CONSECUTIVE_BOT_EVENTS = 10
"""So many events of bots are handled in a conversation before a human has to write something."""

_BOT_COUNT_KEY = f"{RESERVED_PREFIX}bots"
_WRITTEN_EVENTS = (MessageEvent, ActionEvent, EditEvent, ReactionEvent)
_MAX_BACKOFF = 300.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an event.

    ``handler`` is the name of the handler that had it, empty where none did. ``stopped_by`` is the
    middleware that did not call the next, or ``own`` (the bot's own message), ``bot`` (another bot's, for a bot that
    does not handle those) or ``brake`` (too many of them in a row).
    ``operations`` are the returned replies, in order, to be stored together with ``changes``; what ``ctx.reply()`` said
    went to the outlet before. ``error`` is what was raised in the end. With ``retry_in`` (seconds) the event is to be
    dispatched again, with one failure more.
    """

    handler: str = ""
    stopped_by: str = ""
    operations: tuple[Operation, ...] = ()
    changes: tuple[StateChange, ...] = ()
    error: BaseException | None = None
    retry_in: float | None = None


def dispatch(
    bot: Bot,
    event: Event,
    sink: ReplySink,
    *,
    failures: int = 0,
    run: CoroutineRunner = asyncio.run,
    sender_is_bot: bool = False,
    reraise: ErrorClasses = (KeyboardInterrupt,),
) -> Outcome:
    """What came of ``event``, after its handler has run.

    ``failures`` is how often its handler raised before; ``run`` runs the coroutines of async handlers. What handlers,
    matchers and middleware raise is in the outcome, whatever its class (``sys.exit()`` must not end a worker, nor the
    panic of a library in another language); ``LeaseLost`` and what ``reraise`` names are raised, and so is what the
    outlet raises before the search for a handler begins. Python raises ``KeyboardInterrupt`` for a signal in the main
    thread alone: who dispatches elsewhere need not let it out.

    That search has the bot's ``handler_timeout``; what is left to do, middleware included, the handler's own from then
    on.

    Who gets the event: actions, commands, messages, ``@bot.event``, the fallback; within a kind the first registered
    that fits. A text that takes an offer is an action if an action handler wants it, else the message that it is. A
    form that is filled in with an option it does not have is answered in the action handler's place, as a
    :class:`UsageError`, and stays open.
    """
    if event.sender.uid.lower() in (uid.lower() for uid in bot.ids):
        return Outcome(stopped_by="own")
    return _Dispatch(bot, event, sink, run, sender_is_bot, reraise).outcome(failures)


def backoff(failures: int) -> float:
    """Seconds to wait before a handler that raised ``failures`` times before is tried again: 1, 2, 4 … up to 300."""
    return min(2.0 ** min(failures, 30), _MAX_BACKOFF)


class _Dispatch:
    """One event being dispatched."""

    def __init__(
        self, bot: Bot, event: Event, sink: ReplySink, run: CoroutineRunner, sender_is_bot: bool, reraise: ErrorClasses
    ) -> None:
        self._reraise: ErrorClasses = (LeaseLost, *reraise)
        self._bot = bot
        self._event = event
        self._run = run
        self._sender_is_bot = sender_is_bot
        self._bot_count = 0
        self._are_offers_kept_open = False
        self._ctx = Context(bot, event, sink)

    def outcome(self, failures: int) -> Outcome:
        if self._sender_is_bot:
            if not self._bot.handle_bots and isinstance(self._event, _WRITTEN_EVENTS):
                return Outcome(stopped_by="bot")
            self._bot_count = self._ctx.state.get(_BOT_COUNT_KEY, 0) + 1
            if self._bot_count > MAX_CONSECUTIVE_BOT_EVENTS:
                return Outcome(stopped_by="brake")
        is_text = isinstance(self._event, MessageEvent) and self._ctx.text
        offers = self._ctx.state.get(QUICK_REPLIES_KEY) if is_text else None
        found = None
        self._ctx.begin("", self._bot.handler_timeout)
        try:
            found = self._find_handler(offers)
            return self._run_handler(found)
        except self._reraise:
            raise
        except BaseException as error:
            return self._handle_failure(found, error, failures)

    def _run_handler(self, found: HandlerMatch | None) -> Outcome:
        if found is None and not self._bot.middlewares:
            return Outcome(changes=self._collect_changes(()))
        if found is not None and isinstance(found.error, self._reraise):
            raise found.error
        self._ctx.match = found.match.regex if found else None
        name = found.handler.name if found else ""
        timeout = found.handler.timeout if found else None
        self._ctx.begin(name, self._bot.handler_timeout if timeout is None else timeout)
        chain = _MiddlewareChain(self._ctx, self._get_middleware(found), lambda: self._call_handler(found), self._run)
        operations = self._to_operations(chain.call())
        changes = self._collect_changes(operations)
        if chain.stopped_by:
            logger.info("stopped the event in middleware %s", chain.stopped_by, extra=self._ctx.log.extra)
        return Outcome("" if chain.stopped_by else name, chain.stopped_by, operations, changes)

    def _find_handler(self, offers: Any) -> HandlerMatch | None:
        ctx, routes = self._ctx, self._bot.routes
        if isinstance(self._event, MessageEvent) and ctx.text:
            action = resolve(self._event, ctx.text, offers)
            if action is not None:
                ctx.event = action
                if found := routes.find_action_handler(ctx):
                    return found
                ctx.event = self._event
            if refused := self._find_rejected_form(offers):
                return refused
        return routes.find_handler(ctx)

    def _find_rejected_form(self, offers: Any) -> HandlerMatch | None:
        """Return the handler of a form that is filled in with an option it does not have, with what to tell."""
        ctx, event = self._ctx, self._event
        problem = find_invalid_option(event, ctx.text, offers) if isinstance(event, MessageEvent) else None
        if problem is None:
            return None
        ctx.event, text = problem
        found = self._bot.routes.find_action_handler(ctx)
        ctx.event = event
        return replace(found, rejection_text=text) if found is not None else None

    def _get_middleware(self, found: HandlerMatch | None) -> tuple[Middleware, ...]:
        return (*self._bot.middlewares, *(found.handler.middleware if found else ()))

    def _call_handler(self, found: HandlerMatch | None) -> Any:
        """What the handler returns, a coroutine if it is async."""
        if found is None:
            return None
        if found.error is not None:
            raise found.error
        try:
            if found.rejection_text:
                self._are_offers_kept_open = True
                raise UsageError(found.rejection_text)
            values, named = found.arguments or self._parse_arguments(found)
        except UsageError as error:
            explain = next((item for item in self._error_handlers(found) if UsageError in item.classes), None)
            return explain.function(self._ctx, error) if explain else str(error)
        return found.handler.function(self._ctx, *values, **named)

    def _parse_arguments(self, found: HandlerMatch) -> Arguments:
        handler, event = found.handler, self._ctx.event
        if handler.command is not None:
            return handler.command.read(handler.signature, found.line)
        if isinstance(event, ActionEvent) and handler.kind == "action":
            return handler.signature.parse_action(event, found.match.groups, handler.name)
        return [], {}

    def _to_operations(self, answer: Any) -> tuple[Operation, ...]:
        return tuple(self._ctx.operation(message) for message in to_messages(answer))

    def _handle_failure(self, found: HandlerMatch | None, error: BaseException, failures: int) -> Outcome:
        name = found.handler.name if found else ""
        self._discard_changes()
        if found is not None and failures < found.handler.retries:
            return Outcome(name, error=error, retry_in=backoff(failures))
        self._ctx.fail()
        before = len(self._ctx.said)
        operations: tuple[Operation, ...] = ()
        try:
            operations = self._to_operations(self._call_error_handler(found, error))
            self._collect_changes(
                operations
            )  # raises here, not below, if the error handler left a state that cannot be stored
        except self._reraise:
            raise
        except BaseException as second:
            operations = ()
            self._discard_changes()
            if second is not error:
                error = _chain_errors(second, error)
                logger.error("failed to handle an error of %s", name, exc_info=error, extra=self._ctx.log.extra)
        if not operations and len(self._ctx.said) == before:
            operations = self._default_error_reply()
        return Outcome(name, operations=operations, changes=self._collect_changes(operations), error=error)

    def _call_error_handler(self, found: HandlerMatch | None, error: BaseException) -> Any:
        """What the nearest error handler returns, None if there is none."""
        for scope in (*(found.handler.error_handlers if found else ()), self._bot.error_handlers):
            fitting = [(distance, item) for item in scope if (distance := item.distance(error)) is not None]
            if fitting:
                nearest = min(fitting, key=lambda pair: pair[0])[1]
                return _MiddlewareChain(self._ctx, (), partial(nearest.function, self._ctx, error), self._run).call()
        return None

    def _error_handlers(self, found: HandlerMatch) -> list[ErrorHandler]:
        scopes: Sequence[tuple[ErrorHandler, ...]] = (*found.handler.error_handlers, self._bot.error_handlers)
        return [item for scope in scopes for item in scope]

    def _default_error_reply(self) -> tuple[Operation, ...]:
        """The bot's error text, to whoever wrote something; nobody waits for an answer to a reaction."""
        if isinstance(self._event, MessageEvent | ActionEvent):
            return self._to_operations(self._bot.error_text)
        return ()

    def _discard_changes(self) -> None:
        self._ctx.state.discard_changes()
        self._ctx.user_state.discard_changes()

    def _collect_changes(self, operations: tuple[Operation, ...]) -> tuple[StateChange, ...]:
        """What is to be stored of both states, with cometbot's own notes. Raises :class:`BotError` if it is no JSON."""
        state = self._ctx.state
        if self._sender_is_bot:
            state[_BOT_COUNT_KEY] = self._bot_count
        elif self._bot.handle_bots:
            state.pop(_BOT_COUNT_KEY, None)
        elsewhere = self._store_offers(operations)
        return tuple(change for change in (state.changes(), self._ctx.user_state.changes(), *elsewhere) if change)

    def _store_offers(self, operations: tuple[Operation, ...]) -> list[StateChange]:
        """Note what was offered: here in the state, elsewhere in the changes that are returned."""
        said: dict[str, list[Message]] = {}
        for operation in (*self._ctx.said, *operations):
            if operation.message is not None:
                said.setdefault(str(operation.conversation.key), []).append(operation.message)
        here = said.pop(str(self._ctx.conversation.key), None)
        if here is not None and not self._are_offers_kept_open:
            self._ctx.state.pop(QUICK_REPLIES_KEY, None)
            if offers := serialize_quick_replies(here):
                self._ctx.state[QUICK_REPLIES_KEY] = offers
        return [
            StateChange("conversation", owner, {QUICK_REPLIES_KEY: to_json(QUICK_REPLIES_KEY, offers)})
            for owner, messages in said.items()
            if (offers := serialize_quick_replies(messages))
        ]


class _MiddlewareChain:
    """A handler inside its middleware, plain and async functions mixed."""

    def __init__(
        self, ctx: Context, middleware: tuple[Middleware, ...], handler: Callable[[], Any], run: CoroutineRunner
    ) -> None:
        self.stopped_by = ""
        self._ctx = ctx
        self._middleware = middleware
        self._handler = handler
        self._run = run
        self._is_running = False

    def call(self) -> Any:
        """What the outermost middleware makes of what the handler returns."""
        return self._await_if_coroutine(self._call_from(0))

    def _call_from(self, index: int) -> Any:
        """The answer from the middleware at ``index`` inwards, or a coroutine of it."""
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
            answers[0] = self._await_if_coroutine(self._call_from(index + 1))
            return answers[0]

        returned = self._await_if_coroutine(middleware.function(self._ctx, call_next))
        return self._choose_answer(middleware, answers, returned)

    async def _call_async_middleware(self, middleware: Middleware, index: int) -> Any:
        answers: list[Any] = []

        async def call_next() -> Any:
            self._check_called_once(middleware, answers)
            inner = self._call_from(index + 1)
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

    def _await_if_coroutine(self, value: Any) -> Any:
        if not inspect.iscoroutine(value):
            return value
        if self._is_running:
            value.close()
            raise BotError(
                "a plain middleware stands between async middleware and an async function, which it cannot await; "
                "make that middleware async def, or register it before the async ones"
            )
        self._is_running = True
        try:
            return self._run(value)
        finally:
            self._is_running = False


def _chain_errors(second: BaseException, first: BaseException) -> BaseException:
    """``second``, with ``first`` among the errors in whose handling it was raised."""
    last = second
    while last is not first and last.__context__ is not None:
        last = last.__context__
    if last is not first:
        last.__context__ = first
    return second
