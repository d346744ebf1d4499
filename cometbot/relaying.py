"""The relay of hand-offs: the messages that people and their user get of each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cometbot.approvals import APPROVALS_KEY, ApprovalCard, Decision, OpenApproval, find_open, find_over_text
from cometbot.commands import parse_call
from cometbot.context import Context
from cometbot.dialogs import DIALOGS_KEY, OpenDialog, is_cancel_word
from cometbot.durations import to_seconds
from cometbot.errors import BotError, ChannelError
from cometbot.events import ActionEvent, EditEvent, MessageEvent
from cometbot.hand_offs import HANDED_BACK, WITHDRAWN_TEXT, HandOffRequest
from cometbot.job_calls import can_be_answered, refuse_reply
from cometbot.messages import Media, Message, Operation, Text, is_web_url
from cometbot.models import Attachment, Conversation, Group, check_recipient, conversation_to_json
from cometbot.outcomes import Outcome
from cometbot.outgoing import filter_operation, filter_question
from cometbot.prompts import shorten
from cometbot.questions import words_of
from cometbot.sinks import ReplySink
from cometbot.steps import CANCELLED, HAND_OFF, REFUSED, TIMEOUT, Call, DialogId, Waiting

DONE, RESUMED = "done", "resumed"

MAX_TEXT_BYTES = 4000
"""The bytes that the first message for people has at most: it begins a thread, so it is a single one."""

CARD_TIMEOUT = 30.0
"""Seconds for which a user's message waits until the first message for people has been sent."""

_RETRY_INTERVAL = 1.0


def make_waiting(
    ctx: Context, sink: ReplySink, request: HandOffRequest, dialog: DialogId, call: Call
) -> tuple[Waiting, Operation]:
    """Return what a run waits for that hands its user over, and the operation that tells the people."""
    to, trigger = _find_group(ctx, sink, request, dialog), sink.trigger
    capabilities = sink.capabilities_of(to)
    entry = OpenApproval(
        trigger.sequence,
        dialog,
        call.number,
        ctx.conversation.key_text,
        (),
        None,
        own=True,
        kind=HAND_OFF,
        conversation=conversation_to_json(ctx.conversation),
    )
    limit = min(MAX_TEXT_BYTES, capabilities.text_limit)
    hint = ctx.bot.mention_text or "" if sink.hears_only_mentions(ctx.bot, to.channel) else ""
    text = _make_first_text(ctx, sink, request, hint, limit)
    operation = Operation(conversation=to, message=Text(text), approval={"open": entry.to_json()})
    shown = filter_question(operation, ctx.bot, ctx.event)
    card = ApprovalCard(trigger.sequence, to, None, (), edits=False)
    withdrawal = Operation(conversation=to, message=Text(f"{ctx.sender}: {WITHDRAWN_TEXT}"))
    card = replace(card, withdrawal=sink.render(withdrawal))
    waiting = Waiting(
        call.number,
        call.kind,
        call.key,
        call.code,
        call.text,
        user=ctx.sender_id,
        thread=ctx.thread_id,
        expires_at=trigger.now + to_seconds(request.timeout, "hand_off: timeout"),
        question_text=shorten(words_of(shown)),
        approval=card.to_json(),
    )
    return waiting, replace(operation, message=shown)


def make_outcome(ctx: Context, sink: ReplySink, waiting: Waiting, result: Mapping[str, Any]) -> Operation | None:
    """Return the operation that tells the people how the hand-off has ended; None if the platform refused the group."""
    if result.get("ended") == REFUSED:
        return None
    text = _describe_end(result)
    operation = _close(sink, waiting, text)
    filtered = filter_operation(operation, ctx.bot, ctx.event)
    return replace(filtered, message=Text(text)) if filtered.is_dropped else filtered


def make_withdrawal(sink: ReplySink, waiting: Waiting) -> Operation:
    """Return the operation that tells the people that a hand-off ended with its handler."""
    return _close(sink, waiting, WITHDRAWN_TEXT)


def _close(sink: ReplySink, waiting: Waiting, text: str) -> Operation:
    assert waiting.approval is not None
    card = ApprovalCard.from_json(waiting.approval)
    asked_by = DialogId.parse(waiting.asked_by)
    thread = sink.platform_id_of(asked_by, waiting.question or 0) if asked_by is not None else None
    return Operation(
        conversation=card.conversation,
        message=Text(text),
        thread_id=thread or "",
        approval={"number": card.number, "over": text},
    )


