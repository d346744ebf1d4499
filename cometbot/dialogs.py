"""Find the open dialog that an event belongs to: the answer to a question, a button, a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cometbot.commands import parse_call
from cometbot.events import ActionEvent, MessageEvent
from cometbot.matchers import normalize_text
from cometbot.questions import is_chosen, parse_action_name, read_answer
from cometbot.quick_replies import QUESTION_MARK, QUICK_REPLIES_KEY, resolve_quick_reply
from cometbot.sinks import ReplySink
from cometbot.state import RESERVED_PREFIX
from cometbot.steps import ASK, CANCELLED, Answer, DialogEvent, DialogId

if TYPE_CHECKING:
    from cometbot.bot import Bot
    from cometbot.context import Context

DIALOGS_KEY = f"{RESERVED_PREFIX}dialogs"
"""The state key of a conversation's open dialogs, in the form of :meth:`OpenDialog.to_json`."""

_NO_MESSAGE = DialogId("")


@dataclass(frozen=True, slots=True)
class OpenDialog:
    """A dialog that waits for an answer in this conversation, or whose user may cancel its approval here.

    A message up to the sequence number ``asked_seq`` was written before the question. A message with the sequence
    number ``failed_seq`` is tried again. The question was said under the ordinal ``question`` of the message
    ``asked_by``, in its generation. ``asked_field`` is the field of a form that is asked. ``place`` is the group, as
    JSON, to which a hand-off relays.
    """

    id: DialogId
    step: int
    user: str
    thread: str
    handler: str
    asked_seq: int
    offers: Sequence[Mapping[str, Any]] = ()
    listen: bool = False
    failed_seq: int = 0
    asked_by: DialogId = _NO_MESSAGE
    question: int = 0
    asked_field: str = ""
    kind: str = ASK
    place: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the dialog as JSON."""
        return {
            "id": str(self.id),
            "step": self.step,
            "user": self.user,
            "thread": self.thread,
            "handler": self.handler,
            "asked": self.asked_seq,
            "offers": list(self.offers),
            "listen": self.listen,
            "failed": self.failed_seq,
            "by": str(self.asked_by),
            "question": self.question,
            "field": self.asked_field,
            "kind": self.kind,
            "place": self.place,
        }

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> OpenDialog:
        """Return the dialog that :meth:`to_json` described."""
        return cls(
            id=DialogId.parse(item["id"]) or DialogId(""),
            step=item["step"],
            user=item["user"],
            thread=item["thread"],
            handler=item["handler"],
            asked_seq=item["asked"],
            offers=item["offers"],
            listen=item["listen"],
            failed_seq=item["failed"],
            asked_by=DialogId.parse(item["by"]) or _NO_MESSAGE,
            question=item["question"],
            asked_field=item["field"],
            kind=item["kind"],
            place=item["place"],
        )


@dataclass(frozen=True, slots=True)
class Resume:
    """An event that continues a dialog; without an answer it is to be ignored, because the question is over."""

    dialog: DialogId
    answer: Answer | None = None


def find_resume(ctx: Context, stored: Any, sink: ReplySink) -> Resume | None:
    """Return how the context's event continues a dialog, or None if it is routed as any other event.

    ``stored`` is the value of :data:`DIALOGS_KEY`.
    """
    event = ctx.event
    if isinstance(event, DialogEvent):
        return Resume(event.dialog, Answer(event.step, event.result))
    dialogs = [OpenDialog.from_json(item) for item in stored or ()]
    if isinstance(event, ActionEvent):
        return _find_by_button(ctx, event, dialogs)
    if not isinstance(event, MessageEvent) or not dialogs:
        return None
    own = [item for item in dialogs if _is_asked(item, ctx, sink)]
    if own and _selects_newer(ctx, event):
        return None
    own.sort(key=lambda item: item.kind != ASK)  # /cancel is for a question before it is for an approval
    return next((found for item in own if (found := _read(ctx, event, item, sink)) is not None), None)


def find_replaced(ctx: Context, stored: Any, handler: str) -> list[DialogId]:
    """Return the dialogs that the user ends by starting ``handler`` again in the same thread."""
    return [
        item.id
        for item in map(OpenDialog.from_json, stored or ())
        if item.kind == ASK and item.handler == handler and item.user == ctx.sender_id and item.thread == ctx.thread_id
    ]


def is_cancel_word(bot: Bot, text: str) -> bool:
    """Return True if ``text`` cancels a dialog: ``/cancel``, unless that is the author's command, or a cancel word."""
    call = parse_call(text)
    if call is not None and call.has_slash and not call.line.strip() and call.name == "cancel":
        return not bot.routes.has_command("cancel")
    return normalize_text(text) in bot.cancel_words


def _find_by_button(ctx: Context, event: ActionEvent, dialogs: Iterable[OpenDialog]) -> Resume | None:
    named = parse_action_name(event.name)
    if named is None:  # a press that somebody made up
        return Resume(_NO_MESSAGE)
    for item in dialogs:
        is_asked = named.field == item.asked_field or bool(not named.field and event.values)
        if (item.id, item.step) == (named.dialog, named.step) and item.user == ctx.sender_id and is_asked:
            raw = {"ended": CANCELLED} if event.cancels else read_answer(event, "", item.offers)
            return Resume(item.id, Answer(item.step, raw))
    return Resume(named.dialog)


def _is_asked(item: OpenDialog, ctx: Context, sink: ReplySink) -> bool:
    sequence = sink.trigger.sequence
    if item.user != ctx.sender_id or not (sequence > item.asked_seq or sequence == item.failed_seq):
        return False
    if item.thread == ctx.thread_id:
        return True
    # A thread below the question itself.
    return not item.thread and sink.platform_id_of(item.asked_by, item.question) == ctx.thread_id


def _selects_newer(ctx: Context, event: MessageEvent) -> bool:
    """Return True if the text selects a quick reply that was offered after the question, beside the dialog."""
    offers = [item for item in ctx.state.get(QUICK_REPLIES_KEY) or [] if not item.get("kept")]
    return QUESTION_MARK not in offers and resolve_quick_reply(event, ctx.text, offers) is not None


def _read(ctx: Context, event: MessageEvent, item: OpenDialog, sink: ReplySink) -> Resume | None:
    if item.kind != ASK:
        return Resume(item.id, Answer(item.step, {"ended": CANCELLED})) if is_cancel_word(ctx.bot, ctx.text) else None
    raw = read_answer(event, ctx.text, item.offers)
    chosen = is_chosen(raw)
    call = parse_call(ctx.text)
    if not chosen:
        if is_cancel_word(ctx.bot, ctx.text):
            return Resume(item.id, Answer(item.step, {"ended": CANCELLED}))
        if call is not None and call.has_slash and ctx.bot.routes.has_command(call.name):
            return None
    if event.conversation.is_group and not (chosen or _is_addressed(ctx, event, item, sink)):
        if not item.listen:
            return None
        raw["overheard"] = True
    return Resume(item.id, Answer(item.step, raw))


def _is_addressed(ctx: Context, event: MessageEvent, item: OpenDialog, sink: ReplySink) -> bool:
    """Return True if a message of a group is for the bot: it mentions it, quotes the question, or is in a thread."""
    if ctx.is_mentioned or event.thread_id:
        return True
    return event.quote is not None and event.quote.id == sink.platform_id_of(item.asked_by, item.question)
