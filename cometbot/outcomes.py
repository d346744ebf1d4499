"""The outcome of an event: what its dispatch leaves to be stored."""

from __future__ import annotations

from dataclasses import dataclass

from cometbot.approvals import Decision
from cometbot.messages import Operation
from cometbot.state import StateChange
from cometbot.steps import DialogChange


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an event.

    ``handler`` is the name of the handler that the event was passed to, empty if there was none. ``stopped_by`` is the
    middleware that did not call the next, or ``own`` (the bot's own message), ``bot`` (the message of another bot, for
    a bot that does not handle those), ``brake`` (too many of them in a row), ``press`` (one that does not count),
    ``approval`` (a decision about one), or a limit of the bot. ``operations`` are the returned replies, in order, to be
    stored together with ``changes``; those of ``ctx.reply()`` went to the sink before. ``error`` is the error that was
    raised in the end. If ``retry_in`` (seconds) is set, the event must be dispatched again after that time, with one
    failure more. ``dialog`` is what the run changes in the dialog of its handler, None without one. ``decision`` is
    what the event decides about an approval; then no handler gets it. With ``held_for`` (seconds), nothing has
    happened, and the event must be dispatched again after that time, or when something arrives. ``joined`` are the
    sequence numbers of waiting messages that end with this one, for the same reason (``stopped_by``).
    """

    handler: str = ""
    stopped_by: str = ""
    operations: tuple[Operation, ...] = ()
    changes: tuple[StateChange, ...] = ()
    error: BaseException | None = None
    retry_in: float | None = None
    dialog: DialogChange | None = None
    decision: Decision | None = None
    held_for: float | None = None
    joined: tuple[int, ...] = ()
