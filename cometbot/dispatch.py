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
from cometbot.context import RESERVED, Context, Outlet, StateChange, to_json
from cometbot.errors import BotError, LeaseLost
from cometbot.events import ActionEvent, EditEvent, Event, MessageEvent, ReactionEvent
from cometbot.handlers import ErrorHandler, Middleware
from cometbot.messages import Message, Operation, to_messages
from cometbot.offers import OFFERS, option_not_offered, taken, to_state
from cometbot.routing import Found

logger = logging.getLogger(__name__)

Runner = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine to its end and returns what it returns; ``asyncio.run`` is one."""

Raised = tuple[type[BaseException], ...]
"""Classes of errors that come out of whoever works on a message, where all others are the failure of that message."""

BOTS_IN_A_ROW = 10
"""So many events of bots are handled in a conversation before a human has to write something."""

_BOTS = f"{RESERVED}bots"
_SAID = (MessageEvent, ActionEvent, EditEvent, ReactionEvent)
_LONGEST_BACKOFF = 300.0


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
    outlet: Outlet,
    *,
    failures: int = 0,
    run: Runner = asyncio.run,
    sender_is_bot: bool = False,
    lets_out: Raised = (KeyboardInterrupt,),
) -> Outcome:
    """What came of ``event``, after its handler has run.

    ``failures`` is how often its handler raised before; ``run`` runs the coroutines of async handlers. What handlers,
    matchers and middleware raise is in the outcome, whatever its class (``sys.exit()`` must not end a worker, nor the
    panic of a library in another language); ``LeaseLost`` and what ``lets_out`` names are raised, and so is what the
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
    return _Dispatch(bot, event, outlet, run, sender_is_bot, lets_out).outcome(failures)


def backoff(failures: int) -> float:
    """Seconds to wait before a handler that raised ``failures`` times before is tried again: 1, 2, 4 … up to 300."""
    return min(2.0 ** min(failures, 30), _LONGEST_BACKOFF)


