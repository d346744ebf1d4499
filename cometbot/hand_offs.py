"""Hand-offs: the request of ``ctx.hand_off``, and its result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from cometbot.durations import Duration
from cometbot.errors import BotError
from cometbot.events import HandOffEvent
from cometbot.models import Conversation, Group, User
from cometbot.steps import REFUSED, TIMEOUT, Step

HANDED_BACK = "Handed back"
"""The beginning of the texts that tell people how a hand-off has ended."""

WITHDRAWN_TEXT = f"{HANDED_BACK}: the request was withdrawn."

MAX_TRANSCRIPT = 100
"""The most messages of the conversation that people are shown."""


@dataclass(frozen=True, slots=True)
class HandOff:
    """The end of a hand-off, as ``ctx.hand_off`` returns it.

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
    status, by = _read_end(step.result)
    return HandOff(status, by, datetime.fromtimestamp(step.at, timezone.utc))


def make_event_body(result: Mapping[str, Any], user: str) -> bytes | None:
    """Return the body of the event that a hand-off of ``user`` has ended so; None if the platform refused it."""
    if result.get("ended") == REFUSED:
        return None
    status, by = _read_end(result)
    person = {"uid": by.uid, "name": by.name} if by is not None else None
    return json.dumps({"status": status, "by": person, "user": user}).encode()


def parse_event(key: str, conversation: Conversation, body: bytes) -> HandOffEvent:
    """Return the event with a body of :func:`make_event_body`."""
    fields = json.loads(body)
    by = User(**fields["by"]) if fields["by"] else None
    return HandOffEvent(key=key, conversation=conversation, sender=User(fields["user"]), status=fields["status"], by=by)


def _read_end(result: Mapping[str, Any]) -> tuple[Literal["done", "expired", "cancelled", "resumed"], User | None]:
    ended = result.get("ended")
    if ended is not None:
        return "expired" if ended == TIMEOUT else "cancelled", None
    by = User(result["by"]["uid"], result["by"]["name"]) if result.get("by") else None
    return result["status"], by
