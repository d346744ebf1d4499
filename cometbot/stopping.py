"""The command ``/stop``, by which a user ends what a handler is doing: how it is recognised and answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cometbot.bot import NOTHING_TO_STOP_TEXT, Bot
from cometbot.commands import parse_call
from cometbot.dialogs import DIALOGS_KEY
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.models import User
from cometbot.state import RESERVED_PREFIX

if TYPE_CHECKING:
    from cometbot.context import Context

STOP = "stop"
"""The name of the command, and of what ended its message."""

STOPPED_KEY = f"{RESERVED_PREFIX}stopped"
"""The state key of a conversation that names the message (``m12.0``) whose handler was stopped last."""

STOPPED_LIFETIME = 86_400.0
"""Seconds for which that is kept: for a handler that runs again after a crash."""

_CANCEL_HINT = "Write /cancel to end my question."


def is_stop(ctx: Context) -> bool:
    """Return True if the event is ``/stop``, and that is no command of the author's."""
    if not isinstance(ctx.event, MessageEvent):
        return False
    call = parse_call(ctx.text)
    is_named = call is not None and call.has_slash and not call.line.strip() and call.name == STOP
    return is_named and not ctx.bot.routes.has_command(STOP)


def is_for_nothing(ctx: Context) -> bool:
    """Return True if a ``/stop`` that stops nothing is handled as any other message: it may be for another bot."""
    return ctx.conversation.is_group and not ctx.is_mentioned and not _is_asked(ctx)


def make_stop_text(ctx: Context, *, has_stopped: bool) -> str | None:
    """Return the answer to ``/stop``, or None if the bot has none."""
    text = ctx.bot.stop_text if has_stopped else ctx.bot.nothing_to_stop_text
    if text != NOTHING_TO_STOP_TEXT:
        return text
    return f"{text} {_CANCEL_HINT}" if _is_asked(ctx) else text


def _is_asked(ctx: Context) -> bool:
    """Return True if the user has a dialog open in this conversation."""
    return any(item["user"] == ctx.sender_id for item in ctx.state.get(DIALOGS_KEY) or ())


def may_stop(bot: Bot, body: bytes) -> bool:
    """Return True if a stored message may stop a handler, as far as that can be told without parsing it."""
    return bot.routes.stops_on_new or b"stop" in body.lower()


def is_newer_input(ctx: Context) -> bool:
    """Return True if the event ends a handler with ``stop_on_new``: in a group, only what is meant for the bot."""
    event = ctx.event
    if not isinstance(event, MessageEvent):
        return isinstance(event, ActionEvent)
    if not ctx.conversation.is_group or ctx.is_mentioned or event.thread_id or event.quote is not None:
        return True
    call = parse_call(ctx.text)
    return call is not None and call.has_slash and ctx.bot.routes.has_command(call.name)


def may_end(user: User, running: Event) -> bool:
    """Return True if ``user`` may stop the handler of the event ``running``: the user who caused it.

    What nobody caused may be stopped by the user of a one-to-one conversation.
    """
    owner = running.sender
    if not owner.uid:
        return not running.conversation.is_group
    return (owner.lasting_id or owner.uid) == (user.lasting_id or user.uid)
