"""Decide about an approval: whose vote counts, and what the others are answered."""

from __future__ import annotations

from cometbot.approvals import (
    APPROVALS_KEY,
    OpenApproval,
    find_objection,
    find_open,
    find_over_text,
    make_decision,
    read_vote,
)
from cometbot.backoff import Backoff
from cometbot.context import Context
from cometbot.errors import ChannelError
from cometbot.messages import Text
from cometbot.outcomes import Outcome
from cometbot.outgoing import filter_operation
from cometbot.sinks import ReplySink
from cometbot.steps import APPROVE

_RETRY_BACKOFF = Backoff(initial=1.0, maximum=60.0)
_MAX_ATTEMPTS = 12


def decide(ctx: Context, sink: ReplySink, failures: int, *, sender_is_bot: bool) -> Outcome | None:
    """Return the outcome of an event that decides about an approval; None for any other event.

    No handler and no middleware gets such an event. If the platform cannot say now who is a member, it is tried again.
    A text about a number that no approval here has had is an ordinary message.
    """
    vote = read_vote(ctx.event, ctx.text)
    if vote is None:
        return None
    stored = ctx.state.get(APPROVALS_KEY)
    approval = find_open(stored, vote.number, sink.trigger.sequence)
    if approval is not None and approval.kind != APPROVE:
        return None
    if approval is None:
        over = find_over_text(stored, vote.number)
        if not (over or vote.is_button):
            return None
        return _answer(ctx, f"{vote.number} is closed. {over}".rstrip())
    try:
        objection = find_objection(approval, ctx.sender) or _find_stranger(ctx, sink, approval, is_bot=sender_is_bot)
    except ChannelError as error:
        if failures + 1 >= _MAX_ATTEMPTS:
            raise
        return Outcome(stopped_by="approval", error=error, retry_in=_RETRY_BACKOFF.delay(failures))
    if objection:
        return _answer(ctx, objection)
    return Outcome(stopped_by="approval", decision=make_decision(approval, vote.status, ctx.sender))


def _find_stranger(ctx: Context, sink: ReplySink, approval: OpenApproval, *, is_bot: bool) -> str:
    """Return what a user is answered who is no member (any more), or a bot that is not named; empty for others."""
    if (is_bot and approval.by is None) or not sink.has_member(ctx.conversation, ctx.sender):
        return f"Only members can decide about {approval.number}."
    return ""


def _answer(ctx: Context, text: str) -> Outcome:
    """Return the outcome of a vote that does not count."""
    operations = (filter_operation(ctx.operation(Text(text)), ctx.bot, ctx.event),)
    return Outcome(stopped_by="approval", operations=operations)
