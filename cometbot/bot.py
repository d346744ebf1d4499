"""A bot with its options, and what sends for it."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar, overload

from cometbot.broadcasts import DEFAULT_PACE, Broadcast, BroadcastRequest, OptOuts, make_request
from cometbot.commands import Command, help_text
from cometbot.durations import Duration, to_seconds
from cometbot.errors import BotError, RegistrationError
from cometbot.events import Event
from cometbot.handlers import HELP_HANDLER, Middleware, check_options, function_name, to_outgoing_middleware
from cometbot.jobs import JobChange, make_bot_job
from cometbot.matchers import normalize_text
from cometbot.messages import Message, Text
from cometbot.models import Conversation, User
from cometbot.moderation import M, ModerationFunction, check_moderation
from cometbot.presses import check_refusal_texts
from cometbot.rates import Rate
from cometbot.redaction import Redaction, check_redaction
from cometbot.registration import HandlerGroup
from cometbot.routing import HandlerTable
from cometbot.schedules import make_at
from cometbot.token_budget import TokenBudget

G = TypeVar("G", bound=Callable[[Any, Any], Message | None])
R = TypeVar("R", bound=Callable[[str], str])

ERROR_TEXT = "Sorry, something went wrong here. Please try again later."
CANCEL_TEXT = "All right, cancelled."
BROKEN_OFF_TEXT = "… (broken off)"
STOP_TEXT = "All right, I have stopped."
NOTHING_TO_STOP_TEXT = "There is nothing to stop."
MENTION_TEXT = "Mention me in your answer."
TOKEN_BUDGET_TEXT = "You have reached your limit for now. Please try again {renewed}."
USER_LIMIT_TEXT = "You write faster than I can answer. Please try again {renewed}."
OPT_OUT_TEXT = "All right, I will not send you news any more. To get them again, write: {opt_in}"
OPT_IN_TEXT = "All right, I will send you news again."
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
        app: str | None,
    ) -> str | None:
        """Store ``message`` for sending and return its id, or None if there is none.

        The message is durable on return.
        """
        ...

    def schedule(self, bot: Bot, change: JobChange) -> None:
        """Store a change of the jobs of ``bot`` durably."""
        ...

    def broadcast(self, bot: Bot, request: BroadcastRequest, users: object) -> Broadcast:
        """Store a broadcast of ``bot`` to these users durably."""
        ...


handler_sender: ContextVar[Sender | None] = ContextVar("cometbot_handler_sender", default=None)
"""The backend of :meth:`Bot.send` of all bots while a handler runs."""


class Bot(HandlerGroup):
    """A bot: its name, its handlers and their common options.

    ::

        bot = Bot("helpdesk", description="Answers questions about orders.")

    ``name`` is part of the path of the callback URL. It is also the bot's CometChat UID unless ``cometchat_uid`` is
    set. ``avatar`` is the URL of the bot's picture, for the platforms on which cometbot sets it. ``error_text`` is the
    reply if a handler raised and no error handler replied (None: no reply). ``broken_off_text`` follows what came of a
    stream that was not completed (None: nothing). With ``handle_bots``, the bot also handles messages of other bots, up
    to ten in a row. ``handler_timeout`` is the time limit in seconds of handlers without a ``timeout`` of their own.

    For handlers that ask: ``ask_timeout`` is how long a question stays open (``"2h"``, seconds, a ``timedelta``).
    ``/cancel`` and the ``cancel_words`` end a dialog with ``cancel_text``. A dialog that does not fit the handler's
    code any more ends with ``restart_text``. A question in a group ends with ``mention_text`` where the bot gets only
    messages that mention it. If a user begins another dialog, it replaces the open one, or is ended
    itself with ``dialogs="refuse"``.

    ``/stop`` ends what a handler is doing (see :attr:`Context.cancelled`) and is answered with ``stop_text``, or with
    ``nothing_to_stop_text``. None answers nothing.

    ``refusal_texts`` replace what users are told whose press does not count, by its reason: ``forbidden`` (it is not
    for them), ``used``, ``expired``, or ``withdrawn`` (the message is gone). None tells them nothing.

    ``token_budget`` is how many tokens of models each user may use (``"200k/day"``, ``"1.5M/month"``, ``"5000/hour"``),
    in periods of UTC; see :meth:`Context.usage`. A handler that would call a model without any left ends with
    ``token_budget_text``, in which ``{renewed}`` becomes a time such as "in 5 hours", and ``{renewed_at}`` the date and
    time in UTC.

    ``user_limit`` (``"20/minute"``, ``"100/hour"``, ``"500/day"``) is how many messages and presses of each user are
    handled in a period of UTC. Further ones get no handler; the first of them is answered with ``user_limit_text``, in
    which ``{renewed}`` becomes a time. ``group_answers`` is how many messages and presses of each group the bot
    answers; further ones get neither a handler nor an answer. While ``maintenance`` is a text, it is the answer to
    everything, and no handler begins.

    A user who writes one of ``opt_out_words``, alone or as a command, gets no :meth:`broadcast` from then on, and is
    answered with ``opt_out_text``, in which ``{opt_in}`` becomes the first of ``opt_in_words``. One of those ends that,
    and is answered with ``opt_in_text``. A command of the bot with such a name is handled instead.

    ``burst_pause`` is how long a user must pause before a handler with ``concurrency="burst"`` gets what they have
    written (``"2s"``, seconds, a ``timedelta``). A burst that never pauses is handed over after five times as long.
    """

    redactions: tuple[Redaction, ...] = ()
    """The functions of :meth:`redact`, in order of registration."""

    moderation: ModerationFunction | None = None
    """The function of :meth:`moderate`, or None."""

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
        broken_off_text: str | None = BROKEN_OFF_TEXT,
        slash_optional: bool = False,
        handle_bots: bool = False,
        handler_timeout: float | None = None,
        ask_timeout: Duration = "1d",
        cancel_words: Sequence[str] = (),
        cancel_text: str | None = CANCEL_TEXT,
        restart_text: str | None = RESTART_TEXT,
        mention_text: str | None = MENTION_TEXT,
        stop_text: str | None = STOP_TEXT,
        nothing_to_stop_text: str | None = NOTHING_TO_STOP_TEXT,
        dialogs: Literal["replace", "refuse"] = "replace",
        refusal_texts: Mapping[str, str | None] | None = None,
        token_budget: str | None = None,
        token_budget_text: str | None = TOKEN_BUDGET_TEXT,
        user_limit: str | None = None,
        user_limit_text: str | None = USER_LIMIT_TEXT,
        group_answers: str | None = None,
        maintenance: str | None = None,
        burst_pause: Duration = "2s",
        opt_out_words: Sequence[str] = (),
        opt_out_text: str | None = OPT_OUT_TEXT,
        opt_in_words: Sequence[str] = ("subscribe",),
        opt_in_text: str | None = OPT_IN_TEXT,
    ) -> None:
        super().__init__()
        _check_profile(name, cometchat_uid, avatar)
        check_options(f"the bot {name}", 0, handler_timeout)
        to_seconds(ask_timeout, "ask_timeout")
        _check_options(cancel_words, dialogs, maintenance)
        self.name = name
        self.description = description
        self.avatar = avatar
        self.cometchat_uid = cometchat_uid
        self.callback_username = callback_username
        self.callback_password = callback_password
        self.error_text = error_text
        self.broken_off_text = broken_off_text
        self.slash_optional = slash_optional
        self.handle_bots = handle_bots
        self.handler_timeout = handler_timeout
        self.ask_timeout = ask_timeout
        self.cancel_words = frozenset(map(normalize_text, cancel_words))
        self.cancel_text = cancel_text
        self.restart_text = restart_text
        self.mention_text = mention_text
        self.stop_text = stop_text
        self.nothing_to_stop_text = nothing_to_stop_text
        self.dialogs = dialogs
        self.refusal_texts = check_refusal_texts({} if refusal_texts is None else refusal_texts)
        self.token_budget = None if token_budget is None else TokenBudget.parse(token_budget)
        self.token_budget_text = token_budget_text
        self.user_limit = None if user_limit is None else Rate.parse(user_limit, "user_limit")
        self.user_limit_text = user_limit_text
        self.group_answers = None if group_answers is None else Rate.parse(group_answers, "group_answers")
        self.maintenance = maintenance
        self.burst_pause = to_seconds(burst_pause, "burst_pause")
        self.opt_outs = OptOuts.check(opt_out_words, opt_out_text, opt_in_words, opt_in_text)
        self.ids: tuple[str, ...] = tuple(dict.fromkeys((cometchat_uid or name, name)))
        """The ids that mention the bot. It does not handle messages that one of them sent."""
        self.outgoing_middlewares: tuple[Middleware, ...] = ()
        """The outgoing middleware, in order of registration."""
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

        True for every class if the bot has middleware, which surrounds all events, or has registered nothing yet.
        """
        is_new = not self._handlers and self.moderation is None
        return is_new or bool(self._middleware) or self.routes.can_handle(event)

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
        """Raise :class:`RegistrationError` for a parameter of a handler or tool that nothing provides.

        Apps call this.
        """
        for handler in self.handlers:
            handler.find_providers(self.providers)
        for tool in self.tools:
            tool.find_providers()

    @overload
    def outgoing(self, function: G, /) -> G: ...

    @overload
    def outgoing(self) -> Callable[[G], G]: ...

    def outgoing(self, *function: Any) -> Any:
        """Register outgoing middleware, called as ``(message, outgoing)`` with each message before it is stored.

        ::

            @bot.outgoing
            def redact(message, outgoing):
                return Text(hide_numbers(message.text)) if isinstance(message, Text) else message

        It gets everything that the bot says: replies, questions, edits, error texts, :meth:`send`. ``outgoing`` is an
        :class:`~cometbot.outgoing.Outgoing`, which says where the message goes. It returns the message, a changed one,
        or None to drop it. The first registered is called first, and the next gets what it returned. If it raises, the
        handler that says the message fails. It is a plain function, and sends nothing as this bot.
        """

        def register(function: G) -> G:
            self.outgoing_middlewares = (*self.outgoing_middlewares, to_outgoing_middleware(function))
            return function

        return register(*function) if function else register

    @overload
    def redact(self, function: R, /) -> R: ...

    @overload
    def redact(self) -> Callable[[R], R]: ...

    def redact(self, *function: Any) -> Any:
        """Register a function that gets each text before a language model does, and returns what the model may read.

        ::

            @bot.redact
            def hide_numbers(text):
                return re.sub(r"[0-9]{6,}", "[number]", text)

        It gets the texts and names of :meth:`Context.turns`, the bot's own too, and the results of the tools of
        :meth:`Context.run_agent`. The first registered is called first, and the next gets what it returned. If it
        raises, the model gets nothing and the handler fails. It is a plain function.
        """

        def register(function: R) -> R:
            self.redactions = (*self.redactions, check_redaction(function))
            return function

        return register(*function) if function else register

    @overload
    def moderate(self, function: M, /) -> M: ...

    @overload
    def moderate(self) -> Callable[[M], M]: ...

    def moderate(self, *function: Any) -> Any:
        """Register the function that judges messages for CometChat's moderation, before other users see them.

        ::

            @bot.moderate
            def check(item: ModerationItem) -> bool:
                return "casino" in item.text.lower()

        It returns True if the rule of the dashboard applies to the message, the probability of that (0 to 1), or a
        :class:`Verdict` with a reason. It is a plain or an async function and has 1.8 s. If it is late, raises or
        returns anything else, CometChat gets no decision, and the app's setting "On Custom API Error" decides. It runs
        beside the handlers, in threads of its own; nothing is stored. Raises :class:`RegistrationError` for a second
        function.
        """

        def register(function: M) -> M:
            if self.moderation is not None:
                raise RegistrationError(
                    f"{function_name(function)} would be a second function for moderation of the bot {self.name}; "
                    f"{function_name(self.moderation)} is it already. Call one from the other."
                )
            self.moderation = check_moderation(function)
            return function

        return register(*function) if function else register

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
        app: str | None = None,
    ) -> str | None:
        """Send a message that answers no event, from any process. Return its id, or None if there is none.

        ::

            bot.send(user="maria", text="Your order is out.")

        Pass exactly one of ``user`` (a uid), ``group`` (a guid) and ``conversation``, and exactly one of ``text`` and
        ``message``. The message is stored on return, and is sent in the order of its conversation. ``channel`` is
        required if the bot is on several channels, and ``app``, a name in ``COMETCHAT_APPS``, if it is in several
        CometChat apps; without, the first is meant. In a process without a running app, the first call connects one
        from the settings. In a handler of the same bot this is :meth:`Context.send`, on the event's channel and in its
        app unless ``channel`` or ``app`` say otherwise: a handler that runs again does not send it twice. It then
        returns None. Raises :class:`BotError` for any other combination of arguments.
        """
        if sum(item is not None and item != "" for item in (user, group, conversation)) != 1:
            raise BotError("send() takes exactly one of user=, group= and conversation=")
        if (text is None) == (message is None):
            raise BotError("send() takes exactly one of text= and message=")
        if app and conversation is not None:
            raise BotError("send() takes no app= with conversation=, which belongs to an app; leave app= out")
        outgoing = Text(text) if text is not None else message
        if not isinstance(outgoing, Message):
            raise BotError(f"message= is a message such as Card, not {type(outgoing).__name__}; use text= for a str")
        sender = handler_sender.get() or self.sender
        return sender.send(
            self,
            outgoing,
            user=user or None,
            group=group or None,
            conversation=conversation,
            channel=channel,
            app=app or None,
        )

    def at(self, when: datetime, job: Callable[..., Any], /, *, name: str = "", **arguments: Any) -> None:
        """Run a job once, at ``when``, a time with a zone, with these arguments.

        ::

            bot.at(datetime(2027, 1, 1, 0, 0, tzinfo=ZoneInfo("Europe/Berlin")), wish, year=2027)

        Before an app runs, as when the bot's module is imported, this registers the job like :meth:`every`: if the time
        is over when the app first starts with it, the job does not run. Later, from a view or a thread, the job is
        stored when this call returns, and a time that is over means now; a handler that runs again does not schedule
        it twice. ``name`` (default: made from function, time and arguments) is unique: a job of the same name is
        replaced. Raises :class:`BotError` for a time without a zone, and for arguments that do not fit the job.
        """
        made = self._make_scheduled(job, make_at(when), name, "once", arguments)
        running = handler_sender.get() or self._sender
        if running is None:
            self._add_scheduled([made])
        else:
            running.schedule(self, make_bot_job(self.name, made))

    def broadcast(
        self,
        *,
        users: Iterable[str | User],
        text: str | None = None,
        message: Message | None = None,
        name: str = "",
        channel: str = "",
        app: str = "",
        pace: str = DEFAULT_PACE,
    ) -> Broadcast:
        """Send a message to many users, each in their own conversation with the bot, at a pace. Return the broadcast.

        ::

            bot.broadcast(users=customers(), text="We open on Monday.", name="opening")

        ``users`` are uids, or users, of any number; each user gets it once. It works from any process and in
        handlers, and everything is stored when it returns. Pass exactly one of ``text`` and ``message``. With ``name``,
        the call may be repeated: it adds the users whom the broadcast of that name does not have yet, and nobody gets
        it twice. Without one, a handler that runs again repeats nothing, and any other call is a new broadcast.
        ``channel`` is by default the first one that is configured, and in a handler that of its event, with its app;
        ``app`` names one of several CometChat apps. ``pace`` is such as ``"20/second"`` or ``"500/hour"``. Users who
        have opted out get nothing. Raises :class:`BotError` for wrong arguments, and for a name whose broadcast has
        another message, channel or app.
        """
        if (text is None) == (message is None):
            raise BotError("broadcast() takes exactly one of text= and message=")
        request = make_request(Text(text) if text is not None else message, name, channel, pace, app)
        return (handler_sender.get() or self.sender).broadcast(self, request, users)

    @property
    def sender(self) -> Sender:
        """The backend of :meth:`send` outside of handlers, connected now if it was not yet."""
        if self._sender is None:
            pkgutil.resolve_name(_CONNECT_FUNCTION)(self)
        if self._sender is None:
            raise BotError(f"the bot {self.name} is not connected to anything that could send; start an app first")
        return self._sender


def _check_profile(name: str, cometchat_uid: str, avatar: str) -> None:
    if not isinstance(name, str) or not _NAME_PATTERN.fullmatch(name):
        raise RegistrationError(
            f"a bot's name is 1 to 50 of a-z 0-9 - _, for its callback URL and as its UID; not {name!r}"
        )
    if cometchat_uid and not _UID_PATTERN.fullmatch(cometchat_uid):
        raise RegistrationError(f"a CometChat UID is 1 to 100 letters, digits, - and _; not {cometchat_uid!r}")
    if avatar and not avatar.startswith(("https://", "http://")):
        raise RegistrationError(f"a bot's avatar is the http(s) URL of a picture, not {avatar!r}")


def _check_options(cancel_words: object, dialogs: object, maintenance: object) -> None:
    if isinstance(cancel_words, str):
        raise RegistrationError(f'cancel_words: expected a list such as ["stop"], got {cancel_words!r}')
    if dialogs not in ("replace", "refuse"):
        raise RegistrationError(f'dialogs: expected "replace" or "refuse", got {dialogs!r}')
    if maintenance is not None and not (isinstance(maintenance, str) and maintenance.strip()):
        raise RegistrationError(f"maintenance: expected the text that users get, or None; got {maintenance!r}")