def find_hand_off(dialogs: Any) -> OpenDialog | None:
    """Return the hand-off that is open in a conversation; ``dialogs`` is the value of :data:`DIALOGS_KEY`."""
    found = (OpenDialog.from_json(item) for item in dialogs or () if item.get("kind") == HAND_OFF)
    return next(found, None)


def resume(sink: ReplySink, conversation: Conversation) -> None:
    """End the hand-off of a conversation, if it has one."""
    stored = sink.load_state("conversation", conversation.key_text).get(DIALOGS_KEY)
    found = find_hand_off(json.loads(stored)) if stored is not None else None
    if found is not None:
        sink.end_hand_off(conversation, found.id, found.step, {"status": RESUMED})


class Relay:
    """The relay of one event: from a user who is handed over to the people, or back."""

    def __init__(self, ctx: Context, sink: ReplySink) -> None:
        self._ctx = ctx
        self._sink = sink

    def find_outcome(self) -> Outcome | None:
        """Return the outcome of an event that is relayed; None for any other event, which is handled as ever."""
        ctx, event = self._ctx, self._ctx.event
        if not isinstance(event, MessageEvent | ActionEvent | EditEvent):
            return None
        if not ctx.conversation.is_group:
            hand_off = find_hand_off(ctx.state.get(DIALOGS_KEY))
            return self._relay_to_people(hand_off) if hand_off is not None else None
        if isinstance(event, MessageEvent) and event.thread_id and ctx.state.get(APPROVALS_KEY):
            return self._relay_to_user(event)
        return None

    def _relay_to_people(self, hand_off: OpenDialog) -> Outcome | None:
        ctx, sink = self._ctx, self._sink
        if _is_cancel(ctx):
            return None
        thread = sink.platform_id_of(hand_off.asked_by, hand_off.question)
        if thread is None and not sink.is_rerun and sink.trigger.now < sink.trigger.received_at + CARD_TIMEOUT:
            return Outcome(held_for=_RETRY_INTERVAL)
        assert hand_off.place is not None
        to = Conversation(**hand_off.place)
        return self._make_outcome(to, self._describe_event(), thread or "")

    def _relay_to_user(self, event: MessageEvent) -> Outcome | None:
        ctx, stored = self._ctx, self._ctx.state.get(APPROVALS_KEY)
        said = self._sink.find_said(event.thread_id)
        number = int(said[0].event[1:]) if said is not None and said[0].event.startswith("m") else 0
        if said is None:
            return None
        found = find_open(stored, number, self._sink.trigger.sequence)
        if found is None:
            over = find_over_text(stored, number)
            if not over.startswith(HANDED_BACK):
                return None
            return self._make_outcome(ctx.conversation, [Text(f"{over} What you write here is not passed on.")])
        if found.kind != HAND_OFF or list(found.card) != [said[0].generation, said[1]]:
            return None
        if _is_done(ctx):
            result = {"status": DONE, "by": {"uid": ctx.sender.uid, "name": ctx.sender.name}}
            return Outcome(stopped_by=HAND_OFF, decision=Decision(found, result, _describe_end(result)))
        return self._make_outcome(Conversation(**(found.conversation or {})), self._describe_event())

    def _make_outcome(self, to: Conversation, messages: Sequence[Message], thread: str | None = None) -> Outcome:
        ctx = self._ctx
        thread_id = thread if thread is not None else ctx.thread_id if to == ctx.conversation else ""
        operations = [Operation(conversation=to, message=message, thread_id=thread_id) for message in messages]
        return Outcome(
            stopped_by=HAND_OFF, operations=tuple(filter_operation(item, ctx.bot, ctx.event) for item in operations)
        )

    def _describe_event(self) -> list[Message]:
        """Return the messages that say what somebody has written, with their files."""
        ctx, event = self._ctx, self._ctx.event
        name = str(ctx.sender)
        if isinstance(event, EditEvent):
            return [Text(f"{name} (edited): {event.message.text}")]
        if isinstance(event, ActionEvent) and event.message is None:
            return [Text(_describe_press(event, name))]
        text = ctx.text or ("" if ctx.attachments else f"({getattr(event, 'type', 'message')})")
        files = [self._to_message(file, name) for file in ctx.attachments]
        return [*([Text(f"{name}: {text}")] if text else []), *files]

    def _to_message(self, file: Attachment, sender: str) -> Message:
        """Return a message with the address of a file, or with its content if only the user's channel can load it."""
        if is_web_url(file.url):
            return Media(file.url, name=file.name, mime_type=file.mime_type, size=file.size, caption=f"{sender}:")
        try:
            return Media(data=file.read(), name=file.name, caption=f"{sender}:")
        except (BotError, ChannelError) as error:  # the reader can still ask for it
            reason = getattr(error, "code", "") or type(error).__name__  # texts may have the file's name
            self._ctx.log.warning("hand_off: a file is not relayed: %s", reason)
            return Text(f"{sender}: {file.name or 'a file'} (could not be loaded)")


