"""A bot and the handlers that make it up: :class:`Bot` is what runs, :class:`Router` a part of one."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from cometbot.commands import Command, Parameter, Signature, help_text, normalize_command_name
from cometbot.errors import BotError, RegistrationError
from cometbot.events import Event
from cometbot.handlers import (
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
from cometbot.matchers import Matcher, MatcherLike, any_message, any_of
from cometbot.messages import Message, Text
from cometbot.models import Conversation
from cometbot.routing import HandlerTable

if TYPE_CHECKING:
    from cometbot.context import Context

F = TypeVar("F", bound=Callable[..., Any])

ERROR_TEXT = "Sorry, something went wrong here. Please try again later."
_NAME_PATTERN = re.compile(r"[a-z0-9_-]{1,50}")
_UID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,100}")
_CONNECT_FUNCTION = "cometbot.web.app:connect_from_settings"


class Sender(Protocol):
    """What carries :meth:`Bot.send`: the running app connects one."""

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
        """The stored message's id, None where there is none. The message is durable on return."""
        ...


class HandlerGroup:
    """The decorators, and what was registered with them in its order."""

    def __init__(self) -> None:
        self._handlers: list[Handler] = []
        self._middleware: list[Middleware] = []
        self._error_handlers: list[ErrorHandler] = []
        self._names_in_use: dict[tuple[HandlerKind, str], str] = {}
        self._included: list[Router] = []
        self._unapplied: dict[object, str] = {}
        self._version = 0

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """The handlers in the order of their registration, those of included routers at the place of their ``include``.

        Raises :class:`RegistrationError` for a ``@bot.message`` that was left without its parentheses.
        """
        for name in self._unapplied.values():
            raise RegistrationError(
                f"@bot.message was put on {name} without parentheses: write @bot.message() for any message; "
                f"and if {name} is a matcher, put @bot.message({name.rpartition('.')[2]}) on a handler"
            )
        return tuple(self._handlers)

    @property
    def error_handlers(self) -> tuple[ErrorHandler, ...]:
        """The error handlers of this group itself, in the order of their registration."""
        return tuple(self._error_handlers)

    @property
    def middlewares(self) -> tuple[Middleware, ...]:
        """The middleware of this group itself, outermost first."""
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
        """Register a handler for ``/name``, its parameters filled from the words behind it by their annotations.

        ::

            @bot.command("remind", description="Reminds you.")
            def remind(ctx, minutes: int, *, what: str = "stretch"): ...

        The name is the function's and the description the first line of its docstring where they are not given. The
        name is written with its slash, or after a mention of the bot, or plain with ``slash_optional`` (the bot's own
        where None); case does not matter. What does not convert, is missing or too much is answered with the usage.
        ``hidden`` commands are not in ``/help``. A handler that raises is tried ``retries`` times more; it may take
        ``timeout`` seconds (None: the bot's).
        """

        def register(function: F) -> F:
            check_callable(function, function_name(function))
            called = name if isinstance(name, str) and name else getattr(function, "__name__", "")
            text = description or (getattr(function, "__doc__", None) or "").strip().partition("\n")[0]
            names = tuple(normalize_command_name(item) for item in (called, *aliases))
            command = Command(names[0], names[1:], text, hidden=hidden, slash_optional=slash_optional)
            self._register(function, "command", any_message, retries, timeout, command=command)
            return function

        return register(name) if _is_function(name) else _require_type(name, str, "command", register)

    def message(self, *matchers: MatcherLike, retries: int = 0, timeout: float | None = None) -> Callable[[F], F]:
        """Register a handler for messages that one of ``matchers`` fits; for any message if there are none.

        A str is the whole text (case and spaces aside), a ``re.Pattern`` is searched for, and its named groups fill the
        parameters of the same names; a group that does not convert to its parameter's annotation does not match.
        Everything else: :mod:`cometbot.matchers`, or a function of the context.
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
        """Register a handler for buttons, choices and forms of these names (or patterns for whole names); any without.

        The value fills the parameters like a command's words, a single one as a whole; keyword-only ones are filled
        from a form's fields by name, and all of them from the named groups of a pattern. A value that does not fit is
        an error of the bot and raised: the bot made the button.
        """

        def register(function: F) -> F:
            actions = () if _is_undecorated_call(names) else names
            self._register(function, "action", action_matcher(actions), retries, timeout, actions=actions)
            return function

        if _is_undecorated_call(names):
            return register(names[0])
        for name in names:
            _require_type(name, (str, re.Pattern), "action", register)
        return register

    @overload
    def event(self, *classes: type[Event], retries: int = 0, timeout: float | None = None) -> Callable[[F], F]: ...

    @overload
    def event(self, function: F, /) -> F: ...

    def event(self, *classes: Any, retries: int = 0, timeout: float | None = None) -> Any:
        """Register a handler for events of these classes and their subclasses; for all without.

        Messages and pressed buttons come here when no action, command or message handler wants them, before the
        fallback.
        """

        def register(function: F) -> F:
            wanted = () if _is_undecorated_call(classes) else classes
            matcher = event_matcher(wanted)
            self._register(function, "event", matcher, retries, timeout, classes=wanted or (Event,))
            return function

        if _is_undecorated_call(classes):
            return register(classes[0])
        for item in classes:
            if not (isinstance(item, type) and issubclass(item, Event)):
                raise RegistrationError(f"@bot.event takes classes of events such as MembershipEvent, not {item!r}")
        return register

    @overload
    def fallback(self, function: F, /) -> F: ...

    @overload
    def fallback(self, *, retries: int = 0, timeout: float | None = None) -> Callable[[F], F]: ...

    def fallback(self, *function: Any, retries: int = 0, timeout: float | None = None) -> Any:
        """Register the handler for messages and actions that nobody else wants. A bot has one."""

        def register(function: F) -> F:
            self._register(function, "fallback", any_message, retries, timeout)
            return function

        return register(*function) if function else register

    @overload
    def error(self, *classes: type[BaseException]) -> Callable[[F], F]: ...

    @overload
    def error(self, function: F, /) -> F: ...

    def error(self, *classes: Any) -> Any:
        """Register what is called as ``(ctx, error)`` when a handler raised one of ``classes``; any error without.

        What it returns is said to the user in place of the bot's ``error_text``. A router's own come before the bot's;
        among them the nearest class wins, then the first registered.
        """

        def register(function: F) -> F:
            wanted = (Exception,) if _is_undecorated_call(classes) or not classes else classes
            self._add(self._error_handlers, ErrorHandler.from_function(function, wanted))
            return function

        if _is_undecorated_call(classes):
            return register(classes[0])
        for item in classes:
            if not (isinstance(item, type) and issubclass(item, BaseException)):
                raise RegistrationError(f"@bot.error takes classes of exceptions such as ValueError, not {item!r}")
        return register

    @overload
    def middleware(self, function: F, /) -> F: ...

    @overload
    def middleware(self) -> Callable[[F], F]: ...

    def middleware(self, *function: Any) -> Any:
        """Register what is called as ``(ctx, call_next)`` around handlers; the first registered is the outermost.

        ``call_next()`` returns what the inner returned. Returning something else replaces the reply, returning None
        leaves it; not calling ``call_next`` stops the event. Async middleware awaits ``call_next()``. A bot's surrounds
        everything that it handles, a router's the router's own handlers.
        """

        def register(function: F) -> F:
            self._add(self._middleware, Middleware.from_function(function))
            return function

        return register(*function) if function else register

    def include(self, router: Router, prefix: str = "") -> None:
        """Take in all that ``router`` has, at this place; ``prefix`` goes before its command and action names.

        Its middleware and error handlers stay with its own handlers. After that nothing more can be registered on the
        router. Raises :class:`RegistrationError` for a router that is part of this already, and for names that are
        taken.
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
            item.included(prefix, router.middlewares, router.error_handlers) for item in router.handlers
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
        actions: tuple[ActionName, ...] = (),
        classes: tuple[type[Event], ...] = (),
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
            actions=actions,
            classes=classes,
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
        """Raise if nothing more can be registered here."""

    def _with_included(self) -> Iterator[HandlerGroup]:
        yield self
        for router in self._included:
            yield from router._with_included()


