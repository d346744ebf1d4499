"""The limits of a bot, beyond which an event gets no handler, and the answers that users get instead."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cometbot.commands import parse_call
from cometbot.context import Context
from cometbot.dialogs import DIALOGS_KEY
from cometbot.events import ActionEvent, HandOffEvent, JobEvent, MessageEvent
from cometbot.opt_outs import OPT_OUT, find_choice, opt
from cometbot.outcomes import Outcome
from cometbot.rates import Rate, RateWindow
from cometbot.sinks import ReplySink
from cometbot.state import RESERVED_PREFIX, StateChange, owner_of
from cometbot.steps import DialogEvent
from cometbot.token_budget import describe_seconds

USER_LIMIT, GROUP_ANSWERS, MAINTENANCE = "user_limit", "group_answers", "maintenance"
"""The limits, as they are recorded in place of a handler."""

_MESSAGES, _NOTIFIED = f"{RESERVED_PREFIX}messages", f"{RESERVED_PREFIX}notified"
"""The beginnings of the keys in a user's state that count messages, and refusals that the user was notified of."""

_ANSWERS = f"{RESERVED_PREFIX}answers"
"""The beginning of the key in the state of a group that counts what was answered."""


@dataclass(frozen=True, slots=True)
class LimitReached:
    """The reason why an event gets no handler, and the answer instead, None for no answer.

    ``limit`` is one of the limits above, or :data:`OPT_OUT` for a user who opts out of broadcasts, or in.
    """

    limit: str
    text: str | None = None


class EventLimits:
    """The limits for one event: ``maintenance``, ``group_answers`` and ``user_limit`` of its bot.

    They do not hold for a user who opts out of broadcasts, or in.
    """

    def __init__(self, ctx: Context, sink: ReplySink, *, sender_is_bot: bool) -> None:
        self._ctx = ctx
        self._sink = sink
        self._sender_is_bot = sender_is_bot
        self._event = ctx.event
        self._counted_for_user = ""
        self._is_group_counted = False

    def check(self) -> LimitReached | None:
        """Return the limit that the event has reached, or None if it gets its handler."""
        ctx, event = self._ctx, self._event
        if isinstance(event, DialogEvent | HandOffEvent | JobEvent):  # no user caused it now
            return None
        if not self._sender_is_bot and (is_out := find_choice(ctx)) is not None:
            return LimitReached(OPT_OUT, opt(ctx, out=is_out))
        is_written = isinstance(event, MessageEvent | ActionEvent)
        if ctx.bot.maintenance:
            gets_text = is_written and not self._sender_is_bot and is_for_bot(ctx)
            return LimitReached(MAINTENANCE, ctx.bot.maintenance if gets_text else None)
        if not is_written:
            return None
        if ctx.bot.group_answers is not None and ctx.conversation.is_group:
            if not self._sink.is_rerun and self._count_answers(ctx.bot.group_answers) >= ctx.bot.group_answers.limit:
                return LimitReached(GROUP_ANSWERS)
            self._is_group_counted = True
        if ctx.bot.user_limit is not None and ctx.sender_id and is_for_bot(ctx):
            return self._check_user(ctx.bot.user_limit)
        return None

    def count(self, outcome: Outcome) -> Outcome:
        """Return ``outcome`` with the changes of the state that count the event."""
        if outcome.retry_in is not None:
            return outcome
        changes: list[StateChange] = []
        bot = self._ctx.bot
        if self._counted_for_user and bot.user_limit and (outcome.handler or self._counted_for_user == _NOTIFIED):
            window = self._user_window(bot.user_limit)
            changes.append(_make_change("user", self._user_owner, self._counted_for_user, window))
        if self._is_group_counted and bot.group_answers and self._has_answered(outcome):
            window = bot.group_answers.window(self._sink.trigger.now)
            changes.append(_make_change("conversation", owner_of(self._ctx.state), _ANSWERS, window))
        return replace(outcome, changes=(*outcome.changes, *changes)) if changes else outcome

    def _check_user(self, rate: Rate) -> LimitReached | None:
        window = self._user_window(rate)
        stored = self._sink.load_state("user", self._user_owner)
        if self._sink.is_rerun or int(json.loads(stored.get(_key(_MESSAGES, window), "0"))) < rate.limit:
            self._counted_for_user = _MESSAGES
            return None
        text = self._ctx.bot.user_limit_text
        if not text or self._sender_is_bot or _key(_NOTIFIED, window) in stored:
            return LimitReached(USER_LIMIT)
        self._counted_for_user = _NOTIFIED
        renewed = describe_seconds(window.ends_at - self._sink.trigger.now)
        return LimitReached(USER_LIMIT, text.replace("{renewed}", renewed))

    def _count_answers(self, rate: Rate) -> int:
        window = rate.window(self._sink.trigger.now)
        return int(self._ctx.state.get(_key(_ANSWERS, window), 0))

    def _has_answered(self, outcome: Outcome) -> bool:
        said = (*self._ctx.said, *outcome.operations)
        return any(item.message is not None and item.conversation == self._event.conversation for item in said)

    def _user_window(self, rate: Rate) -> RateWindow:
        """Return the period in which the message arrived, also if it had to wait."""
        return rate.window(self._sink.trigger.received_at)

    @property
    def _user_owner(self) -> str:
        key = self._event.conversation.key
        return f"{key.channel}/{key.account}/{key.bot}/{self._event.sender.lasting_id or self._event.sender.uid}"


def is_for_bot(ctx: Context) -> bool:
    """Return True if a message or press is meant for the bot.

    Everything in a one-to-one conversation is; in a group a press, a mention, a quotation of the bot, one of its
    commands, and what is written by a user whom the bot has asked something.
    """
    event = ctx.event
    if not ctx.conversation.is_group or isinstance(event, ActionEvent) or ctx.is_mentioned:
        return True
    own = [uid.lower() for uid in ctx.bot.ids]
    if isinstance(event, MessageEvent) and event.quote is not None and event.quote.sender.lower() in own:
        return True
    call = parse_call(ctx.text)
    if call is not None and call.has_slash and ctx.bot.routes.has_command(call.name):
        return True
    asked: Sequence[dict[str, str]] = ctx.state.get(DIALOGS_KEY) or ()
    return any(item["user"] == ctx.sender_id for item in asked)


def _key(prefix: str, window: RateWindow) -> str:
    return f"{prefix}:{window.name}"


def _make_change(scope: str, owner: str, prefix: str, window: RateWindow) -> StateChange:
    name = _key(prefix, window)
    return StateChange(scope, owner, increments={name: 1}, lifetimes={name: window.seconds})
