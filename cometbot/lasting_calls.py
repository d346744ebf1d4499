"""The calls of a context whose results last, each one step of its handler or several (see :mod:`cometbot.asking`)."""

from __future__ import annotations

import random
import sys
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from types import CodeType
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar, overload

from cometbot.agents import Agent, AgentOptions, Model
from cometbot.approvals import Approval, ApprovalRequest
from cometbot.client_tools import check_call, find_client_tool, read_options, read_result
from cometbot.durations import Duration
from cometbot.hand_offs import HandOff, HandOffRequest
from cometbot.job_calls import JobCalls
from cometbot.messages import Choice, Form, Message
from cometbot.models import ClientTool, Conversation, Group, User
from cometbot.sent import Sent
from cometbot.sinks import StepCalls
from cometbot.steps import AskKeywords, AskOptions, CallOptions
from cometbot.stream_sending import StreamSender
from cometbot.tools import Tool, ToolSource
from cometbot.turns import Turn

P = ParamSpec("P")
T = TypeVar("T")
if TYPE_CHECKING:  # what type checkers know of newer Pythons
    from typing_extensions import TypeVar as TypeVarWithDefault
    from typing_extensions import Unpack

    D = TypeVarWithDefault("D", default=NoReturn)
else:
    D = TypeVar("D")


