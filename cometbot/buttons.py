"""The buttons of one run: the one that its event presses, and those that it shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cometbot.action_values import decode_value
from cometbot.context import Context
from cometbot.context_access import withdrawn_presses
from cometbot.events import ActionEvent, Event, MessageEvent
from cometbot.messages import Message, Operation
from cometbot.press_limits import find_presses, keep_limited, keep_stored
from cometbot.presses import PRESS_SCOPE, WITHDRAWN_MARK, Press, Refusal, find_refusal, is_press, parse_press
from cometbot.questions import ACTION_PREFIX
from cometbot.quick_replies import (
    QUESTION_MARK,
    QUICK_REPLIES_KEY,
    find_invalid_value,
    resolve_quick_reply,
    serialize_quick_replies,
)
from cometbot.routing import HandlerMatch
from cometbot.sinks import ReplySink
from cometbot.state import StateChange, pop_reserved, set_reserved, to_json

_MARK_LIFETIME = 86400.0
"""Seconds for which a mark stays when its button has ended, so that users are told what became of it."""


class Buttons:
    """The buttons, choices and forms of one run.

    ``refusal`` is why the press does not count that the event is, None if it does. With ``keeps_quick_replies``, those
    of the conversation stay valid although the bot says something.
    """

    def __init__(self, ctx: Context, sink: ReplySink) -> None:
        self.refusal: Refusal | None = None
        self.keeps_quick_replies = False
        self._ctx = ctx
        self._sink = sink
        self._event = ctx.event
        self._pressed: Press | None = None

    def find_handler(self) -> HandlerMatch | None:
        """Return the handler for the event: that of the action which it is, or which it selects as text.

        A text that selects something which is not for this user, over or used is a refused press only if no handler
        but the fallback matches it.
        """
        event, routes = self._event, self._ctx.bot.routes
        if isinstance(event, ActionEvent) and is_press(event.name):
            return self._find_pressed(event)
        offers = self._ctx.state.get(QUICK_REPLIES_KEY) if isinstance(event, MessageEvent) and self._ctx.text else None
        refusal: Refusal | None = None
        if offers and isinstance(event, MessageEvent):
            found, refusal = self._find_written(event, offers)
            if found is not None:
                return found
        found = routes.find_handler(self._ctx)
        if refusal is not None and (found is None or found.handler.kind == "fallback"):
            self.refusal = refusal
            return None
        return found

    def release(self) -> None:
        """Let the press not count, because the handler was not called or has failed."""
        self._pressed = None

    def _find_pressed(self, event: ActionEvent) -> HandlerMatch | None:
        press = parse_press(event.name)
        self.refusal = self._check(press)
        if press is None or self.refusal is not None:
            return None
        self._pressed, self._ctx.event = press, to_pressed(event, press)
        return self._ctx.bot.routes.find_handler(self._ctx)

    def _find_written(self, event: MessageEvent, offers: Any) -> tuple[HandlerMatch | None, Refusal | None]:
        """Return the handler of the quick reply that the text selects, or of the form that it fills in wrongly.

        Else return why the selected one is refused.
        """
        ctx, routes = self._ctx, self._ctx.bot.routes
        action = resolve_quick_reply(event, ctx.text, offers)
        # The choices of a question are not for other users, and not for handlers of actions.
        if action is not None and not action.name.startswith(ACTION_PREFIX):
            press = parse_press(action.name)
            refusal = self._check(press) if is_press(action.name) else None
            if refusal is not None:
                return None, refusal
            ctx.event = action if press is None else to_pressed(action, press)
            if found := routes.find_action_handler(ctx):
                self._pressed = press
                return found, None
            ctx.event = event
        problem = find_invalid_value(event, ctx.text, offers)
        if problem is None:
            return None, None
        (wrong, text), press = problem, parse_press(problem[0].name)
        ctx.event = wrong if press is None else to_pressed(wrong, press)
        found = routes.find_action_handler(ctx)
        ctx.event = event
        return (replace(found, rejection_text=text) if found is not None else None), None

    def _check(self, press: Press | None) -> Refusal | None:
        """Return why a press does not count, or None. One whose name does not parse is of another version."""
        if press is None:
            return "withdrawn"
        marks = self._sink.load_state(PRESS_SCOPE, self._event.conversation.key_text)
        return find_refusal(
            press.rules,
            self._event.sender,
            self._sink.trigger.received_at,
            event=self._event.key,
            mark=_read_mark(marks, press.id),
        )

    def changes(self, operations: Sequence[Operation], *, asks: bool) -> list[StateChange]:
        """Return what the run changes, beside the state of its conversation, which has the quick replies.

        ``operations`` are the returned replies. ``asks`` is true if the run is suspended.
        """
        said: dict[str, list[Message]] = {}
        for operation in (*self._ctx.said, *operations):
            if operation.message is not None:
                said.setdefault(operation.conversation.key_text, []).append(operation.message)
        here = said.pop(self._event.conversation.key_text, None)
        if here is not None and not self.keeps_quick_replies:
            self._replace_quick_replies(here, asks=asks)
        changes: list[StateChange] = []
        for owner, messages in said.items():
            if offers := serialize_quick_replies(messages):
                kept = self._find_kept(owner) if any(map(find_presses, messages)) else []
                stored = {QUICK_REPLIES_KEY: to_json(QUICK_REPLIES_KEY, [*kept, *offers])}
                changes.append(StateChange("conversation", owner, stored))
        return [*changes, *self._marks()]

    def _find_kept(self, owner: str) -> list[dict[str, Any]]:
        """Return the quick replies of another conversation that stay valid beside new ones with limits."""
        return keep_stored(self._sink.load_state("conversation", owner), self._sink.trigger.now)

    def _replace_quick_replies(self, said: Sequence[Message], *, asks: bool) -> None:
        """Store the quick replies of what was said here in the state, behind the older ones that stay valid."""
        state = self._ctx.state
        old, offers = pop_reserved(state, QUICK_REPLIES_KEY), serialize_quick_replies(said)
        kept = keep_limited(old, self._sink.trigger.now) if old else []
        if offers or kept:
            found = [*kept, *offers, *([QUESTION_MARK] if asks and offers else [])]
            set_reserved(state, QUICK_REPLIES_KEY, found)

    def _marks(self) -> list[StateChange]:
        """Return the marks of the buttons that this run has used, and of those that it has withdrawn."""
        changes = list[StateChange]()
        for conversation, press in withdrawn_presses(self._ctx):
            changes.append(_mark_presses(conversation.key_text, press, self._sink.trigger.now))
        if self._pressed is not None and self._pressed.rules.once:
            owner, now = self._event.conversation.key_text, self._sink.trigger.now
            changes.append(_mark_presses(owner, self._pressed, now, self._event.key))
        return changes


def to_pressed(event: ActionEvent, press: Press) -> ActionEvent:
    """Return the action of a button with limits as the author called it."""
    return replace(event, name=press.name or str(decode_value(event.value)))


def restore_action(event: Event) -> Event:
    """Return an event that was routed before, with the name of the action as the author called it."""
    press = parse_press(event.name) if isinstance(event, ActionEvent) else None
    return to_pressed(event, press) if press is not None and isinstance(event, ActionEvent) else event


def _read_mark(marks: Mapping[str, str], id: str) -> str:
    """Return the mark of the buttons ``id`` among the stored ones; empty if there is none."""
    return str(json.loads(marks[id])) if id in marks else ""


def _mark_presses(owner: str, press: Press, now: float, mark: str = WITHDRAWN_MARK) -> StateChange:
    """Return the change of the state that marks the buttons of a message in the conversation ``owner``."""
    lifetime = max((press.rules.expires_at or now) - now, 0.0) + _MARK_LIFETIME
    return StateChange(PRESS_SCOPE, owner, {press.id: json.dumps(mark)}, lifetimes={press.id: lifetime})
