"""Bots and their handlers: :class:`Bot` is a whole bot, :class:`Router` a part of one."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Literal, Protocol, TypeVar, overload

from cometbot.commands import Command, help_text, normalize_command_name
from cometbot.durations import Duration, to_seconds
from cometbot.errors import BotError, RegistrationError
from cometbot.events import Event
from cometbot.handlers import (
    HELP_HANDLER,
    ActionName,
    ErrorHandler,
    Handler,
    HandlerKind,
    Middleware,
    action_matcher,
    check_callable,
    check_options,
    check_signature,
    event_matcher,
    function_name,
    with_usage,
)
from cometbot.matchers import Matcher, MatcherLike, any_message, any_of, normalize_text
from cometbot.messages import Message, Text
from cometbot.models import Conversation
from cometbot.providers import Provided, Provider, Providers
from cometbot.routing import HandlerTable

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

ERROR_TEXT = "Sorry, something went wrong here. Please try again later."
CANCEL_TEXT = "All right, cancelled."
MENTION_TEXT = "Mention me in your answer."
RESTART_TEXT = "I have changed in the meantime, so please start again."
_NAME_PATTERN = re.compile(r"[a-z0-9_-]{1,50}")
_UID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,100}")
_CONNECT_FUNCTION = "cometbot.web.app:connect_from_settings"


class Sender(Protocol):
    """The backend of :meth:`Bot.send`, which the running app connects."""

    def send(
        self,
        bot: Bot,
        message: Message,
        *,
        user: str | None,
        group: str | None,
        conversation: Conversation | None,
        channel: str | None,
    ) -> str | None:
        """Store ``message`` for sending and return its id, or None if there is none.

        The message is durable on return.
        """
        ...


handler_sender: ContextVar[Sender | None] = ContextVar("cometbot_handler_sender", default=None)
"""The backend of :meth:`Bot.send` of all bots while a handler runs."""


class HandlerGroup:
    """The registration decorators, and the handlers registered with them, in order of registration."""

    def __init__(self) -> None:
        self._handlers: list[Handler] = []
        self._middleware: list[Middleware] = []
        self._error_handlers: list[ErrorHandler] = []
        self._providers: dict[type, Provider] = {}
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
        again, at most ``retries`` times. It may take ``timeout`` seconds (None: the bot's ``handler_timeout``).
        """

        def register(function: F) -> F:
            check_callable(function, function_name(function))
            called = name if isinstance(name, str) and name else getattr(function, "__name__", "")
            text = description or (getattr(function, "__doc__", None) or "").strip().partition("\n")[0]
            names = tuple(normalize_command_name(item) for item in (called, *aliases))
            command = Command(names[0], names[1:], text, hidden=hidden, slash_optional=slash_optional)
            self._register(function, "command", any_message, retries, timeout, command=command)
            return function

        if _is_function(name):
            return register(name)
        if not isinstance(name, str):
            raise RegistrationError(f"@bot.command takes names, not {name!r}; a class cannot be a handler")
        return register

    def message(self, *matchers: MatcherLike, retries: int = 0, timeout: float | None = None) -> Callable[[F], F]:
        """Register a handler for messages that match one of ``matchers``, or for any message without matchers.

        A str matches the whole text; case and the number of spaces do not matter. A ``re.Pattern`` is searched for in
        the text. Its named groups fill the parameters of the same names; if a group does not convert to its parameter's
        annotation, the message does not match. For other matchers see :mod:`cometbot.matchers`, or pass a function of
        the context.
        """
        matcher = any_of(matchers)
        token = object()
        if len(matchers) == 1 and _is_function(matchers[0]):
            self._unapplied[token] = function_name(matchers[0])

        def register(function: F) -> F:
            self._unapplied.pop(token, None)
            self._register(function, "message", matcher, retries, timeout)
            return function

        return register

    @overload
    def action(self, name: F, /) -> F: ...

    @overload
    def action(self, *names: ActionName, retries: int = 0, timeout: float | None = None) -> Callable[[F], F]: ...

    def action(self, *names: Any, retries: int = 0, timeout: float | None = None) -> Any:
        """Register a handler for buttons, choices and forms with one of these names, or with any name.

        A pattern must match the whole name. The action's value fills the parameters like the words of a command; a
        single parameter receives the whole value. A form's fields and a pattern's named groups fill parameters of
        any kind by name. If one of these does not convert, the user gets the error text. A value that does not fit
        raises :class:`BotError`, because the bot itself made the button.
        """

        def register(function: F, actions: Any) -> F:
            self._register(function, "action", action_matcher(actions), retries, timeout, actions=actions)
            return function

        expected = "@bot.action takes names (a class cannot be a handler)"
        return _as_decorator(register, names, lambda item: isinstance(item, str | re.Pattern), expected)

    @overload
    def event(self, *classes: type[Event], retries: int = 0, timeout: float | None = None) -> Callable[[F], F]: ...

    @overload
    def event(self, function: F, /) -> F: ...

    def event(self, *classes: Any, retries: int = 0, timeout: float | None = None) -> Any:
        """Register a handler for events of these classes and their subclasses, or for all events.

        Messages and actions arrive here only if no action, command or message handler matches. Event handlers come
        before the fallback.
        """

        def register(function: F, wanted: Any) -> F:
            matcher = event_matcher(wanted)
            self._register(function, "event", matcher, retries, timeout, classes=wanted or (Event,))
            return function

        expected = "@bot.event takes classes of events such as MembershipEvent"
        return _as_decorator(register, classes, lambda item: _is_subclass(item, Event), expected)

    @overload
    def fallback(self, function: F, /) -> F: ...

    @overload
    def fallback(self, *, retries: int = 0, timeout: float | None = None) -> Callable[[F], F]: ...

    def fallback(self, *function: Any, retries: int = 0, timeout: float | None = None) -> Any:
        """Register the handler for messages and actions that no other handler matches. A bot has one."""

        def register(function: F) -> F:
            self._register(function, "fallback", any_message, retries, timeout)
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
        run. A bot's middleware surrounds everything that the bot handles, a router's only the router's own handlers.
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
        """What this group provides, by class, without that of included routers."""
        return self._providers

    def include(self, router: Router, prefix: str = "") -> None:
        """Add all handlers of ``router`` at this position, with ``prefix`` before its command and action names.

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
        self._reserve_names(included_handlers)
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
        *,
        command: Command | None = None,
        **names: Any,
    ) -> None:
        name = function_name(function)
        check_callable(function, name)
        check_options(name, retries, timeout)
        signature = check_signature(function, name, kind, matcher)
        handler = Handler(
            function=function,
            kind=kind,
            name=name,
            matcher=matcher,
            signature=signature,
            retries=retries,
            timeout=timeout,
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


class Bot(HandlerGroup):
    """A bot: its name, its handlers and their common options.

    ::

        bot = Bot("helpdesk", description="Answers questions about orders.")

    ``name`` is part of the path of the callback URL. It is also the bot's CometChat UID unless ``cometchat_uid`` is
    set. ``avatar`` is the URL of the bot's picture, for the platforms on which cometbot sets it. ``error_text`` is the
    reply if a handler raised and no error handler replied (None: no reply). With ``handle_bots``, the bot also handles
    messages of other bots, up to ten in a row. ``handler_timeout`` is the time limit in seconds of handlers without a
    ``timeout`` of their own.

    For handlers that ask: ``ask_timeout`` is how long a question stays open (``"2h"``, seconds, a ``timedelta``).
    ``/cancel`` and the ``cancel_words`` end a dialog with ``cancel_text``. A dialog that does not fit the handler's
    code any more ends with ``restart_text``. A question in a group ends with ``mention_text`` where the bot gets only
    messages that mention it. If a user begins another dialog, it replaces the open one, or is ended
    itself with ``dialogs="refuse"``.
    """

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        avatar: str = "",
        cometchat_uid: str = "",
        callback_username: str = "",
        callback_password: str = "",
        error_text: str | None = ERROR_TEXT,
        slash_optional: bool = False,
        handle_bots: bool = False,
        handler_timeout: float | None = None,
        ask_timeout: Duration = "1d",
        cancel_words: Sequence[str] = (),
        cancel_text: str | None = CANCEL_TEXT,
        restart_text: str | None = RESTART_TEXT,
        mention_text: str | None = MENTION_TEXT,
        dialogs: Literal["replace", "refuse"] = "replace",
    ) -> None:
        super().__init__()
        if not isinstance(name, str) or not _NAME_PATTERN.fullmatch(name):
            raise RegistrationError(
                f"a bot's name is 1 to 50 of a-z 0-9 - _, for its callback URL and as its UID; not {name!r}"
            )
        if cometchat_uid and not _UID_PATTERN.fullmatch(cometchat_uid):
            raise RegistrationError(f"a CometChat UID is 1 to 100 letters, digits, - and _; not {cometchat_uid!r}")
        if avatar and not avatar.startswith(("https://", "http://")):
            raise RegistrationError(f"a bot's avatar is the http(s) URL of a picture, not {avatar!r}")
        check_options(f"the bot {name}", 0, handler_timeout)
        to_seconds(ask_timeout, "ask_timeout")
        if isinstance(cancel_words, str):
            raise RegistrationError(f'cancel_words: expected a list such as ["stop"], got {cancel_words!r}')
        if dialogs not in ("replace", "refuse"):
            raise RegistrationError(f'dialogs: expected "replace" or "refuse", got {dialogs!r}')
        self.name = name
        self.description = description
        self.avatar = avatar
        self.cometchat_uid = cometchat_uid
        self.callback_username = callback_username
        self.callback_password = callback_password
        self.error_text = error_text
        self.slash_optional = slash_optional
        self.handle_bots = handle_bots
        self.handler_timeout = handler_timeout
        self.ask_timeout = ask_timeout
        self.cancel_words = frozenset(map(normalize_text, cancel_words))
        self.cancel_text = cancel_text
        self.restart_text = restart_text
        self.mention_text = mention_text
        self.dialogs = dialogs
        self.ids: tuple[str, ...] = tuple(dict.fromkeys((cometchat_uid or name, name)))
        """The ids that mention the bot. It does not handle messages that one of them sent."""
        self._sender: Sender | None = None
        self._routes: tuple[int, HandlerTable] | None = None

    def __repr__(self) -> str:
        return f"<Bot {self.name}>"

    @property
    def routes(self) -> HandlerTable:
        """The handlers ready for lookup, with a ``/help`` if none is registered. Rebuilt only after a registration."""
        version = self._version
        if self._routes is None or self._routes[0] != version:
            handlers = self.handlers
            has_help = ("command", "help") in self._names_in_use
            if not has_help and (self.description or self.commands):
                handlers = (*handlers, HELP_HANDLER)
            self._routes = version, HandlerTable(handlers, slash_optional=self.slash_optional)
        return self._routes[1]

    def takes(self, event: type[Event]) -> bool:
        """Return True if the bot may handle an event of this class.

        True for every class if the bot has middleware, which surrounds all events, or has no handlers yet.
        """
        return not self._handlers or bool(self._middleware) or self.routes.can_handle(event)

    @property
    def commands(self) -> list[Command]:
        """The commands that are not hidden, for menus, in order of registration."""
        found = [handler.command for handler in self.handlers if handler.command is not None]
        return [command for command in found if not command.hidden]

    def help(self, name: str = "") -> str:
        """Return the text of ``/help``, only about the command ``name`` if there is one of that name."""
        wanted = [command for command in self.commands if name.removeprefix("/").casefold() in command.names]
        return help_text("" if wanted else self.description, wanted or self.commands)

    def check(self) -> None:
        """Raise :class:`RegistrationError` for a handler with a parameter that nothing provides. Apps call this."""
        for handler in self.handlers:
            handler.find_providers(self.providers)

    def connect(self, sender: Sender) -> None:
        """Set the backend of :meth:`send`. Apps call this when they start."""
        self._sender = sender

    def send(
        self,
        *,
        user: str | None = None,
        group: str | None = None,
        conversation: Conversation | None = None,
        text: str | None = None,
        message: Message | None = None,
        channel: str | None = None,
    ) -> str | None:
        """Send a message that answers no event, from any process. Return its id, or None if there is none.

        ::

            bot.send(user="maria", text="Your order is out.")

        Pass exactly one of ``user`` (a uid), ``group`` (a guid) and ``conversation``, and exactly one of ``text`` and
        ``message``. The message is stored on return, and is sent in the order of its conversation. ``channel`` is
        required if the bot is on several channels. In a process without a running app, the first call connects one from
        the settings. In a handler of the same bot this is :meth:`Context.send`, on the event's channel unless
        ``channel`` says otherwise: a handler that runs again does not send it twice. It then returns None. Raises
        :class:`BotError` for any other combination of arguments.
        """
        if sum(item is not None and item != "" for item in (user, group, conversation)) != 1:
            raise BotError("send() takes exactly one of user=, group= and conversation=")
        if (text is None) == (message is None):
            raise BotError("send() takes exactly one of text= and message=")
        outgoing = Text(text) if text is not None else message
        if not isinstance(outgoing, Message):
            raise BotError(f"message= is a message such as Card, not {type(outgoing).__name__}; use text= for a str")
        sender = handler_sender.get() or self.sender
        return sender.send(
            self, outgoing, user=user or None, group=group or None, conversation=conversation, channel=channel
        )

    @property
    def sender(self) -> Sender:
        """The backend of :meth:`send` outside of handlers, connected now if it was not yet."""
        if self._sender is None:
            pkgutil.resolve_name(_CONNECT_FUNCTION)(self)
        if self._sender is None:
            raise BotError(f"the bot {self.name} is not connected to anything that could send; start an app first")
        return self._sender


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
