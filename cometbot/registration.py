"""Registration: the decorators that bots and routers have in common, and :class:`Router`, a part of a bot."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

from cometbot.commands import Command, normalize_command_name
from cometbot.errors import RegistrationError
from cometbot.events import Event
from cometbot.handlers import (
    ActionName,
    Concurrency,
    ErrorHandler,
    Handler,
    HandlerKind,
    Middleware,
    MiddlewareFunction,
    action_matcher,
    check_callable,
    check_concurrency,
    check_options,
    check_signature,
    event_matcher,
    function_name,
    to_middleware,
    with_usage,
)
from cometbot.job_registration import JobGroup
from cometbot.matchers import Matcher, MatcherLike, any_message, any_of
from cometbot.providers import Provided, Provider, Providers
from cometbot.tools import Approvers, FunctionTool

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class HandlerGroup(JobGroup):
    """The registration decorators, and the handlers registered with them, in order of registration."""

    def __init__(self) -> None:
        super().__init__()
        self._handlers: list[Handler] = []
        self._middleware: list[Middleware] = []
        self._error_handlers: list[ErrorHandler] = []
        self._providers: dict[type, Provider] = {}
        self._tools: dict[str, FunctionTool] = {}
        self._names_in_use: dict[tuple[HandlerKind, str], str] = {}
        self._included: list[Router] = []
        self._unapplied: dict[object, str] = {}
        self._version = 0

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """The handlers in order of registration. Those of a router stand at the position of its ``include``.

        Raises :class:`RegistrationError` if ``@bot.message`` was used without parentheses.
        """
        for name in self._unapplied.values():
            raise RegistrationError(
                f"@bot.message was put on {name} without parentheses: write @bot.message() for any message; "
                f"and if {name} is a matcher, put @bot.message({name.rpartition('.')[2]}) on a handler"
            )
        return tuple(self._handlers)

    @property
    def error_handlers(self) -> tuple[ErrorHandler, ...]:
        """The error handlers of this group, in order of registration, without those of included routers."""
        return tuple(self._error_handlers)

    @property
    def middlewares(self) -> tuple[Middleware, ...]:
        """The middleware of this group, outermost first, without that of included routers."""
        return tuple(self._middleware)

    @overload
    def command(self, name: F, /) -> F: ...

    @overload
    def command(
        self,
        name: str = "",
        /,
        *aliases: str,
        description: str = "",
        slash_optional: bool | None = None,
        hidden: bool = False,
        retries: int = 0,
        timeout: float | None = None,
        stop_on_new: bool = False,
        concurrency: Concurrency = "queue",
        middleware: Sequence[MiddlewareFunction] = (),
    ) -> Callable[[F], F]: ...

    def command(
        self,
        name: Any = "",
        /,
        *aliases: str,
        description: str = "",
        slash_optional: bool | None = None,
        hidden: bool = False,
        retries: int = 0,
        timeout: float | None = None,
        stop_on_new: bool = False,
        concurrency: Concurrency = "queue",
        middleware: Sequence[MiddlewareFunction] = (),
    ) -> Any:
        """Register a handler for the command ``/name``.

        ::

            @bot.command("remind", description="Reminds you.")
            def remind(ctx, minutes: int, *, what: str = "stretch"): ...

        The words behind the name fill the handler's parameters and are converted by their annotations. If they are
        missing, too many or do not convert, the user gets the usage instead.

        ``name`` defaults to the name of the function, ``description`` to the first line of its docstring. Users write
        the name with its slash, or behind a mention of the bot, or plainly if ``slash_optional`` is true (None: the
        bot's setting). Case does not matter. ``/help`` leaves out ``hidden`` commands. A handler that raises is called
        again, at most ``retries`` times. It may take ``timeout`` seconds (None: the bot's ``handler_timeout``). With
        ``stop_on_new``, a newer message of the same user stops it as ``/stop`` does (:attr:`Context.cancelled`).
        ``middleware`` surrounds this handler alone, inside that of its bot and routers, the first one outermost; see
        :meth:`middleware`.
        """

        def register(function: F) -> F:
            check_callable(function, function_name(function))
            called = name if isinstance(name, str) and name else getattr(function, "__name__", "")
            text = description or (getattr(function, "__doc__", None) or "").strip().partition("\n")[0]
            names = tuple(normalize_command_name(item) for item in (called, *aliases))
            command = Command(names[0], names[1:], text, hidden=hidden, slash_optional=slash_optional)
            self._register(
                function,
                "command",
                any_message,
                retries,
                timeout,
                stop_on_new,
                middleware,
                concurrency=concurrency,
                command=command,
            )
            return function

        if _is_function(name):
            return register(name)
        if not isinstance(name, str):
            raise RegistrationError(f"@bot.command takes names, not {name!r}; a class cannot be a handler")
        return register

    def message(
        self,
        *matchers: MatcherLike,
        retries: int = 0,
        timeout: float | None = None,
        stop_on_new: bool = False,
        concurrency: Concurrency = "queue",
        middleware: Sequence[MiddlewareFunction] = (),
    ) -> Callable[[F], F]:
        """Register a handler for messages that match one of ``matchers``, or for any message without matchers.

        A str matches the whole text; case and the number of spaces do not matter. A ``re.Pattern`` is searched for in
        the text. Its named groups fill the parameters of the same names; if a group does not convert to its parameter's
        annotation, the message does not match. For other matchers see :mod:`cometbot.matchers`, or pass a function of
        the context.

        ``concurrency`` says what becomes of messages for this handler that a user writes in quick succession. With
        ``"queue"`` it gets one after the other. With ``"burst"`` it gets them all at once, as soon as the user has
        paused (the bot's ``burst_pause``): ``ctx.event`` is the newest one, and :attr:`Context.messages` has all. With
        ``"latest"`` a newer message stops the handler, as ``stop_on_new`` does, and it then gets the newest only. What
        has another handler, user or thread ends a burst: the order never changes.
        """
        matcher = any_of(matchers)
        token = object()
        if len(matchers) == 1 and _is_function(matchers[0]):
            self._unapplied[token] = function_name(matchers[0])

        def register(function: F) -> F:
            self._unapplied.pop(token, None)
            self._register(
                function, "message", matcher, retries, timeout, stop_on_new, middleware, concurrency=concurrency
            )
            return function

        return register

    @overload
    def action(self, name: F, /) -> F: ...

    @overload
    def action(
        self,
        *names: ActionName,
        retries: int = 0,
        timeout: float | None = None,
        stop_on_new: bool = False,
        middleware: Sequence[MiddlewareFunction] = (),
    ) -> Callable[[F], F]: ...

    def action(
        self,
        *names: Any,
        retries: int = 0,
        timeout: float | None = None,
        stop_on_new: bool = False,
        middleware: Sequence[MiddlewareFunction] = (),
    ) -> Any:
        """Register a handler for buttons, choices and forms with one of these names, or with any name.

        A pattern must match the whole name. The action's value fills the parameters like the words of a command; a
        single parameter receives the whole value. A value that is no text keeps its type, and an object fills the
        parameters of its members' names. A form's fields and a pattern's named groups fill parameters of
        any kind by name. If one of these does not convert, the user gets the error text. A value that does not fit
        raises :class:`BotError`, because the bot itself made the button.
        """

        def register(function: F, actions: Any) -> F:
            self._register(
                function, "action", action_matcher(actions), retries, timeout, stop_on_new, middleware, actions=actions
            )
            return function

        expected = "@bot.action takes names (a class cannot be a handler)"
        return _as_decorator(register, names, lambda item: isinstance(item, str | re.Pattern), expected)

    @overload
    def event(
        self,
        *classes: type[Event],
        retries: int = 0,
        timeout: float | None = None,
        stop_on_new: bool = False,
        middleware: Sequence[MiddlewareFunction] = (),
    ) -> Callable[[F], F]: ...

    @overload
    def event(self, function: F, /) -> F: ...

    def event(
        self,
        *classes: Any,
        retries: int = 0,
        timeout: float | None = None,
        stop_on_new: bool = False,
        middleware: Sequence[MiddlewareFunction] = (),
    ) -> Any:
        """Register a handler for events of these classes and their subclasses, or for all events.

        Messages and actions arrive here only if no action, command or message handler matches. Event handlers come
        before the fallback.
        """

        def register(function: F, wanted: Any) -> F:
            matcher = event_matcher(wanted)
            self._register(
                function, "event", matcher, retries, timeout, stop_on_new, middleware, classes=wanted or (Event,)
            )
            return function

        expected = "@bot.event takes classes of events such as MembershipEvent"
        return _as_decorator(register, classes, lambda item: _is_subclass(item, Event), expected)

    @overload
    def fallback(self, function: F, /) -> F: ...

    @overload
    def fallback(
        self,
        *,
        retries: int = 0,
        timeout: float | None = None,
        stop_on_new: bool = False,
        concurrency: Concurrency = "queue",
        middleware: Sequence[MiddlewareFunction] = (),
    ) -> Callable[[F], F]: ...

    def fallback(
        self,
        *function: Any,
        retries: int = 0,
        timeout: float | None = None,
        stop_on_new: bool = False,
        concurrency: Concurrency = "queue",
        middleware: Sequence[MiddlewareFunction] = (),
    ) -> Any:
        """Register the handler for messages and actions that no other handler matches. A bot has one."""

        def register(function: F) -> F:
            self._register(
                function, "fallback", any_message, retries, timeout, stop_on_new, middleware, concurrency=concurrency
            )
            return function

        return register(*function) if function else register

    @overload
    def error(self, *classes: type[BaseException]) -> Callable[[F], F]: ...

    @overload
    def error(self, function: F, /) -> F: ...

    def error(self, *classes: Any) -> Any:
        """Register an error handler, called as ``(ctx, error)`` for errors of ``classes``, or for any error.

        Its return value replaces the bot's ``error_text`` as the reply. A router's error handlers come before the
        bot's. Among them, the one for the nearest class is called, and the first registered if several are equally
        near.
        """

        def register(function: F, wanted: Any) -> F:
            self._add(self._error_handlers, ErrorHandler.from_function(function, wanted or (Exception,)))
            return function

        expected = "@bot.error takes classes of exceptions such as ValueError"
        return _as_decorator(register, classes, lambda item: _is_subclass(item, BaseException), expected)

    @overload
    def middleware(self, function: F, /) -> F: ...

    @overload
    def middleware(self) -> Callable[[F], F]: ...

    def middleware(self, *function: Any) -> Any:
        """Register middleware, called as ``(ctx, call_next)`` around handlers. The first registered is the outermost.

        ``call_next()`` returns what the inner function returned; async middleware awaits it. A return value other than
        None replaces the reply, None leaves it. If the middleware does not call ``call_next``, the handler does not
        run. A bot's middleware surrounds everything that the bot handles, a router's the router's own handlers, and
        that of a decorator's ``middleware=[…]`` one handler: the bot's is outside, the handler's inside.
        """

        def register(function: F) -> F:
            self._add(self._middleware, Middleware.from_function(function))
            return function

        return register(*function) if function else register

    def provide(self, kind: type[T], make: Callable[[], Provided[T]]) -> None:
        """Give handlers what ``make`` makes, in each parameter that is annotated with the class ``kind``.

        ::

            def make_session():
                with Session(engine) as session, session.begin():
                    yield session

            bot.provide(Session, make_session)

            @bot.command
            def count(ctx, session: Session): ...

        ``make`` is called when a handler with such a parameter starts, in each run. It is a plain function, a generator
        function that yields once, or returns a context manager, which is entered; for async handlers, it may be async.
        It is closed after the handler and before the message counts as handled. An error of the handler is thrown in,
        also that a handler which asks is suspended (a ``BaseException``); neither can be suppressed. What a bot
        provides is there for the handlers of its routers, too; what a router provides itself comes before. Raises
        :class:`RegistrationError` for a second provider of the class, and for a class that the words of a command are
        converted to, such as ``int``.
        """
        provider = Provider.from_function(kind, make)
        self._check_open()
        if kind in self._providers:
            other = self._providers[kind].name
            raise RegistrationError(f"provide: {kind.__qualname__} is provided by {other} already")
        self._providers[kind] = provider

    @property
    def providers(self) -> Providers:
        """The providers of this group by class, without those of included routers."""
        return self._providers

    @overload
    def tool(self, function: F, /) -> F: ...

    @overload
    def tool(
        self, *, requires_approval: Approvers = False, name: str = "", description: str = ""
    ) -> Callable[[F], F]: ...

    def tool(self, *function: Any, requires_approval: Approvers = False, name: str = "", description: str = "") -> Any:
        """Register a function that a language model may call in :meth:`Context.run_agent`.

        ::

            @bot.tool(requires_approval=Group("managers"))
            def refund(order: int, reason: str = "") -> str:
                \"\"\"Refund an order.\"\"\"

        ``name`` defaults to the name of the function, ``description`` to its docstring, which (in the style of Google,
        NumPy or Sphinx) describes the parameters, too. The model fills them by their annotations; a first one named
        ``ctx`` gets the context, and what the bot provides (:meth:`provide`) is filled as in handlers. With
        ``requires_approval``, each call waits until the user (True), or another user or a member of a group confirms
        it. The function returns JSON; it may be async. Raises :class:`RegistrationError` for a parameter that no JSON
        is converted to, and for a second tool of the name.
        """

        def register(function: F) -> F:
            tool = FunctionTool.from_function(
                function, name=name, description=description, requires_approval=requires_approval
            )
            self._check_open()
            self._add_tools([tool])
            return function

        return register(*function) if function else register

    @property
    def tools(self) -> tuple[FunctionTool, ...]:
        """The tools in order of registration, with those of included routers."""
        return tuple(tool.with_providers(self.providers) for tool in self._tools.values())

    def _add_tools(self, tools: Iterable[FunctionTool]) -> None:
        for tool in tools:
            if tool.name in self._tools:
                raise RegistrationError(f"there is a tool {tool.name} already; give one of them another name")
            self._tools[tool.name] = tool

    def include(self, router: Router, prefix: str = "") -> None:
        """Add the handlers and tools of ``router`` at this position, with ``prefix`` before command and action names.

        The router's middleware and error handlers apply to its own handlers only. Nothing more can be registered on the
        router afterwards. Raises :class:`RegistrationError` if the router is already included or a name is already in
        use.
        """
        self._check_open()
        if not isinstance(router, Router):
            raise RegistrationError(f"include() takes a Router, not {router!r}")
        if router is self or self in router._with_included():
            raise RegistrationError("a router cannot include itself, not by way of others either")
        if not set(map(id, router._with_included())).isdisjoint(map(id, self._with_included())):
            raise RegistrationError("this router is included already; a router is included once")
        if prefix and (not isinstance(prefix, str) or prefix.split() != [prefix] or prefix.startswith("/")):
            raise RegistrationError(f'a prefix is one word without a slash, such as "orders-", not {prefix!r}')
        included_handlers = [
            item.included(prefix, router.middlewares, router.error_handlers, router.providers)
            for item in router.handlers
        ]
        self._add_tools(router.tools)
        self._reserve_names(included_handlers)
        self._add_scheduled(router.scheduled_jobs)
        self._handlers += included_handlers
        self._included.append(router)
        router._is_included = True
        self._version += 1

    def _register(
        self,
        function: Any,
        kind: HandlerKind,
        matcher: Matcher,
        retries: int,
        timeout: float | None,
        stop_on_new: bool,
        middleware: Sequence[MiddlewareFunction],
        *,
        concurrency: Concurrency = "queue",
        command: Command | None = None,
        **names: Any,
    ) -> None:
        name = function_name(function)
        check_callable(function, name)
        check_options(name, retries, timeout, stop_on_new)
        check_concurrency(name, kind, concurrency)
        signature = check_signature(function, name, kind, matcher)
        handler = Handler(
            function=function,
            kind=kind,
            name=name,
            matcher=matcher,
            signature=signature,
            retries=retries,
            timeout=timeout,
            stop_on_new=stop_on_new or concurrency == "latest",
            concurrency=concurrency,
            middleware=to_middleware(middleware, name),
            command=command and with_usage(command, signature),
            **names,
        )
        self._check_open()
        self._reserve_names([handler])
        self._add(self._handlers, handler)

    def _reserve_names(self, handlers: list[Handler]) -> None:
        wanted: dict[tuple[HandlerKind, str], str] = {}
        for handler in handlers:
            for name in handler.reserved or (("",) if handler.kind == "fallback" else ()):
                other = self._names_in_use.get((handler.kind, name)) or wanted.get((handler.kind, name))
                if other is not None:
                    raise RegistrationError(
                        f"{handler.kind} {name!r} of {handler.name} is taken by {other}; give one of them another name"
                        if name
                        else f"{handler.name} would be a second fallback; {other} is it already"
                    )
                wanted[handler.kind, name] = handler.name
        self._names_in_use |= wanted

    def _add(self, items: list[Any], item: Any) -> None:
        self._check_open()
        items.append(item)
        self._version += 1

    def _check_open(self) -> None:
        """Raise :class:`RegistrationError` if nothing more can be registered here."""

    def _with_included(self) -> Iterator[HandlerGroup]:
        yield self
        for router in self._included:
            yield from router._with_included()


class Router(HandlerGroup):
    """A part of a bot: decorate handlers with it in a module of their own, then call ``bot.include(router)``."""

    def __init__(self) -> None:
        super().__init__()
        self._is_included = False

    def _check_open(self) -> None:
        if self._is_included:
            raise RegistrationError("this router is included already; register everything on it before include()")


def _is_function(item: object) -> bool:
    return callable(item) and not isinstance(item, type | Matcher)


def _is_subclass(item: object, base: type) -> bool:
    return isinstance(item, type) and issubclass(item, base)


def _as_decorator(
    register: Callable[[F, Any], F], items: tuple[Any, ...], fits: Callable[[Any], bool], expected: str
) -> Any:
    """Return the decorator for ``items``, or the decorated function if it was used without parentheses."""
    if len(items) == 1 and _is_function(items[0]):
        return register(items[0], ())
    for item in items:
        if not fits(item):
            raise RegistrationError(f"{expected}, not {item!r}")
    return lambda function: register(function, items)
