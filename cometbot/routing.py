"""Find the handler for an event among the handlers of a bot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cometbot.called_names import may_call
from cometbot.commands import Arguments, parse_call
from cometbot.events import ActionEvent, Event, JobEvent, MessageEvent
from cometbot.handlers import Handler, HandlerKind
from cometbot.matchers import MATCHED, Match, MatchContext

_CALLS_THAT_ASK = ("ask", "approve", "hand_off", "run_agent")
"""The calls of a context after which a handler waits for a message or press."""


@dataclass(frozen=True, slots=True)
class HandlerMatch:
    """The handler for an event.

    ``line`` holds a command's arguments. ``arguments`` are arguments that are already parsed. ``error`` is the error
    that its matcher raised, so that it is unknown whether it matches. ``rejection_text`` is the reply to a user whose
    input the handler cannot accept; it is sent instead of calling the handler.
    """

    handler: Handler
    match: Match = MATCHED
    line: str = ""
    arguments: Arguments | None = None
    error: BaseException | None = None
    rejection_text: str = ""


class HandlerTable:
    """The handlers of a bot, ready for lookup. It is immutable; a bot builds a new one after a registration."""

    def __init__(self, handlers: Iterable[Handler], *, slash_optional: bool = False) -> None:
        by_kind: dict[HandlerKind, list[Handler]] = {
            "action": [],
            "command": [],
            "message": [],
            "event": [],
            "fallback": [],
            "job": [],
        }
        for handler in handlers:
            by_kind[handler.kind].append(handler)
        self._actions = tuple(by_kind["action"])
        self._events = tuple(by_kind["event"])
        self._for_messages = (*by_kind["message"], *by_kind["event"], *by_kind["fallback"])
        self._for_actions = (*by_kind["action"], *by_kind["event"], *by_kind["fallback"])
        self._commands = {
            name: handler for handler in by_kind["command"] if handler.command for name in handler.command.names
        }
        self._jobs = {handler.name: handler for handler in by_kind["job"]}
        self._slash_optional = slash_optional
        self._by_kind = by_kind
        self._handled_classes: dict[type[Event], bool] = {}
        self.stops_on_new = any(handler.stop_on_new for found in by_kind.values() for handler in found)
        """True if a newer message of the same user stops one of the handlers."""

    def can_handle(self, event: type[Event]) -> bool:
        """Return True if a handler could match an event of this class."""
        if event not in self._handled_classes:
            is_written = issubclass(event, (MessageEvent, ActionEvent)) and self._takes_messages
            self._handled_classes[event] = is_written or any(
                issubclass(event, handler.classes) for handler in self._events
            )
        return self._handled_classes[event]

    @property
    def _takes_messages(self) -> bool:
        """True if there is a handler for messages, or one for events or jobs that may wait for what a user writes."""
        if any(kind not in ("event", "job") and found for kind, found in self._by_kind.items()):
            return True
        others = (*self._by_kind["event"], *self._by_kind["job"])
        return any(may_call(handler.function, name) for handler in others for name in _CALLS_THAT_ASK)

    def find_handler(self, ctx: MatchContext) -> HandlerMatch | None:
        """Return the handler for the context's event, or None."""
        if isinstance(ctx.event, MessageEvent):
            command = self._find_command(ctx) if self._commands else None
            return command or _find_first(self._for_messages, ctx)
        if isinstance(ctx.event, ActionEvent):
            return _find_first(self._for_actions, ctx)
        if isinstance(ctx.event, JobEvent):
            job = self._jobs.get(ctx.event.handler)
            return HandlerMatch(job) if job is not None else None
        return _find_first(self._events, ctx)

    def has_command(self, name: str) -> bool:
        """Return True if there is a command of this name."""
        return name in self._commands

    def find_named(self, name: str) -> list[Handler]:
        """Return the handlers whose function has this name."""
        every = (*self._actions, *self._commands.values(), *self._for_messages, *self._jobs.values())
        return list({id(handler): handler for handler in every if handler.name == name}.values())

    def find_action_handler(self, ctx: MatchContext) -> HandlerMatch | None:
        """Return the action handler for the context's event, or None."""
        return _find_first(self._actions, ctx)

    def _find_command(self, ctx: MatchContext) -> HandlerMatch | None:
        call = parse_call(ctx.text)
        handler = self._commands.get(call.name) if call is not None else None
        if call is None or handler is None or handler.command is None:
            return None
        optional = handler.command.slash_optional
        if call.has_slash or (self._slash_optional if optional is None else optional) or ctx.begins_with_mention:
            return HandlerMatch(handler, line=call.line)
        return None


def _find_first(handlers: tuple[Handler, ...], ctx: MatchContext) -> HandlerMatch | None:
    for handler in handlers:
        try:
            match = handler.matcher.find(ctx)
        except BaseException as error:  # dispatch handles it
            return HandlerMatch(handler, error=error)
        if match is None:
            continue
        if handler.kind != "message" or not handler.signature.parameters:
            return HandlerMatch(handler, match)
        try:
            return HandlerMatch(handler, match, arguments=handler.signature.bind(match.groups))
        except ValueError:  # groups that do not convert count as no match
            continue
        except BaseException as error:
            return HandlerMatch(handler, match, error=error)
    return None
