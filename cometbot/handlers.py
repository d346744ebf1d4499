"""Handlers, middleware and error handlers, validated at registration so that mistakes show early."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from cometbot.commands import Command, Parameter, ProvidedParameter, Signature, inspect_signature
from cometbot.errors import RegistrationError
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.jobs import inspect_job
from cometbot.matchers import ANY_SCOPE, MATCHED, NO_SCOPE, Match, MatchContext, Matcher, any_message
from cometbot.providers import Provider, Providers, find_provider

Function = Callable[..., Any]
MiddlewareFunction = Callable[[Any, Callable[[], Any]], Any]
HandlerKind = Literal["action", "command", "message", "event", "fallback", "job"]
ActionName = str | re.Pattern[str]
Concurrency = Literal["queue", "burst", "latest"]
"""The handling of messages that a user writes in quick succession: one by one, all at once, or only the newest."""


@dataclass(frozen=True, slots=True)
class Middleware:
    """A function around handlers: ``def timed(ctx, call_next)``."""

    function: Function
    name: str
    is_async: bool

    @classmethod
    def from_function(cls, function: Function) -> Middleware:
        """Return the middleware for a function. Raises :class:`RegistrationError` if its signature does not fit."""
        name = function_name(function)
        check_function(function, name, 2, "def timed(ctx, call_next)")
        return cls(function, name, is_coroutine_function(function))


@dataclass(frozen=True, slots=True)
class ErrorHandler:
    """A function for errors of some classes: ``def explain(ctx, error)``."""

    function: Function
    name: str
    classes: tuple[type[BaseException], ...]

    @classmethod
    def from_function(cls, function: Function, classes: tuple[type[BaseException], ...]) -> ErrorHandler:
        """Return the error handler for a function. Raises :class:`RegistrationError` if its signature does not fit."""
        name = function_name(function)
        check_function(function, name, 2, "def explain(ctx, error)")
        return cls(function, name, classes)

    def distance(self, error: BaseException) -> int | None:
        """Return how far the nearest of its classes is from the error's class, or None if none is a base of it."""
        ancestors = type(error).__mro__
        return min((ancestors.index(item) for item in self.classes if item in ancestors), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """A registered function and the events that it handles.

    ``signature`` holds the parameters behind the context. ``classes`` are the event classes of an event handler.
    ``middleware`` (outermost first), ``error_handlers`` (one tuple for each router, innermost first) and ``providers``
    come from the routers that the handler was included through; the bot's own are not among them. The handler's own
    middleware is the innermost.
    """

    function: Function
    kind: HandlerKind
    name: str
    matcher: Matcher = field(default=any_message)
    signature: Signature = field(default_factory=Signature)
    retries: int = 0
    timeout: float | None = None
    stop_on_new: bool = False
    concurrency: Concurrency = "queue"
    command: Command | None = None
    actions: tuple[ActionName, ...] = ()
    classes: tuple[type[Event], ...] = ()
    prefix: str = ""
    middleware: tuple[Middleware, ...] = ()
    error_handlers: tuple[tuple[ErrorHandler, ...], ...] = ()
    providers: Providers = field(default_factory=dict)

    @property
    def reserved(self) -> tuple[str, ...]:
        """The names that this handler alone may have: of a command or job, or of actions without patterns."""
        if self.kind == "job":
            return (self.name,)
        if self.command is not None:
            return self.command.names
        return tuple(self.prefix + item for item in self.actions if isinstance(item, str))

    def find_providers(self, of_bot: Providers) -> list[tuple[ProvidedParameter, Provider]]:
        """Return the parameters that are provided, each with what makes it.

        Raises :class:`RegistrationError` if nothing provides one of them.
        """
        is_async = is_coroutine_function(self.function)
        return [
            (item, find_provider(item, self.name, is_async=is_async, scopes=(self.providers, of_bot)))
            for item in self.signature.provided
        ]

    def included(
        self,
        prefix: str,
        middleware: tuple[Middleware, ...],
        error_handlers: tuple[ErrorHandler, ...],
        providers: Providers,
    ) -> Handler:
        """Return this handler as part of the group that includes its router."""
        return replace(
            self,
            command=self.command and with_usage(self.command, self.signature, prefix),
            matcher=action_matcher(self.actions, prefix + self.prefix) if self.kind == "action" else self.matcher,
            prefix=prefix + self.prefix,
            middleware=(*middleware, *self.middleware),
            error_handlers=(*self.error_handlers, error_handlers) if error_handlers else self.error_handlers,
            providers={**providers, **self.providers},
        )


def to_middleware(functions: Any, name: str) -> tuple[Middleware, ...]:
    """Return the middleware of the handler ``name``. Raises :class:`RegistrationError` unless it is a list."""
    if not isinstance(functions, list | tuple):
        raise RegistrationError(f"middleware of {name}: expected a list such as [timed], got {functions!r}")
    return tuple(map(Middleware.from_function, functions))


def to_outgoing_middleware(function: Function) -> Middleware:
    """Return the outgoing middleware for a function. Raises :class:`RegistrationError` if it does not fit."""
    name = function_name(function)
    check_function(function, name, 2, "def redact(message, outgoing)")
    if is_coroutine_function(function):
        raise RegistrationError(
            f"{name} is an async def; outgoing middleware is called inside ctx.reply(), which nobody awaits, so it "
            "must be a plain function: def redact(message, outgoing)"
        )
    return Middleware(function, name, is_async=False)


def with_usage(command: Command, signature: Signature, prefix: str = "") -> Command:
    """Return ``command`` with ``prefix`` before its names, and with the matching usage."""
    prefix = prefix.casefold()
    name = prefix + command.name
    aliases = tuple(prefix + alias for alias in command.aliases)
    return replace(command, name=name, aliases=aliases, usage=signature.usage(name), parameters=signature.parameters)


def action_matcher(names: tuple[ActionName, ...], prefix: str = "") -> Matcher:
    """Return a matcher for actions whose whole name behind ``prefix`` is one of ``names``, or any name."""
    plain = frozenset(item for item in names if isinstance(item, str))
    patterns = [item for item in names if not isinstance(item, str)]

    def find(ctx: MatchContext) -> Match | None:
        if not isinstance(ctx.event, ActionEvent) or not ctx.event.name.startswith(prefix):
            return None
        name = ctx.event.name[len(prefix) :]
        if not names or name in plain:
            return MATCHED
        found = next((found for regex in patterns if (found := regex.fullmatch(name))), None)
        return Match(found.groupdict(), found) if found else None

    possible = frozenset(group for regex in patterns for group in regex.groupindex)
    return Matcher(f"action({', '.join(map(repr, names))})", find, frozenset(), possible)


def event_matcher(classes: tuple[type[Event], ...]) -> Matcher:
    """Return a matcher for events of these classes and their subclasses, or for any event."""
    wanted = classes or (Event,)
    name = ", ".join(item.__name__ for item in wanted)
    message_classes = (MessageEvent, ActionEvent)
    fits_messages = any(issubclass(item, message_classes) or issubclass(MessageEvent, item) for item in wanted)
    scope = ANY_SCOPE if fits_messages else NO_SCOPE
    return Matcher(f"event({name})", lambda ctx: MATCHED if isinstance(ctx.event, wanted) else None, scope=scope)


def function_name(function: Any) -> str:
    """Return ``module.qualname``, the name of a handler in logs and dead letters."""
    plain = getattr(function, "func", function)
    name = getattr(plain, "__qualname__", type(plain).__qualname__)
    return f"{getattr(plain, '__module__', '') or type(plain).__module__}.{name}"


def is_coroutine_function(function: Function) -> bool:
    """Return True if calling ``function`` returns a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def check_function(function: Any, name: str, count: int, example: str) -> None:
    """Raise :class:`RegistrationError` unless ``function`` can be a handler and accepts ``count`` arguments."""
    check_callable(function, name)
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        raise RegistrationError(f"{name} must take exactly {count} arguments: {example}") from None
    except ValueError:
        return


def check_callable(function: Any, name: str) -> None:
    """Raise :class:`RegistrationError` if ``function`` is a class, not callable, or a generator function."""
    if isinstance(function, type):
        raise RegistrationError(f"{name} is a class; decorate a function: def handler(ctx)")
    if not callable(function):
        raise RegistrationError(f"{function!r} is not a function; decorate one: def handler(ctx)")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise RegistrationError(
            f"{name} is a generator; to send text piece by piece call ctx.stream(parts), to ask and go on with "
            "the answer use ctx.ask, and to say several things return a list or call ctx.reply() several times"
        )


def check_options(name: str, retries: Any, timeout: Any, stop_on_new: Any = False) -> None:
    """Raise :class:`RegistrationError` if ``retries`` or ``timeout`` is out of range, or ``stop_on_new`` no bool."""
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise RegistrationError(f"retries of {name} is how often to try again, 0 or more, not {retries!r}")
    if timeout is not None and (not isinstance(timeout, int | float) or isinstance(timeout, bool) or not timeout > 0):
        raise RegistrationError(f"timeout of {name} is in seconds, more than 0, or None, not {timeout!r}")
    if not isinstance(stop_on_new, bool):
        raise RegistrationError(f"stop_on_new of {name} is True or False, not {stop_on_new!r}")


def check_concurrency(name: str, kind: HandlerKind, concurrency: Any) -> None:
    """Raise :class:`RegistrationError` for a ``concurrency`` that does not exist, or that is not for this kind."""
    if concurrency not in get_args(Concurrency):
        raise RegistrationError(f'concurrency of {name}: expected "queue", "burst" or "latest", got {concurrency!r}')
    if kind == "command" and concurrency == "burst":
        raise RegistrationError(
            f'concurrency of {name}: a command has the words of one message, so it cannot be "burst"; use '
            "@bot.message or @bot.fallback"
        )


def check_signature(function: Function, name: str, kind: HandlerKind, matcher: Matcher) -> Signature:
    """Return the signature of a handler of this kind.

    Raises :class:`RegistrationError` if a parameter can never be filled.
    """
    if kind == "job":
        return inspect_job(function, name)
    signature = inspect_signature(function, name, has_values=kind == "action")
    if kind == "command" and len(signature.keyword_only) > 1:
        raise RegistrationError(
            f"the keyword-only parameters of {name}: a command has at most one, it gets the rest of the line"
        )
    if kind in ("command", "action"):
        return signature
    for item in signature.parameters:
        if item.kind == "words" or (item.is_required and item.name not in matcher.groups):
            raise RegistrationError(
                f"nothing fills the parameter {item.name} of {name}: name a group (?P<{item.name}>…) of the regular "
                "expression after it in every alternative, or give it a default"
                if kind == "message"
                else f"nothing fills the parameter {item.name} of {name}: such a handler gets ctx alone"
            )
    return signature


def _help(ctx: Any, *names: str) -> str:
    return str(ctx.bot.help(names[0] if names else ""))


HELP_HANDLER = Handler(
    function=_help,
    kind="command",
    name="cometbot.help",
    signature=Signature(variadic=Parameter("command", "words")),
    command=Command("help", usage="/help"),
)
"""The handler of the command ``/help`` that a bot has unless it defines its own."""