class LastingCalls(JobCalls):
    """The calls of a context that are steps: ``ask``, ``approve``, ``call``, ``once``, ``run_agent`` and ``sleep``."""

    @property
    @abstractmethod
    def _steps(self) -> StepCalls:
        """The steps of this run. Raises :class:`BotError` outside of handlers."""

    @abstractmethod
    def _make_stream_sender(self) -> StreamSender:
        """Return what sends the next stream."""

    @overload
    def ask(
        self,
        asked: Form,
        *,
        validate: Callable[[dict[str, Any]], object] | None = None,
        default: D = ...,
        **options: Unpack[AskKeywords],
    ) -> dict[str, Any] | D: ...

    @overload
    def ask(
        self,
        asked: type[T],
        *,
        validate: Callable[[T], object] | None = None,
        default: D = ...,
        **options: Unpack[AskKeywords],
    ) -> T | D: ...

    @overload
    def ask(
        self,
        asked: str | Message,
        *,
        choices: Sequence[Choice | str] | None = None,
        validate: Callable[[str], object] | None = None,
        default: D = ...,
        **options: Unpack[AskKeywords],
    ) -> str | D: ...

    @overload
    def ask(
        self,
        asked: str,
        *,
        choices: Sequence[Choice[T]],
        validate: Callable[[T], object] | None = None,
        default: D = ...,
        **options: Unpack[AskKeywords],
    ) -> T | D: ...

    @overload
    def ask(
        self,
        asked: str | Message,
        *,
        type: Callable[[str], T],
        choices: Sequence[Choice | str] | None = None,
        validate: Callable[[T], object] | None = None,
        default: D = ...,
        **options: Unpack[AskKeywords],
    ) -> T | D: ...

    def ask(self, asked: Any, **options: Any) -> Any:
        """Ask the user, and return the answer when it has come.

        ::

            size = ctx.ask("Which size?", choices=["S", "M", "L"])
            count = ctx.ask("How many?", type=int, validate=lambda number: 1 <= number <= 9)

        The run of the handler ends here. When the user answers, after seconds or days, in this process or another, the
        handler runs again from its top, and this call returns. Nothing that it said before is said twice; what it does
        elsewhere belongs in :meth:`once`.

        ``asked`` is a text, a message, a :class:`Form` (the answer is a dict), or a dataclass (its fields make the
        form, and the answer is an object of it). The answer of a :class:`Choice` is its value: a text, other JSON, or
        an Enum member. ``type`` converts the text; ``type=Attachment`` expects a file. ``validate`` gets the value; it
        returns False or raises :class:`ValueError` if the value does not fit, or :class:`FieldError` for one field of a
        form. Then the user gets ``invalid_text`` (default: the text of the error) and may answer again, ``attempts``
        times at most.

        ``timeout`` (``"2h"``, seconds, a ``timedelta``; default: the bot's ``ask_timeout``) counts from the first
        asking. After it, the call returns ``default`` or raises :class:`AskTimeout`. It raises :class:`AskCancelled`,
        :class:`AskGivenUp` or :class:`AskReplaced` if the user cancels, gives too many wrong answers, or begins
        something else. An :class:`AskEnded` that the handler does not catch ends it without an error. Raises
        :class:`NotDelivered` if the platform refuses the question.

        In groups, an answer is a choice, or a text that mentions the bot, quotes it or stands in its thread; with
        ``listen``, any text of the user. ``of`` is the uid of the user to ask if nobody caused the event. ``key``
        identifies the question where the handler's code changes.
        """
        return self._steps.ask(asked, AskOptions(**options), calling_code())

    @overload
    def once(self, function: Callable[[], T], *, again: bool = True, key: str = "") -> T: ...

    @overload
    def once(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...

    def once(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the result of ``function(*args, **kwargs)``, which is called in one run of the handler only.

        ::

            order_id = ctx.once(shop.create_order, size, count)
            price = await ctx.once(shop.get_price, order_id)  # a coroutine function

        The result must be JSON. It is stored durably before this call returns it, and later runs get it from there.
        A process that dies between the call and the commit calls again. With ``again=False``, it raises
        :class:`OnceUncertain` instead; :meth:`idempotency_key` is the better way where the other side supports one.
        Inside, only the state can be changed, which is stored with the result. An exception is a result, too.
        """
        again, key = kwargs.pop("again", True), kwargs.pop("key", "")
        return self._steps.once(function, args, kwargs, key, calling_code(), again=again)

    def approve(
        self,
        text: str,
        fields: Mapping[str, object] | None = None,
        *,
        to: Group | User | Conversation | None = None,
        by: Collection[str | User] | None = None,
        timeout: Duration | None = None,
        own: bool = False,
        key: str = "",
    ) -> Approval:
        """Ask others to approve something, and return their decision when it has come.

        ::

            if ctx.approve("Refund 30 €?", {"Order": 4711}, to=Group("managers", channel="cometchat")):
                ctx.once(shop.refund, 4711)

        A card with ``text``, ``fields`` and two buttons goes to ``to``, which may be on another channel; None: this
        conversation. The run ends here, as in :meth:`ask`. ``by`` are the users who may decide, each a uid or a
        :class:`User`; None: the members of ``to``. The user who asks may not, except with ``own``. Where buttons are
        text, users write ``approve 17``. After ``timeout`` (default: the bot's ``ask_timeout``) the approval is
        expired, and false.

        Raises :class:`AskCancelled` if the user or an operator cancels, :class:`NotDelivered` if the platform refuses
        the card, and :class:`BotError` if nobody could decide. ``key`` is that of :meth:`ask`.
        """
        request = ApprovalRequest(text, fields or {}, to, by, timeout, own, key)
        return self._steps.approve(request, calling_code())

    def hand_off(
        self,
        to: Group | Conversation,
        text: str = "",
        *,
        transcript: int = 20,
        timeout: Duration = "8h",
        key: str = "",
    ) -> HandOff:
        """Hand the user over to the people of a group, and return how that ended when they have handed back.

        ::

            ctx.reply("A person will answer you here.")
            ctx.hand_off(Group("support"))
            return "I am the bot again. Can I help you with something else?"

        The group, which may be on another channel, gets a message that begins a thread: ``text`` (default: who would
        like to talk to a person) and up to ``transcript`` messages of the conversation. The run ends here, as in
        :meth:`ask`. From then on no handler gets what the user writes in this conversation: texts and files are relayed
        to the thread, and what is written there is relayed to the user. It ends when somebody writes ``/done`` in the
        thread, when the user writes ``/cancel``, with :meth:`resume`, or after ``timeout``.

        Raises :class:`NotDelivered` if the platform refuses the group's message, and :class:`BotError` in groups, for a
        channel without threads, and for a user who is handed over already. ``key`` is that of :meth:`ask`.
        """
        return self._steps.hand_off(HandOffRequest(to, text, transcript, timeout, key), calling_code())

    def resume(self, conversation: Conversation | None = None) -> None:
        """End the hand-off of a user's conversation, by default of this one; do nothing if it is not handed over."""
        self._steps.resume(conversation or self.conversation)

    @overload
    def call(self, tool: ClientTool | str, /, **arguments: Any) -> Any: ...

    @overload
    def call(
        self,
        tool: ClientTool | str,
        arguments: Mapping[str, Any],
        /,
        *,
        timeout: Duration | None = None,
        default: object = ...,
        key: str = "",
    ) -> Any: ...

    def call(self, tool: ClientTool | str, given: Mapping[str, Any] | None = None, /, **named: Any) -> Any:
        """Call a tool of the client, and return its result when it has come.

        ::

            place = ctx.call("pick_place", near="Rome")
            place = ctx.call("pick_place", {"near": "Rome"}, timeout="10m", default=None)

        ``tool`` is one of :attr:`client_tools`, or its name. Keywords are the arguments of the tool. If you pass a
        mapping of them instead, the keywords are options of this call.

        The run ends here, as in :meth:`ask`: the client gets the call, and the handler runs again with the result. That
        is the value of its JSON, or else its text. Other messages of the user are no result, and are handled as ever.
        After ``timeout`` (default: the bot's ``ask_timeout``), the call returns ``default`` or raises
        :class:`AskTimeout`. ``key`` is that of :meth:`ask`.

        Raises :class:`BotError` on channels whose clients have no tools, for a tool that the client does not offer, for
        arguments that the tool does not take, and for a result of more than 64 KiB; :class:`AskCancelled` if the user
        or an operator cancels; and :class:`NotDelivered` if the call could not be sent.
        """
        options = CallOptions() if given is None else read_options(named)
        found = find_client_tool(self, tool)
        arguments = check_call(found, named if given is None else given)
        return read_result(found.name, self._steps.call_client(found.name, arguments, options, calling_code()), options)

    def sleep(self, duration: Duration, *, key: str = "") -> None:
        """Go on after ``duration`` (``"3d"``, seconds, a ``timedelta``), in a later run of the handler."""
        self._steps.sleep(duration, key, calling_code())

    def now(self) -> datetime:
        """Return the time of this run, in UTC: when its message arrived. Later runs return the same."""
        return self._steps.now()

    @property
    def random(self) -> random.Random:
        """Random numbers that are the same when the handler runs again."""
        return self._steps.random()

    def idempotency_key(self) -> str:
        """Return a key for the call that :meth:`once` or a model is making, the same in every run, as for a payment."""
        return self._steps.idempotency_key()

    def run_agent(
        self,
        model: Model,
        tools: Iterable[Tool | ToolSource | ClientTool | Callable[..., Any]] | None = None,
        *,
        turns: Sequence[Turn] | None = None,
        instructions: str = "",
        limit: int = 10,
        timeout: Duration | None = None,
        key: str = "",
    ) -> Sent | None:
        """Ask a language model, and call its tools, until it is done. Return the message of its last answer.

        ::

            def model(turns, tools): ...  # asks a provider, and yields texts and ToolCall objects

            @bot.message()
            def answer(ctx):
                ctx.run_agent(model, [find_order, refund], instructions="You help customers of a shop.")

        ``model(turns, tools)`` gets the conversation so far and the tools, and returns an iterable, async or not. Its
        texts are sent as in :meth:`stream`, one message for each answer. Its calls are made in their order, and then
        the model is asked again, with the results. ``tools`` are functions, :class:`Tool` objects or those of
        :attr:`client_tools`; None: all tools of the bot. ``turns`` is the conversation (default: :meth:`turns`);
        ``instructions`` come before it.

        Each answer and each result is a step, stored durably before the handler goes on: a later run asks no model and
        calls no tool again. Inside a tool, the rules of :meth:`once` hold. A call of a tool that needs an approval
        waits for it as in :meth:`approve`. The model gets an error as result if there is no such tool, the arguments do
        not fit, the tool raises, or the call is declined.

        Raises :class:`AgentLimit` after ``limit`` answers with calls, or if the answers and calls of this run take
        longer than ``timeout``. An error of the model is raised.
        """
        options = AgentOptions(model, tools, turns, instructions, limit, timeout, key)
        return Agent(self, self._steps, self._make_stream_sender, options, calling_code()).run()


def calling_code() -> CodeType:
    """Return the code of the author's function that called the context."""
    return sys._getframe(2).f_code