class _Dispatch:
    """One event being dispatched."""

    def __init__(
        self, bot: Bot, event: Event, outlet: Outlet, run: Runner, sender_is_bot: bool, lets_out: Raised
    ) -> None:
        self._lets_out: Raised = (LeaseLost, *lets_out)
        self._bot = bot
        self._event = event
        self._run = run
        self._sender_is_bot = sender_is_bot
        self._bots = 0
        self._keeps_offers = False
        self._ctx = Context(bot, event, outlet)

    def outcome(self, failures: int) -> Outcome:
        if self._sender_is_bot:
            if not self._bot.handle_bots and isinstance(self._event, _SAID):
                return Outcome(stopped_by="bot")
            self._bots = self._ctx.state.get(_BOTS, 0) + 1
            if self._bots > BOTS_IN_A_ROW:
                return Outcome(stopped_by="brake")
        is_text = isinstance(self._event, MessageEvent) and self._ctx.text
        offers = self._ctx.state.get(OFFERS) if is_text else None
        found = None
        self._ctx.begin("", self._bot.handler_timeout)
        try:
            found = self._find(offers)
            return self._handled(found)
        except self._lets_out:
            raise
        except BaseException as error:
            return self._failed(found, error, failures)

    def _handled(self, found: Found | None) -> Outcome:
        if found is None and not self._bot.middlewares:
            return Outcome(changes=self._changes(()))
        if found is not None and isinstance(found.error, self._lets_out):
            raise found.error
        self._ctx.match = found.match.regex if found else None
        name = found.handler.name if found else ""
        timeout = found.handler.timeout if found else None
        self._ctx.begin(name, self._bot.handler_timeout if timeout is None else timeout)
        chain = _Chain(self._ctx, self._middleware(found), lambda: self._call(found), self._run)
        operations = self._operations(chain.answer())
        changes = self._changes(operations)
        if chain.stopped_by:
            logger.info("stopped the event in middleware %s", chain.stopped_by, extra=self._ctx.log.extra)
        return Outcome("" if chain.stopped_by else name, chain.stopped_by, operations, changes)

    def _find(self, offers: Any) -> Found | None:
        ctx, routes = self._ctx, self._bot.routes
        if isinstance(self._event, MessageEvent) and ctx.text:
            action = taken(self._event, ctx.text, offers)
            if action is not None:
                ctx.event = action
                if found := routes.find_action(ctx):
                    return found
                ctx.event = self._event
            if refused := self._refused_form(offers):
                return refused
        return routes.find(ctx)

    def _refused_form(self, offers: Any) -> Found | None:
        """Return the handler of a form that is filled in with an option it does not have, with what to tell."""
        ctx, event = self._ctx, self._event
        problem = option_not_offered(event, ctx.text, offers) if isinstance(event, MessageEvent) else None
        if problem is None:
            return None
        ctx.event, text = problem
        found = self._bot.routes.find_action(ctx)
        ctx.event = event
        return replace(found, refusal=text) if found is not None else None

    def _middleware(self, found: Found | None) -> tuple[Middleware, ...]:
        return (*self._bot.middlewares, *(found.handler.middleware if found else ()))

    def _call(self, found: Found | None) -> Any:
        """What the handler returns, a coroutine if it is async."""
        if found is None:
            return None
        if found.error is not None:
            raise found.error
        try:
            if found.refusal:
                self._keeps_offers = True
                raise UsageError(found.refusal)
            values, named = found.arguments or self._arguments(found)
        except UsageError as error:
            explain = next((item for item in self._error_handlers(found) if UsageError in item.classes), None)
            return explain.function(self._ctx, error) if explain else str(error)
        return found.handler.function(self._ctx, *values, **named)

    def _arguments(self, found: Found) -> Arguments:
        handler, event = found.handler, self._ctx.event
        if handler.command is not None:
            return handler.command.read(handler.signature, found.line)
        if isinstance(event, ActionEvent) and handler.kind == "action":
            return handler.signature.read_action(event, found.match.groups, handler.name)
        return [], {}

    def _operations(self, answer: Any) -> tuple[Operation, ...]:
        return tuple(self._ctx.operation(message) for message in to_messages(answer))

    def _failed(self, found: Found | None, error: BaseException, failures: int) -> Outcome:
        name = found.handler.name if found else ""
        self._discard()
        if found is not None and failures < found.handler.retries:
            return Outcome(name, error=error, retry_in=backoff(failures))
        self._ctx.fail()
        before = len(self._ctx.said)
        operations: tuple[Operation, ...] = ()
        try:
            operations = self._operations(self._explanation(found, error))
            self._changes(operations)  # raises here, not below, if the error handler left a state that cannot be stored
        except self._lets_out:
            raise
        except BaseException as second:
            operations = ()
            self._discard()
            if second is not error:
                error = _in_context(second, error)
                logger.error("failed to handle an error of %s", name, exc_info=error, extra=self._ctx.log.extra)
        if not operations and len(self._ctx.said) == before:
            operations = self._apology()
        return Outcome(name, operations=operations, changes=self._changes(operations), error=error)

    def _explanation(self, found: Found | None, error: BaseException) -> Any:
        """What the nearest error handler returns, None if there is none."""
        for scope in (*(found.handler.error_handlers if found else ()), self._bot.error_handlers):
            fitting = [(distance, item) for item in scope if (distance := item.distance(error)) is not None]
            if fitting:
                nearest = min(fitting, key=lambda pair: pair[0])[1]
                return _Chain(self._ctx, (), partial(nearest.function, self._ctx, error), self._run).answer()
        return None

    def _error_handlers(self, found: Found) -> list[ErrorHandler]:
        scopes: Sequence[tuple[ErrorHandler, ...]] = (*found.handler.error_handlers, self._bot.error_handlers)
        return [item for scope in scopes for item in scope]

    def _apology(self) -> tuple[Operation, ...]:
        """The bot's error text, to whoever wrote something; nobody waits for an answer to a reaction."""
        if isinstance(self._event, MessageEvent | ActionEvent):
            return self._operations(self._bot.error_text)
        return ()

    def _discard(self) -> None:
        self._ctx.state.discard_changes()
        self._ctx.user_state.discard_changes()

    def _changes(self, operations: tuple[Operation, ...]) -> tuple[StateChange, ...]:
        """What is to be stored of both states, with cometbot's own notes. Raises :class:`BotError` if it is no JSON."""
        state = self._ctx.state
        if self._sender_is_bot:
            state[_BOTS] = self._bots
        elif self._bot.handle_bots:
            state.pop(_BOTS, None)
        elsewhere = self._keep_offers(operations)
        return tuple(change for change in (state.changes(), self._ctx.user_state.changes(), *elsewhere) if change)

    def _keep_offers(self, operations: tuple[Operation, ...]) -> list[StateChange]:
        """Note what was offered: here in the state, elsewhere in the changes that are returned."""
        said: dict[str, list[Message]] = {}
        for operation in (*self._ctx.said, *operations):
            if operation.message is not None:
                said.setdefault(str(operation.conversation.key), []).append(operation.message)
        here = said.pop(str(self._ctx.conversation.key), None)
        if here is not None and not self._keeps_offers:
            self._ctx.state.pop(OFFERS, None)
            if offers := to_state(here):
                self._ctx.state[OFFERS] = offers
        return [
            StateChange("conversation", owner, {OFFERS: to_json(OFFERS, offers)})
            for owner, messages in said.items()
            if (offers := to_state(messages))
        ]


