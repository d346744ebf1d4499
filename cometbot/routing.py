"""Which handler an event is for: a bot's handlers by kind, in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cometbot.commands import Arguments, read_call
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.handlers import Handler, Kind
from cometbot.matchers import MATCHED, Match

if TYPE_CHECKING:
    from cometbot.context import Context


@dataclass(frozen=True, slots=True)
class Found:
    """The handler that an event is for.

    ``line`` is what a command's arguments are read from, ``arguments`` what is read already. ``error`` is what its
    matcher raised: then nobody knows whether it wants the event. ``refusal`` is the answer to a user whose words the
    handler cannot take; it is given in the handler's place.
    """

    handler: Handler
    match: Match = MATCHED
    line: str = ""
    arguments: Arguments | None = None
    error: BaseException | None = None
    refusal: str = ""


class Routes:
    """A bot's handlers, ready for look-up. Immutable; a bot makes a new one when something is registered."""

    def __init__(self, handlers: Iterable[Handler], *, slash_optional: bool = False) -> None:
        by_kind: dict[Kind, list[Handler]] = {"action": [], "command": [], "message": [], "event": [], "fallback": []}
        for handler in handlers:
            by_kind[handler.kind].append(handler)
        self._actions = tuple(by_kind["action"])
        self._messages = tuple(by_kind["message"])
        self._events = tuple(by_kind["event"])
        self._fallbacks = tuple(by_kind["fallback"])
        self._commands = {
            name: handler for handler in by_kind["command"] if handler.command for name in handler.command.names
        }
        self._slash_optional = slash_optional
        self._has_message_handlers = bool(self._actions or self._messages or self._commands or self._fallbacks)
        self._taken: dict[type[Event], bool] = {}

    def takes(self, event: type[Event]) -> bool:
        """Return whether some handler could take an event of this class."""
        if event not in self._taken:
            is_written = issubclass(event, (MessageEvent, ActionEvent)) and self._has_message_handlers
            self._taken[event] = is_written or any(issubclass(event, handler.classes) for handler in self._events)
        return self._taken[event]

    def find(self, ctx: Context) -> Found | None:
        """Who gets the context's event, None if nobody wants it."""
        if isinstance(ctx.event, MessageEvent):
            wanted = self._find_command(ctx) or _first(self._messages, ctx)
            return wanted or _first(self._events, ctx) or _first(self._fallbacks, ctx)
        if isinstance(ctx.event, ActionEvent):
            return self.find_action(ctx) or _first(self._events, ctx) or _first(self._fallbacks, ctx)
        return _first(self._events, ctx)

    def find_action(self, ctx: Context) -> Found | None:
        """The action handler that wants the context's event, None if none does."""
        return _first(self._actions, ctx)

    def _find_command(self, ctx: Context) -> Found | None:
        call = read_call(ctx.text)
        handler = self._commands.get(call.name) if call is not None else None
        if call is None or handler is None or handler.command is None:
            return None
        optional = handler.command.slash_optional
        if call.has_slash or (self._slash_optional if optional is None else optional) or ctx.begins_with_mention:
            return Found(handler, line=call.line)
        return None


def _first(handlers: tuple[Handler, ...], ctx: Context) -> Found | None:
    for handler in handlers:
        try:
            match = handler.matcher.find(ctx)
        except BaseException as error:  # dispatch decides what becomes of it
            return Found(handler, error=error)
        if match is None:
            continue
        if handler.kind != "message" or not handler.signature.parameters:
            return Found(handler, match)
        try:
            return Found(handler, match, arguments=handler.signature.fill(match.groups))
        except ValueError:  # what was found is not what the handler's annotations want: as if it were not found
            continue
        except BaseException as error:
            return Found(handler, match, error=error)
    return None
