"""The cards of ``ctx.approve``: where one goes, what it says, and what it becomes when the approval has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cometbot.approvals import WITHDRAWN_TEXT, ApprovalCard, ApprovalRequest, OpenApproval, describe_end
from cometbot.context import Context
from cometbot.durations import to_seconds
from cometbot.errors import BotError
from cometbot.messages import Card, Message, Operation, Text
from cometbot.models import Conversation, User
from cometbot.outgoing import filter_operation, filter_question
from cometbot.prompts import shorten
from cometbot.questions import words_of
from cometbot.sinks import ReplySink
from cometbot.steps import Call, DialogId, Waiting


def make_waiting(
    ctx: Context, sink: ReplySink, request: ApprovalRequest, dialog: DialogId, call: Call
) -> tuple[Waiting, Operation]:
    """Return what a run waits for that asks for an approval, and the operation that sends the card.

    The number of an approval is that of the message whose run asks for it: no other approval ever has it.
    """
    to, trigger = _find_conversation(ctx, request), sink.trigger
    capabilities = sink.capabilities_of(to)
    here = to == ctx.conversation
    asker = tuple(dict.fromkeys(filter(None, (ctx.sender_id, ctx.sender.uid))))
    by = request.uids
    _check_somebody_decides(to, asker, by, request)
    open_approval = OpenApproval(
        trigger.sequence, dialog, call.number, ctx.conversation.key_text, asker, by, request.own
    )
    notes = ["" if here or not ctx.sender.uid else f"Asked by {ctx.sender}."]
    if to.is_group and Card not in capabilities.native and sink.hears_only_mentions(ctx.bot, to.channel):
        notes.append(ctx.bot.mention_text or "")
    thread_id = ctx.thread_id if here else ""
    message = request.make_card(trigger.sequence, *notes)
    operation = Operation(
        conversation=to,
        message=message,
        thread_id=thread_id,
        approval={"open": open_approval.to_json()},
    )
    shown = filter_question(operation, ctx.bot, ctx.event)
    words = shown.title if isinstance(shown, Card) else words_of(shown)
    operation = replace(operation, message=shown)
    card = ApprovalCard(trigger.sequence, to, by, (), capabilities.can_edit(shown), thread_id)
    card = replace(card, withdrawal=sink.render(_change_card(card, Text(WITHDRAWN_TEXT))))
    timeout = to_seconds(ctx.bot.ask_timeout if request.timeout is None else request.timeout, "approve: timeout")
    waiting = Waiting(
        call.number,
        call.kind,
        call.key,
        call.code,
        call.text,
        user=ctx.sender_id,
        thread=ctx.thread_id,
        expires_at=trigger.now + timeout,
        question_text=shorten(words),
        approval=card.to_json(),
    )
    return waiting, operation


def make_outcome(
    ctx: Context, waiting: Waiting, request: ApprovalRequest, result: Mapping[str, Any]
) -> Operation | None:
    """Return the operation that shows on the card how its approval has ended; None if the platform refused the card.

    If outgoing middleware drops it, only the end itself is shown.
    """
    if not (text := describe_end(result)):
        return None
    operation = _close(waiting, request.make_outcome(text), text)
    filtered = filter_operation(operation, ctx.bot, ctx.event)
    return replace(filtered, message=Text(text)) if filtered.is_dropped else filtered


def make_withdrawal(waiting: Waiting) -> Operation:
    """Return the operation that withdraws a card whose request is not known any more."""
    return _close(waiting, Text(WITHDRAWN_TEXT), "Withdrawn.")


def _close(waiting: Waiting, message: Message, text: str) -> Operation:
    assert waiting.approval is not None
    card = ApprovalCard.from_json(waiting.approval)
    operation = _change_card(card, message)
    target: dict[str, Any] = {"target": waiting.question, "target_event": waiting.asked_by} if card.edits else {}
    return replace(operation, approval={"number": card.number, "over": text}, **target)


def _change_card(card: ApprovalCard, message: Message) -> Operation:
    """Return the operation that shows ``message`` in place of a card, or after it on a platform that cannot edit."""
    if card.edits:
        return Operation(conversation=card.conversation, kind="edit", message=message)
    return Operation(conversation=card.conversation, message=message, thread_id=card.thread)


def _find_conversation(ctx: Context, request: ApprovalRequest) -> Conversation:
    to = request.to
    if to is None:
        return ctx.conversation
    if isinstance(to, Conversation):
        return to
    user, group = (to.uid, "") if isinstance(to, User) else ("", to.guid)
    return ctx.conversation_with(user=user, group=group, channel=to.channel)


def _check_somebody_decides(
    to: Conversation, asker: Sequence[str], by: Sequence[str] | None, request: ApprovalRequest
) -> None:
    """Raise unless somebody other than the user who asks may decide, or the user may."""
    if request.own:
        return
    known = {uid.casefold() for uid in asker}
    named = by if by is not None else [to.target] if to.is_direct else None
    if named is not None and all(uid.casefold() in known for uid in named):
        raise BotError(
            "approve: nobody but the user who asks could decide; name a Group or a User in to=, others in by=, or let "
            "the user decide with own=True"
        )
