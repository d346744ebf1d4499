"""Moderation: the function of a bot that judges messages before other users see them, and what it gets and returns."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from cometbot.errors import BotError, RegistrationError
from cometbot.event_loop import run_coroutine
from cometbot.handlers import check_function, function_name
from cometbot.models import Attachment, Group, Mention, User


@dataclass(frozen=True, slots=True)
class ContextMessage:
    """A text that was written in the conversation before the message to judge. ``uid`` is its sender's."""

    uid: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModerationItem:
    """A message to judge.

    ``text`` is the text or the caption, ``attachments`` are the files of a picture, video, sound or file (``type``).
    CometChat asks about a picture with a caption twice, once for the text and once for the picture, with the same
    ``id``. ``context`` are the texts before it, oldest first: up to ten, as the dashboard says. ``group`` is None in a
    one-to-one conversation, ``receiver`` in a group. ``raw`` is the message as CometChat sent it. Everything but
    ``sender`` may be empty.
    """

    sender: User
    text: str = ""
    context: tuple[ContextMessage, ...] = ()
    type: str = "text"
    category: str = "message"
    attachments: tuple[Attachment, ...] = ()
    mentions: tuple[Mention, ...] = ()
    receiver: User | None = None
    group: Group | None = None
    id: str = ""
    conversation_id: str = ""
    thread_id: str = ""
    sent_at: float = 0.0
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision of a bot about a message: ``match`` is true if the rule of the dashboard applies to it.

    ``confidence`` is between 0 and 1: the rule acts only above its own threshold. ``reason`` is for the people who
    review messages. Raises :class:`BotError` for other values.
    """

    match: bool
    confidence: float = 1.0
    reason: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.match, bool):
            raise BotError(f"Verdict: match: expected True or False, got {_describe(self.match)}")
        if not _is_confidence(self.confidence):
            raise BotError(f"Verdict: confidence: expected a number from 0 to 1, got {_describe(self.confidence)}")
        if not isinstance(self.reason, str):
            raise BotError(f"Verdict: reason: expected a text, got {_describe(self.reason)}")


Decision: TypeAlias = "bool | float | Verdict"
"""The result of a moderation function: True or False, the probability of a match (0 to 1), or a verdict."""

ModerationFunction: TypeAlias = "Callable[[ModerationItem], Decision | Awaitable[Decision]]"

M = TypeVar("M", bound=Callable[[ModerationItem], "Decision | Awaitable[Decision]"])


def check_moderation(function: Any) -> ModerationFunction:
    """Return ``function``. Raises :class:`RegistrationError` if it cannot judge messages."""
    name = function_name(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise RegistrationError(f"{name} is a generator; a moderation function returns True, False or a Verdict")
    check_function(function, name, 1, "def check(item)")
    checked: ModerationFunction = function
    return checked


def moderate(function: ModerationFunction, item: ModerationItem) -> Verdict:
    """Return what a moderation function says about ``item``. An async function runs in the loop of async handlers.

    Raises what it raises, and :class:`BotError` if it returns anything but a decision.
    """
    returned: Any = function(item)
    if inspect.isawaitable(returned):
        returned = run_coroutine(_wait_for(returned))
    return _to_verdict(returned, function_name(function))


async def _wait_for(returned: Awaitable[Any]) -> Any:
    return await returned


def _to_verdict(returned: Any, name: str) -> Verdict:
    if isinstance(returned, Verdict):
        return returned
    if isinstance(returned, bool):
        return Verdict(returned)
    if _is_confidence(returned):
        return Verdict(returned > 0, float(returned))
    raise BotError(f"{name}: expected True, False, a number from 0 to 1, or a Verdict, got {_describe(returned)}")


def _is_confidence(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and not math.isnan(value) and 0 <= value <= 1  # type: ignore[arg-type, operator]


def _describe(value: object) -> str:
    """Return a value that is no decision, without its text: it may be a part of what a user wrote."""
    return repr(value) if value is None or isinstance(value, bool | int | float) else f"a {type(value).__name__}"