class Router(HandlerGroup):
    """A part of a bot: decorate handlers with it in a module of their own, then ``bot.include(router)``."""

    def __init__(self) -> None:
        super().__init__()
        self._is_included = False

    def _check_open(self) -> None:
        if self._is_included:
            raise RegistrationError("this router is included already; register everything on it before include()")


class Bot(HandlerGroup):
    """A bot: its name, its handlers, and what holds for all of them.

    ::

        bot = Bot("helpdesk", description="Answers questions about orders.")

    ``name`` is part of its callback's path and, unless ``cometchat_uid`` says otherwise, its CometChat UID.
    ``avatar`` is the URL of its picture, for platforms that cometbot tells of it.
    ``error_text`` is said when a handler raised and no error handler replied (None: nothing is). ``handle_bots`` lets
    it answer other bots, up to ten in a row. ``handler_timeout`` is the seconds that a handler may take if it does not
    say itself.
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
        self.ids: tuple[str, ...] = tuple(dict.fromkeys((cometchat_uid or name, name)))
        """The names that it is mentioned by; what they send is its own."""
        self._sender: Sender | None = None
        self._routes: tuple[int, HandlerTable] | None = None

    def __repr__(self) -> str:
        return f"<Bot {self.name}>"

    @property
    def routes(self) -> HandlerTable:
        """The handlers ready for look-up, with a ``/help`` if there is none; the same until something is registered."""
        version = self._version
        if self._routes is None or self._routes[0] != version:
            handlers = self.handlers
            has_help = ("command", "help") in self._names_in_use
            if not has_help and (self.description or self.commands):
                handlers = (*handlers, _HELP_HANDLER)
            self._routes = version, HandlerTable(handlers, slash_optional=self.slash_optional)
        return self._routes[1]

    def takes(self, event: type[Event]) -> bool:
        """Return whether something here could handle an event of this class.

        Middleware surrounds whatever comes. Of a bot without any handler nothing can be said: it takes all.
        """
        return not self._handlers or bool(self._middleware) or self.routes.can_handle(event)

    @property
    def commands(self) -> list[Command]:
        """The commands that are not hidden, described for menus, in the order of their registration."""
        found = [handler.command for handler in self.handlers if handler.command is not None]
        return [command for command in found if not command.hidden]

    def help(self, name: str = "") -> str:
        """What ``/help`` says; about one command if ``name`` is one."""
        wanted = [command for command in self.commands if name.removeprefix("/").casefold() in command.names]
        return help_text("" if wanted else self.description, wanted or self.commands)

    def connect(self, sender: Sender) -> None:
        """Let ``sender`` carry what :meth:`send` says from now on. Apps call this when they start."""
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
        """The stored message's id, None where there is none: says something of the bot's own accord, from anywhere.

        ::

            bot.send(user="maria", text="Your order is out.")

        Exactly one of ``user`` (a uid), ``group`` (a guid) and ``conversation``, and one of ``text`` and ``message``.
        The message is stored on return, and sent in its conversation's order. ``channel`` is needed where the bot is on
        several. In a process without a running app one is connected from the settings. Raises :class:`BotError` for any
        other combination.
        """
        if sum(item is not None and item != "" for item in (user, group, conversation)) != 1:
            raise BotError("send() takes exactly one of user=, group= and conversation=")
        if (text is None) == (message is None):
            raise BotError("send() takes exactly one of text= and message=")
        outgoing = Text(text) if text is not None else message
        if not isinstance(outgoing, Message):
            raise BotError(f"message= is a message such as Card, not {type(outgoing).__name__}; use text= for a str")
        return self._get_sender().send(
            self, outgoing, user=user or None, group=group or None, conversation=conversation, channel=channel
        )

    def _get_sender(self) -> Sender:
        if self._sender is None:
            pkgutil.resolve_name(_CONNECT_FUNCTION)(self)
        if self._sender is None:
            raise BotError(f"the bot {self.name} is not connected to anything that could send; start an app first")
        return self._sender


def _help(ctx: Context, *names: str) -> str:
    return ctx.bot.help(names[0] if names else "")


_HELP_HANDLER = Handler(
    function=_help,
    kind="command",
    name="cometbot.help",
    signature=Signature(variadic=Parameter("command", "words")),
    command=Command("help", usage="/help"),
)


def _is_function(item: object) -> bool:
    return callable(item) and not isinstance(item, type | Matcher)


def _is_undecorated_call(items: tuple[Any, ...]) -> bool:
    """Whether a decorator was used without parentheses."""
    return len(items) == 1 and _is_function(items[0])


def _require_type(item: object, wanted: Any, decorator: str, register: Any) -> Any:
    if not isinstance(item, wanted):
        raise RegistrationError(f"@bot.{decorator} takes names, not {item!r}; a class cannot be a handler")
    return register
