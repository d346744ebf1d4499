"""Hand-offs: what ``ctx.hand_off`` asks for, and how one ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

from cometbot.durations import Duration
from cometbot.errors import BotError
from cometbot.models import Conversation, Group, User
from cometbot.steps import TIMEOUT, Step

MAX_TRANSCRIPT = 100
"""The most messages of the conversation that people are shown."""


@dataclass(frozen=True, slots=True)
class HandOff:
    """How a hand-off has ended, as ``ctx.hand_off`` returns it.

    ``status`` is ``done`` (somebody wrote ``/done``), ``expired`` (nobody did in time), ``cancelled`` (the user wrote
    ``/cancel``, or an operator cancelled it) or ``resumed`` (:meth:`Context.resume`). ``by`` is who wrote ``/done``,
    None otherwise. ``at`` is when it ended, in UTC.
    """

    status: Literal["done", "expired", "cancelled", "resumed"]
    by: User | None
    at: datetime


@dataclass(frozen=True, slots=True)
class HandOffRequest:
    """The arguments of one call of ``ctx.hand_off``."""

    to: Group | Conversation
    text: str = ""
    transcript: int = 20
    timeout: Duration = "8h"
    key: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.to, Group | Conversation):
            raise BotError(f'hand_off: to: expected a Group such as Group("support"), got {self.to!r}')
        if not isinstance(self.text, str):
            raise BotError(f"hand_off: text: expected what people read first, got {self.text!r}")
        is_number = isinstance(self.transcript, int) and not isinstance(self.transcript, bool)
        if not is_number or not 0 <= self.transcript <= MAX_TRANSCRIPT:
            raise BotError(f"hand_off: transcript: expected 0 to {MAX_TRANSCRIPT} messages, got {self.transcript!r}")


def read_result(step: Step) -> HandOff:
    """Return how a hand-off ended that was not refused."""
    result, at = step.result, datetime.fromtimestamp(step.at, timezone.utc)
    ended = result.get("ended")
    if ended == TIMEOUT:
        return HandOff("expired", None, at)
    if ended is not None:
        return HandOff("cancelled", None, at)
    by = User(result["by"]["uid"], result["by"]["name"]) if result.get("by") else None
    return HandOff(result["status"], by, at)
