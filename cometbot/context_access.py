"""The access of cometbot's own modules to a context, beside the calls of the author."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cometbot.context import Context
from cometbot.events import Event
from cometbot.jobs import JobChange
from cometbot.models import Conversation
from cometbot.presses import Press
from cometbot.sinks import ReplySink, StepCalls
from cometbot.state import State
from cometbot.steps import DialogId
from cometbot.stream_sending import StreamSender


def use_steps(ctx: Context, make: Callable[[], StepCalls]) -> None:
    """Set what makes the steps of this run when the first one is called."""
    ctx._make_steps = make


def get_steps(ctx: Context) -> StepCalls:
    """Return the steps of this run. Raises :class:`BotError` outside of handlers."""
    return ctx._steps


def make_stream_sender(ctx: Context) -> StreamSender:
    """Return what sends the next stream."""
    return ctx._make_stream_sender()


def resume(ctx: Context, opening: Event, sink: ReplySink, dialog: DialogId) -> None:
    """Continue a dialog in the context: ``opening`` started the handler, and becomes ``ctx.event``."""
    ctx.event, ctx._sink, ctx._origin = opening, sink, str(dialog)
    for name in ("text", "user_state", "sender_scope"):
        ctx.__dict__.pop(name, None)


def set_burst(ctx: Context, message: str) -> None:
    """Set the newest message of a burst (``m15``): ``ctx.messages`` then has those that ended with it, too."""
    ctx._burst = message


def change_job(ctx: Context, change: JobChange) -> None:
    """Change the jobs of the bot in this run, unless an earlier one has done so."""
    ctx._check_call("later")
    ctx._change(change)


def find_home(ctx: Context) -> Conversation | None:
    """Return the conversation of the event; of a job, the one in which a handler scheduled it, None if none did."""
    return ctx._home_conversation


def make_broadcast_name(ctx: Context) -> str:
    """Return the name of the next broadcast of this run that has none, the same in every run."""
    ctx._broadcast_count += 1
    return f"#{ctx._change_origin}.b{ctx._broadcast_count}"


def count_posted(ctx: Context) -> int:
    """Return the number of ordinals that this run has used."""
    return len(ctx._posted) + ctx._posted_change_count


def count_said(ctx: Context) -> int:
    """Return the number of messages sent and edited in this run, with those that outgoing middleware dropped."""
    return sum(item.kind in ("send", "edit") for item in ctx._posted)


def withdrawn_presses(ctx: Context) -> Sequence[tuple[Conversation, Press]]:
    """Return the buttons with limits whose messages were edited or deleted in this run."""
    return ctx._withdrawn


def made_states(ctx: Context) -> list[State]:
    """Return the states that exist in this run, whether they were accessed or not."""
    user_state = ctx.__dict__.get("user_state")
    return [ctx.state] if user_state is None else [ctx.state, user_state]


def make_exceeded_text(ctx: Context) -> str | None:
    """Return what the bot says to a user who has no tokens left, or None."""
    return ctx._meter.exceeded_text
