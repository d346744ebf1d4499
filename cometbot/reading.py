"""The calls of a context that read what was said before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

from cometbot.bot import Bot
from cometbot.conversation_turns import MAX_MESSAGES_SINCE, TURNS_KEY, TurnBuilder, TurnLimits
from cometbot.event_loop import run_in_thread
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.messages import remove_answer_hint
from cometbot.models import ClientTool, Conversation
from cometbot.sinks import ReplySink
from cometbot.state import State
from cometbot.token_meter import TokenMeter
from cometbot.turns import Turn


class ConversationReader(ABC):
    """The base class of :class:`~cometbot.context.Context`: the conversation so far, for people and for models."""

    bot: Bot
    event: Event
    incoming: Event
    state: State
    _sink: ReplySink
    _turn_moves: Sequence[Sequence[str]] | None = None
    _burst: str = ""
    _joined: Sequence[MessageEvent] | None = None

    @property
    def message(self) -> MessageEvent | None:
        """The message that the event is or was written in, or None for other events."""
        if isinstance(self.event, MessageEvent):
            return self.event
        return self.event.message if isinstance(self.event, ActionEvent) else None

    @property
    def messages(self) -> tuple[MessageEvent, ...]:
        """The messages that the handler gets, oldest first: with ``concurrency="burst"`` all of a burst, else one.

        The event is the newest of them. Empty for events without a message.
        """
        if self._joined is None:
            self._joined = self._sink.joined_messages(self._burst) if self._burst else ()
        return (*self._joined, *((self.message,) if self.message is not None else ()))

    @property
    def conversation(self) -> Conversation:
        """The conversation of the event."""
        return self.event.conversation

    @property
    def client_tools(self) -> tuple[ClientTool, ...]:
        """The tools that the client offers with the event, for ``ctx.call`` and ``ctx.run_agent``; mostly empty."""
        return self.event.client_tools

    def history(self, limit: int = 20) -> list[MessageEvent]:
        """Return the newest ``limit`` messages of this conversation, oldest first, including the event's own.

        A handler that runs again gets the same: what was written after the message that started it is left out. The
        line that explains how to answer quick replies is removed from the bot's own messages.
        """
        own = {uid.lower() for uid in self.bot.ids}
        return [
            replace(message, text=remove_answer_hint(message.text)) if message.sender.uid.lower() in own else message
            for message in self._load_history(limit)
        ]

    def _load_history(self, limit: int) -> list[MessageEvent]:
        if self.incoming is self.event or not self._message_id:
            return self._sink.history(self.conversation, limit)
        messages = self._sink.history(self.conversation, limit + MAX_MESSAGES_SINCE)
        opening = next((index for index, item in enumerate(messages) if item.id == self._message_id), None)
        return [] if opening is None else messages[: opening + 1][-limit:]

    def turns(
        self, budget: int | None = None, *, limit: int = 50, count: Callable[[str], int] | None = None, since: float = 0
    ) -> list[Turn]:
        """Return the conversation so far as a language model wants it. The event's own message is the last turn.

        ::

            client.chat.completions.create(model=..., messages=to_openai(ctx.turns(8000)))

        Pictures of users are ``images``, other files are named in the text. In groups, the turns of users have their
        names. In a thread, the turns are those of the thread. The functions of :meth:`Bot.redact` have seen all texts.

        There are at most ``limit`` turns (1 to 500), with at most ``budget`` tokens, as ``count`` counts those of a
        text (default: a quarter of its characters; a picture counts 1000). Beyond that, the newest half stays, and the
        first turn is the same again for the next messages: providers cache what requests begin with. If the last turn
        alone is longer than ``budget``, its text is cut off. ``since`` (Unix seconds) leaves out what was sent up to
        then.

        A handler that runs again gets the same turns, but what was edited or deleted meanwhile is as it is now. Where
        the platform has no history, the event's own message is the only turn. Raises :class:`TokenBudgetExceeded` if
        the user has no tokens left, and a ``ChannelError`` if the platform cannot be reached.
        """
        limits = TurnLimits(budget, limit, since, count)
        self._meter.check()
        stored = self._turn_moves if self._turn_moves is not None else self.state.get(TURNS_KEY)
        builder = TurnBuilder(self.bot, self.event, self._sink, stored or [])
        turns = run_in_thread(builder.build, limits)
        if builder.has_moved:
            self._turn_moves = builder.moves
        return turns

    @property
    def _message_id(self) -> str:
        message = self.message
        return message.id if message is not None else str(getattr(self.event, "message_id", ""))

    @property
    @abstractmethod
    def _meter(self) -> TokenMeter:
        """What counts the tokens of the sender."""


def turn_moves(ctx: ConversationReader) -> Sequence[Sequence[str]] | None:
    """Return the moves of the first turn to store, or None if this run has made none."""
    return ctx._turn_moves
