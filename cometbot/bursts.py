"""Handlers that get several messages at once, or only the newest (``concurrency=``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cometbot.approvals import read_vote
from cometbot.context import Context
from cometbot.dialogs import DIALOGS_KEY, find_resume
from cometbot.events import MessageEvent
from cometbot.outcomes import Outcome
from cometbot.quick_replies import QUICK_REPLIES_KEY, find_invalid_value, resolve_quick_reply
from cometbot.sinks import ReplySink, WaitingMessage
from cometbot.stopping import is_stop

if TYPE_CHECKING:
    from cometbot.handlers import Concurrency, Handler

MAX_MESSAGES = 50
"""The most messages of one burst."""

BURST_MARK = "in the burst of "
"""The beginning of the mark of a message that ended with the newest one of its burst (:func:`join_mark`)."""

_SUPERSEDED_MARK = "superseded by "

MAX_PAUSES = 5
"""A burst that never pauses is handed over after this many times the bot's ``burst_pause``."""


class MessageGatherer:
    """Gathers the messages that one handler gets instead of one after the other.

    They follow each other in the conversation, are written by the same user in the same thread, and have the same
    handler. None of them has run yet. The newest one gets the handler; the others end with it.
    """

    def __init__(self, ctx: Context, sink: ReplySink, handler: Handler) -> None:
        self._ctx = ctx
        self._sink = sink
        self._handler = handler
        self._pause = ctx.bot.burst_pause

    def gather(self) -> Outcome | None:
        """Return the outcome of a message that does not get the handler now; None for one that does.

        It is held until the burst pauses, or ends with the newest message of it.
        """
        sink, mode = self._sink, self._handler.concurrency
        if mode == "queue" or not isinstance(self._ctx.event, MessageEvent) or sink.is_rerun:
            return None
        if mode == "burst" and sink.joined_messages(sink.trigger.event):
            return None
        waiting = sink.waiting_messages(MAX_MESSAGES)
        behind = self._find_belonging(waiting)
        is_cut = len(behind) < len(waiting) or len(behind) + 1 >= MAX_MESSAGES
        if mode == "burst" and not is_cut and (seconds := self._seconds_left(behind)) > 0:
            return Outcome(held_for=seconds)
        if not behind:
            return None
        *others, newest = behind
        joined = tuple(item.sequence for item in others)
        return Outcome(stopped_by=join_mark(mode, f"m{newest.sequence}"), joined=joined)

    def _find_belonging(self, waiting: Sequence[WaitingMessage]) -> list[WaitingMessage]:
        found: list[WaitingMessage] = []
        for item in waiting[: MAX_MESSAGES - 1]:
            if item.event is None or not self._belongs(item.event):
                break
            found.append(item)
        return found

    def _belongs(self, event: MessageEvent) -> bool:
        own, ctx = self._ctx, Context(self._ctx.bot, event, self._sink)
        if ctx.sender_id != own.sender_id or ctx.thread_id != own.thread_id:
            return False
        if read_vote(event, ctx.text) is not None or is_stop(ctx) or self._is_chosen(ctx, event):
            return False
        dialogs = ctx.state.get(DIALOGS_KEY)
        if dialogs and find_resume(ctx, dialogs, self._sink) is not None:
            return False
        found = ctx.bot.routes.find_handler(ctx)
        return found is not None and found.error is None and found.handler is self._handler

    def _is_chosen(self, ctx: Context, event: MessageEvent) -> bool:
        """Return True if the message selects a quick reply or fills in a form."""
        offers = ctx.state.get(QUICK_REPLIES_KEY)
        if not offers or not ctx.text:
            return False
        chosen = resolve_quick_reply(event, ctx.text, offers) or find_invalid_value(event, ctx.text, offers)
        return chosen is not None

    def _seconds_left(self, behind: Sequence[WaitingMessage]) -> float:
        """Return the seconds until the burst has paused, or has lasted too long."""
        trigger = self._sink.trigger
        newest_at = behind[-1].received_at if behind else trigger.received_at
        return min(newest_at + self._pause, trigger.received_at + MAX_PAUSES * self._pause) - trigger.now


def join_mark(concurrency: Concurrency, message: str) -> str:
    """Return what is recorded in place of the handler of a message that ended with a newer one (``m15``)."""
    return f"{BURST_MARK if concurrency == 'burst' else _SUPERSEDED_MARK}{message}"


def is_superseded(handler: str) -> bool:
    """Return True for what is recorded in place of the handler of a message that no handler got."""
    return handler.startswith(_SUPERSEDED_MARK)
