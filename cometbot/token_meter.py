"""The token budget of the user of one event: what is left of it, and what a handler adds."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cometbot.bot import Bot
from cometbot.errors import TokenBudgetExceeded
from cometbot.sinks import ReplySink
from cometbot.state import RESERVED_PREFIX, StateChange
from cometbot.token_budget import Window, describe_seconds
from cometbot.token_usage import ModelUsage, ReportedUsage

TOKENS_KEY = f"{RESERVED_PREFIX}tokens"
"""The beginning of the keys in a user's state that hold the tokens of one period."""


class TokenMeter:
    """Counts the tokens of models for the user whose state has this ``owner``; empty if nobody caused the event.

    With ``is_repeating``, the handler repeats what an earlier run has done: nothing is counted or refused.
    """

    def __init__(self, bot: Bot, sink: ReplySink, owner: str, *, is_repeating: bool) -> None:
        self._bot = bot
        self._sink = sink
        self._owner = owner
        self._is_repeating = is_repeating

    def add(self, usage: ModelUsage) -> None:
        """Record a call of a model, unless an earlier run has."""
        if not self._is_repeating:
            self._sink.record_usage(ReportedUsage(usage, self._make_change(usage)))

    @property
    def left(self) -> int | None:
        """The tokens that the user may still use now, or None without a budget."""
        budget, window = self._bot.token_budget, self._window
        if budget is None or window is None:
            return None
        name = _key(window)
        used = int(json.loads(self._sink.load_state("user", self._owner).get(name, "0")))
        for change in [item.change for item in self._sink.pending_usage if item.change is not None]:
            if change.owner == self._owner:
                used += int(change.increments.get(name, 0))
        return max(0, budget.limit - used)

    def check(self) -> None:
        """Raise :class:`TokenBudgetExceeded` if the user has no tokens left."""
        window = self._window
        if window is not None and not self._is_repeating and self.left == 0:
            raise TokenBudgetExceeded(renewed_at=window.ends_at)

    @property
    def exceeded_text(self) -> str | None:
        """What the bot says to a user without tokens, or None."""
        text, window = self._bot.token_budget_text, self._window
        if not text or window is None:
            return None
        renewed = describe_seconds(window.seconds_left(self._sink.trigger.now))
        return text.replace("{renewed}", renewed).replace("{renewed_at}", f"{window.ends_at:%Y-%m-%d %H:%M} UTC")

    @property
    def _window(self) -> Window | None:
        """Today's period of the budget; None without a budget or a user."""
        budget = self._bot.token_budget
        return budget.window(self._sink.trigger.now) if budget is not None and self._owner else None

    def _make_change(self, usage: ModelUsage) -> StateChange | None:
        window = self._window
        if window is None or not usage.total:
            return None
        name, lifetime = _key(window), window.seconds_left(self._sink.trigger.now)
        return StateChange("user", self._owner, increments={name: usage.total}, lifetimes={name: lifetime})


def find_exceeded(error: BaseException) -> TokenBudgetExceeded | None:
    """Return the exceeded budget that an error is, or that all errors of a group are; None for other errors."""
    if isinstance(error, TokenBudgetExceeded):
        return error
    errors: Sequence[BaseException] = getattr(error, "exceptions", ())
    found = [find_exceeded(item) for item in errors]
    return found[0] if found and all(found) else None


def _key(window: Window) -> str:
    return f"{TOKENS_KEY}:{window.name}"