def _find_group(ctx: Context, sink: ReplySink, request: HandOffRequest, dialog: DialogId) -> Conversation:
    """Return the group of the people. Raises :class:`BotError` where nobody can be handed over."""
    if not can_be_answered(ctx.event):
        raise refuse_reply(ctx.event)
    if ctx.conversation.is_group:
        raise BotError("hand_off: a user is handed over from a one-to-one conversation, not in a group")
    if not ctx.sender_id:
        raise BotError("hand_off: nobody caused this event, so there is nobody to hand over")
    other = find_hand_off(ctx.state.get(DIALOGS_KEY))
    if other is not None and other.id != dialog:
        raise BotError("hand_off: the user is handed over already; end that first with ctx.resume()")
    to = request.to
    if isinstance(to, Group):
        check_recipient("", to.guid)
        to = ctx.conversation_with(group=to.guid, channel=to.channel)
    if not to.is_group:
        raise BotError("hand_off: to: expected a group, in which each user gets a thread")
    if not sink.capabilities_of(to).threads:
        raise BotError(
            f"hand_off: the channel {to.channel} has no threads; name a group of a channel that has, such as "
            'Group("support", channel="cometchat")'
        )
    return to


def _make_first_text(ctx: Context, sink: ReplySink, request: HandOffRequest, hint: str, limit: int) -> str:
    """Return the first message for people: the request, and as much of the transcript as fits."""
    head = request.text.strip() or f"{ctx.sender} would like to talk to a person."
    end = " ".join(filter(None, ["Answer in this thread, and write /done there to hand back.", hint]))
    size = sum(len(part.encode()) + 2 for part in (head, end))
    lines = _list_lines(ctx, request.transcript) if request.transcript else []
    kept: list[str] = []
    for line in reversed(lines):
        size += len(line.encode()) + 2
        if size > limit:
            break
        kept.insert(0, line)
    return "\n\n".join([head, *kept, end])


def _list_lines(ctx: Context, limit: int) -> list[str]:
    """Return the newest messages of the conversation, a line each; only the event's own without a history."""
    messages: list[MessageEvent] = []
    try:
        messages = ctx.history(limit)
    except ChannelError as error:  # people can answer without it
        ctx.log.warning("hand_off: the transcript is left out, the history cannot be read: %s", error)
    messages = messages or ([ctx.message] if ctx.message is not None else [])
    return [_describe_message(ctx, message) for message in messages]


def _describe_message(ctx: Context, message: MessageEvent) -> str:
    is_own = message.sender.uid.lower() in map(str.lower, ctx.bot.ids)
    name = ctx.bot.name if is_own else str(message.sender)
    files = [file.url if is_web_url(file.url) else file.name for file in message.attachments]
    words = " ".join(filter(None, [message.text.strip(), *files])) or f"({message.type})"
    return f"{name}: {words}"


def _describe_press(event: ActionEvent, name: str) -> str:
    if event.values:
        return "\n".join([f"{name}:", *(f"{field}: {value}" for field, value in event.values.items())])
    return f"{name} pressed: {event.value or event.name}"


def _is_cancel(ctx: Context) -> bool:
    """Return True for ``/cancel``; the bot's other words for it may be said to people."""
    call = parse_call(ctx.text)
    return call is not None and call.has_slash and is_cancel_word(ctx.bot, ctx.text)


def _is_done(ctx: Context) -> bool:
    call = parse_call(ctx.text)
    return call is not None and call.has_slash and call.name == "done" and not call.line.strip()


def _describe_end(result: Mapping[str, Any]) -> str:
    ended = result.get("ended")
    if ended == TIMEOUT:
        return f"{HANDED_BACK}: the time is over."
    if ended == CANCELLED:
        return f"{HANDED_BACK}: the user has ended the conversation."
    if ended is not None:
        return WITHDRAWN_TEXT
    by = result.get("by")
    return f"{HANDED_BACK} by {by['name'] or by['uid']}." if by else f"{HANDED_BACK} to the bot."
