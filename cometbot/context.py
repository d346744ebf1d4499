"""The context of a handler: its event, and the ways to reply to it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any, TypeVar, overload

from cometbot.action_values import decode_value
from cometbot.bot import Bot
from cometbot.durations import Duration
from cometbot.errors import BotError
from cometbot.event_loop import run_in_thread
from cometbot.events import ActionEvent, Event
from cometbot.group_calls import GroupCalls
from cometbot.job_calls import can_be_answered, refuse_reply
from cometbot.jobs import Job
from cometbot.lasting_calls import calling_code
from cometbot.messages import (
    Capabilities,
    Message,
    Operation,
    Text,
    to_messages,
)
from cometbot.models import Attachment, Conversation, Mention, User, check_recipient
from cometbot.outgoing import filter_operation
from cometbot.press_limits import apply_limits, find_presses, has_limits
from cometbot.presses import Press
from cometbot.sent import Sent
from cometbot.sinks import ReplySink, StepCalls
from cometbot.state import State, owner_of
from cometbot.steps import Suspended
from cometbot.stream_sending import StreamSender
from cometbot.stream_sources import StreamSource
from cometbot.text import replace_surrogates
from cometbot.token_meter import TokenMeter
from cometbot.token_usage import make_usage

T = TypeVar("T")

MAX_STATUS_LENGTH = 200
"""The characters of a status that are shown."""


class Context(GroupCalls):
    """The context of one event, passed to middleware and as first argument to the handler.

    A handler does everything through it: it reads the event, replies and changes state.
    """

    def __init__(self, bot: Bot, event: Event, sink: ReplySink) -> None:
        self.bot = bot
        self.event = event
        self.match: re.Match[str] | None = None
        self.log: logging.LoggerAdapter[logging.Logger] = logging.LoggerAdapter(
            logging.getLogger(f"cometbot.bot.{bot.name}"),
            {"event": event.key, "conversation": event.conversation.key_text},
        )
        self.said: list[Operation] = []
        """The messages sent and edited so far for this event, in order.

        Reactions, deletions, what outgoing middleware dropped and what the handler returns are not in it.
        """
        self._posted: list[Operation] = []
        self._presses: dict[int, list[tuple[Conversation, Press]]] = {}
        self._withdrawn: list[tuple[Conversation, Press]] = []
        self._origin = ""
        self._limited_count = 0
        self.incoming: Event = event
        """The event that made this run: ``event`` itself, or the answer that a handler which asked continues with."""
        self._sink = sink
        self._make_steps: Callable[[], StepCalls] | None = None
        self._made_steps: StepCalls | None = None
        self._bot_ids = bot.ids
        self.state = State("conversation", event.conversation.key_text, sink.load_state)
        """This bot's state of this conversation."""

    @cached_property
    def user_state(self) -> State:
        """The state of the sender, across all conversations of this bot."""
        key = (self._home_conversation or self.event.conversation).key
        owner = f"{key.channel}/{key.account}/{key.bot}/{self.sender_id}"
        return State("user", owner, self._sink.load_state)

    @cached_property
    def text(self) -> str:
        """The text of the message without a leading mention of this bot, or empty if there is none."""
        message = self.message
        if message is None:
            return ""
        text = message.text.strip()
        for uid in self._bot_ids:
            prefix = f"<@uid:{uid}>"
            if text.lower().startswith(prefix.lower()):
                return text[len(prefix) :].lstrip(" ,:\n\t")
        return text

    @property
    def begins_with_mention(self) -> bool:
        """True if the text begins with a mention of this bot."""
        return self.message is not None and len(self.text) < len(self.message.text.strip())

    @property
    def sender(self) -> User:
        """The user who caused the event."""
        return self.event.sender

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """The files of the message; empty for other events."""
        return self.message.attachments if self.message else ()

    @property
    def mentions(self) -> tuple[Mention, ...]:
        """The users mentioned in the message; empty for other events."""
        return self.message.mentions if self.message else ()

    @property
    def value(self) -> Any:
        """The value of the button or choice as the bot gave it: a text or other JSON. Empty for other events."""
        return decode_value(self.event.value) if isinstance(self.event, ActionEvent) else ""

    @property
    def values(self) -> dict[str, str]:
        """The values of a form by field name; empty for other events."""
        return dict(self.event.values) if isinstance(self.event, ActionEvent) else {}

    @property
    def thread_id(self) -> str:
        """The id of the thread's first message; empty outside threads."""
        return str(getattr(self.event, "thread_id", ""))

    @property
    def is_mentioned(self) -> bool:
        """True if the message mentions this bot anywhere."""
        if self.message is None:
            return False
        named = {mention.uid.lower() for mention in self.message.mentions}
        text = self.message.text.lower()
        return any(uid.lower() in named or f"<@uid:{uid.lower()}>" in text for uid in self._bot_ids)

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of the event's channel."""
        return self._sink.capabilities

    @property
    def client(self) -> Any:
        """The platform's API client, for requests that cometbot does not cover."""
        return self._sink.client

    @property
    def cancelled(self) -> bool:
        """True once the user has stopped this run: with ``/stop``, or by a newer message with ``stop_on_new``.

        A running :meth:`stream` ends by itself. What else the handler does goes on, so look between two pieces of work,
        in any thread. Looking does no I/O. A run that repeats this one after a crash sees the same at the same point.
        """
        if self._made_steps is None and not self._sink.is_cancelled and not self._sink.is_past:
            return False
        return self._sink.is_cancelled if self._make_steps is None else self._steps.cancelled()

    def status(self, text: str) -> None:
        """Show for a moment what the handler is doing, such as ``"searching…"``, where ``capabilities.status`` is true.

        It replaces the last one, and ends with the next message or with the handler. It is neither stored nor repeated.
        """
        if not self._sink.is_past:
            self._sink.status(" ".join(replace_surrogates(text).split())[:MAX_STATUS_LENGTH])

    def reply(self, message: Message | str, *, quote: bool = False) -> Sent:
        """Reply in the event's conversation, and in its thread if it has one. Return the sent message.

        The reply is stored before it is sent. A handler that runs again for the same event does not send it twice.
        Several replies arrive in the order of the calls. With ``quote``, it quotes the event's message if the platform
        can. Raises :class:`MessageError` for a message that no platform accepts.
        """
        return self.send(message, to=self.conversation, quote_id=self._answered_id if quote else "")

    @overload
    def send(
        self, message: Message | str, *, to: Conversation | None = None, quote_id: str = "", at: None = None
    ) -> Sent: ...

    @overload
    def send(
        self,
        message: Message | str,
        *,
        to: Conversation | None = None,
        quote_id: str = "",
        at: Duration | datetime,
        name: str = "",
    ) -> Job: ...

    def send(
        self,
        message: Message | str,
        *,
        to: Conversation | None = None,
        quote_id: str = "",
        at: Duration | datetime | None = None,
        name: str = "",
    ) -> Sent | Job:
        """Send a message to the conversation ``to``, which may be another one of the same bot (None: this one).

        With ``at``, it is sent at that time, a ``datetime`` with a zone, or after that duration (``"2h"``). It is
        stored as it is now, and what is returned can cancel it. ``name`` is that of :meth:`later`.
        """
        messages = to_messages(message)
        if len(messages) != 1:
            raise BotError("reply() and send() take one message, and a text must not be empty")
        operation = self.operation(messages[0], to=to or self._home_conversation, quote_id=quote_id)
        return self._post(operation) if at is None else self._send_later(operation, at, name)

    @property
    def app(self) -> str:
        """The name of the event's CometChat app, one of ``COMETCHAT_APPS``; empty without these and elsewhere.

        In a job that a handler has scheduled, it is that handler's app.
        """
        home = self._home_conversation
        return self._sink.get_app(home) if home else ""

    def conversation_with(self, *, user: str = "", group: str = "", channel: str = "", app: str = "") -> Conversation:
        """Return another conversation of this bot: with a user (a uid) or of a group (a guid).

        ::

            ctx.send("Somebody asks for help.", to=ctx.conversation_with(group="team"))

        Without ``channel`` and ``app`` (a name in ``COMETCHAT_APPS``), it is on the channel and in the app of the
        event; in a job that the bot's code schedules, on the first one that is configured. Messages sent there are
        stored under the event like replies, so a handler that runs again does not send them twice. Raises
        :class:`BotError` unless exactly one of ``user`` and ``group`` is given, and if the platform has no such
        conversation.
        """
        check_recipient(user, group)
        home = self._home_conversation
        if home is not None and not app and channel in ("", home.channel):
            channel, app = home.channel, self.app
        return self._sink.conversation(self.bot, user, group, channel, app)

    def _post(self, operation: Operation) -> Sent:
        self._check_call("reply")
        return self._sent(self._carry_out(operation, self._sink), operation)

    def _carry_out(self, operation: Operation, sink: ReplySink) -> int:
        """Post an operation after the outgoing middleware, unless an earlier run of the handler has said it."""
        if self.bot.outgoing_middlewares and not sink.is_past:
            operation = run_in_thread(filter_operation, operation, self.bot, self.event)
        return self._post_filtered(operation, sink)

    def _post_filtered(self, operation: Operation, sink: ReplySink) -> int:
        operation = with_limits(self, operation)
        ordinal = sink.post(operation)
        if presses := find_presses(operation.message):
            self._presses[ordinal] = [(operation.conversation, press) for press in presses]
        if ordinal >= 0:  # else an earlier run of the handler has said it
            self._posted.append(operation)
            if operation.message is not None:
                self.said.append(operation)
        return ordinal

    def _withdraw_buttons(self, ordinal: int) -> None:
        """Withdraw the buttons with limits of a message that is edited or deleted."""
        self._withdrawn += self._presses.get(ordinal, ())

    def operation(self, message: Message, *, to: Conversation | None = None, quote_id: str = "") -> Operation:
        """Return the operation that sends ``message`` in reply to this event."""
        own = self.event.conversation
        here = to is None or to == own
        if here and not can_be_answered(self.event):
            raise refuse_reply(self.event)
        return Operation(
            conversation=to or own,
            message=message,
            thread_id=self.thread_id if here else "",
            quote_id=quote_id,
            reply_to=self._answered_id if here else "",
        )

    def react(self, reaction: str) -> None:
        """Add a reaction (an emoji) to the event's message. Raises :class:`BotError` where that is not possible."""
        self._check_call("react")
        if not self.capabilities.react or not self._message_id:
            raise BotError(
                "there is no message here that this platform could react to; ask ctx.capabilities.react first"
            )
        operation = Operation(
            conversation=self.conversation, kind="react", message_id=self._message_id, reaction=reaction
        )
        self._carry_out(operation, self._sink)

    def usage(
        self, *, model: str, input: int | None = None, output: int | None = None, cached: int | None = None
    ) -> None:
        """Report the tokens of one call of a model, for metrics and the bot's ``token_budget``.

        ::

            ctx.usage(model="gpt-5", input=usage.prompt_tokens, output=usage.completion_tokens)

        ``input`` are all tokens of the request, ``cached`` those of them that the provider had in its cache. None
        counts as 0. What an earlier run of the handler has reported is not counted again. It may be called inside
        :meth:`once` and by the source of a :meth:`stream`: there, it counts in the run that calls the model. It also
        counts if the handler fails. Raises :class:`BotError` for anything but whole numbers from 0.
        """
        if self.state.is_frozen:
            raise Suspended
        usage = make_usage(model, input=input, output=output, cached=cached)
        self._meter.add(usage)

    @property
    def tokens_left(self) -> int | None:
        """The tokens that the sender may still use in this period, or None if the bot has no ``token_budget``."""
        return self._meter.left

    @property
    def _meter(self) -> TokenMeter:
        is_repeating = self._sink.is_past and self._steps.is_in_handler
        owner = owner_of(self.user_state) if self.sender_id else ""
        return TokenMeter(self.bot, self._sink, owner, is_repeating=is_repeating)

    @property
    def sender_id(self) -> str:
        """The id by which the sender is known for ever: the uid, unless the platform may reassign that."""
        return self.event.sender.lasting_id or self.event.sender.uid

    @property
    def _steps(self) -> StepCalls:
        if self._made_steps is None:
            if self._make_steps is None:
                raise BotError(
                    "ask, approve, call, once, run_agent, sleep, now and random need a handler that is called for an "
                    "event"
                )
            self._made_steps = self._make_steps()
        return self._made_steps

    def _check_call(self, name: str) -> None:
        if self._made_steps is not None:
            self._made_steps.check_call(name)

    @overload
    def stream(self, source: StreamSource[str | None], text: None = None, *, key: str = "") -> Sent | None: ...

    @overload
    def stream(self, source: StreamSource[T], text: Callable[[T], str | None], *, key: str = "") -> Sent | None: ...

    def stream(self, source: Any, text: Any = None, *, key: str = "") -> Sent | None:
        """Send the message made of the pieces of ``source``, which may arrive slowly. Return it, None if it is blank.

        ::

            ctx.stream(lambda: client.create(messages, stream=True), text=lambda chunk: chunk.choices[0].delta.content)

        ``source`` is an iterable or async iterable of texts, or a function or coroutine function that returns one; a
        later run of the handler does not call it. ``text`` returns the text of a piece that is none. A piece or a text
        may be None. An async iterable is consumed on the event loop of the process. A source that does not come to its
        end is closed. It returns None, too, if outgoing middleware dropped the message or the user had stopped the run.

        On platforms that can edit messages or show deltas, the message appears with the first words and grows at the
        platform's pace, in updates that become larger with the text. On other platforms, and if the bot has outgoing
        middleware, it is sent once it is complete. The updates have at most as many bytes as the text.

        If the source raises, what has come stays or is sent, with the bot's ``broken_off_text``, as soon as the handler
        says something else or has ended. If the handler runs again, the next run may complete the message instead.
        Raises what the source raises, :class:`BotError` for pieces of another type, and :class:`MessageError` as soon
        as there are more characters than one message may have (:data:`~cometbot.messages.MAX_MESSAGE_LENGTH`).
        """
        self._check_call("stream")
        sender = self._make_stream_sender()
        send = partial(sender.send, source, text=text)
        if self._make_steps is None:
            return run_in_thread(send, lambda text: None)
        return self._steps.stream(send, sender.restore, key, calling_code())

    def _make_stream_sender(self) -> StreamSender:
        return StreamSender(
            self._sink,
            self._answered_id or self.incoming.key,
            make_operation=lambda text: self.operation(Text(text)),
            outgoing=lambda operation: filter_operation(operation, self.bot, self.event),
            post=self._post_streamed,
            make_sent=self._sent,
            broken_off_text=self.bot.broken_off_text or "",
        )

    def _post_streamed(self, operation: Operation) -> Sent:
        """Post an operation of a stream, which outgoing middleware has seen."""
        self._check_call("reply")
        return self._sent(self._post_filtered(operation, self._sink), operation)

    def _sent(self, ordinal: int, operation: Operation) -> Sent:
        return Sent(self._sink, ordinal, operation, self._carry_out, self._check_call, self._withdraw_buttons)

    @property
    def _answered_id(self) -> str:
        """The id of the message that this run answers."""
        if self.incoming is self.event or (isinstance(self.event, ActionEvent) and self.event.message is self.incoming):
            return self._message_id
        return str(getattr(self.incoming, "id", getattr(self.incoming, "message_id", "")))


def with_limits(ctx: Context, operation: Operation) -> Operation:
    """Return an operation whose buttons carry their limits (``by``, ``expires``, ``once``)."""
    message = operation.message
    if message is None or not has_limits(message):
        return operation
    trigger = ctx._sink.trigger
    # The same in every run of the handler: later runs of a dialog count what earlier ones have said.
    id = f"{ctx._origin or f'{trigger.event}.{trigger.generation}'}.{ctx._limited_count}"
    ctx._limited_count += 1
    return replace(operation, message=apply_limits(message, id, trigger.now))


def check_token_budget(ctx: Context) -> None:
    """Raise :class:`TokenBudgetExceeded` if the user has no tokens left. Call it before a model is called.

    It passes while the handler repeats what an earlier run has done.
    """
    ctx._meter.check()