class _Chain:
    """A handler inside its middleware, plain and async functions mixed."""

    def __init__(
        self, ctx: Context, middleware: tuple[Middleware, ...], handler: Callable[[], Any], run: Runner
    ) -> None:
        self.stopped_by = ""
        self._ctx = ctx
        self._middleware = middleware
        self._handler = handler
        self._run = run
        self._is_running = False

    def answer(self) -> Any:
        """What the outermost middleware makes of what the handler returns."""
        return self._settled(self._step(0))

    def _step(self, index: int) -> Any:
        """The answer from the middleware at ``index`` inwards, or a coroutine of it."""
        if index == len(self._middleware):
            return self._handler()
        middleware = self._middleware[index]
        return self._around_async(middleware, index) if middleware.is_async else self._around(middleware, index)

    def _around(self, middleware: Middleware, index: int) -> Any:
        answers: list[Any] = []

        def call_next() -> Any:
            self._enter(middleware, answers)
            answers[0] = self._settled(self._step(index + 1))
            return answers[0]

        returned = self._settled(middleware.function(self._ctx, call_next))
        return self._chosen(middleware, answers, returned)

    async def _around_async(self, middleware: Middleware, index: int) -> Any:
        answers: list[Any] = []

        async def call_next() -> Any:
            self._enter(middleware, answers)
            inner = self._step(index + 1)
            answers[0] = await inner if inspect.isawaitable(inner) else inner
            return answers[0]

        returned = await middleware.function(self._ctx, call_next)
        return self._chosen(middleware, answers, returned)

    @staticmethod
    def _enter(middleware: Middleware, answers: list[Any]) -> None:
        if answers:
            raise BotError(f"the middleware {middleware.name} called call_next() twice; a handler runs once")
        answers.append(None)

    def _chosen(self, middleware: Middleware, answers: list[Any], returned: Any) -> Any:
        if not answers:
            self.stopped_by = middleware.name
            return returned
        return answers[0] if returned is None else returned

    def _settled(self, value: Any) -> Any:
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


def _in_context(second: BaseException, first: BaseException) -> BaseException:
    """``second``, with ``first`` among the errors in whose handling it was raised."""
    last = second
    while last is not first and last.__context__ is not None:
        last = last.__context__
    if last is not first:
        last.__context__ = first
    return second
