"""The tokens of models that handlers report.

They are stored and counted by the commit that stores the run's next steps, or that ends the run. So they count once,
however often the handler runs for the same message, and they also count if it fails.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass

from cometbot.errors import BotError
from cometbot.state import StateChange
from cometbot.text import replace_surrogates
from cometbot.token_budget import MAX_TOKENS

MAX_MODEL_LENGTH = 100
"""The characters of a model's name that are kept."""


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """The tokens of one call of a model. ``cached`` is the part of ``input`` that the provider had in its cache."""

    model: str
    input: int = 0
    output: int = 0
    cached: int = 0

    @property
    def total(self) -> int:
        """The tokens that count towards a budget."""
        return self.input + self.output


@dataclass(frozen=True, slots=True, eq=False)
class ReportedUsage:
    """A call that a run has reported. ``change`` adds it to what the user has used; None without a budget."""

    usage: ModelUsage
    change: StateChange | None = None


def make_usage(model: object, *, input: object, output: object, cached: object) -> ModelUsage:
    """Return the usage that an author reports; None counts as 0. Raises :class:`BotError` for what is no number."""
    return ModelUsage(
        _check_model(model),
        _check_tokens("input", input),
        _check_tokens("output", output),
        _check_tokens("cached", cached),
    )


def merge_changes(reported: Sequence[ReportedUsage]) -> tuple[StateChange, ...]:
    """Return the changes of the state that the calls make together: one for each user."""
    merged: dict[tuple[str, str], StateChange] = {}
    for change in [item.change for item in reported if item.change is not None]:
        key = change.scope, change.owner
        whole = merged.setdefault(key, StateChange(*key))
        for name, by in change.increments.items():
            whole.increments[name] = whole.increments.get(name, 0) + by
        whole.lifetimes.update(change.lifetimes)
    return tuple(merged.values())


def _check_model(model: object) -> str:
    name = " ".join(replace_surrogates(model).split()) if isinstance(model, str) else ""
    if not name:
        raise BotError(f'usage: model: expected a name such as "gpt-5", got {reprlib.repr(model)}')
    return name if len(name) <= MAX_MODEL_LENGTH else f"{name[: MAX_MODEL_LENGTH - 1]}…"


def _check_tokens(name: str, value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TOKENS:
        raise BotError(f"usage: {name}: expected a number of tokens, an int from 0, or None; got {reprlib.repr(value)}")
    return value
