"""Who may press a button, until when, and how often; and what users are told whose press does not count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from cometbot.errors import RegistrationError
from cometbot.models import User

Refusal = Literal["forbidden", "withdrawn", "used", "expired"]
"""Why a press does not count: it is not for this user, its message is gone, it was pressed before, or it is late."""

REFUSAL_TEXTS: Mapping[str, str] = {
    "forbidden": "That is not for you to choose.",
    "withdrawn": "That is no longer on offer.",
    "used": "That has already been chosen.",
    "expired": "It is too late for that now.",
}
"""What users are told by default."""

WITHDRAWN_MARK = "withdrawn"
"""The mark of buttons whose message was deleted or replaced. The mark of used ones is the key of the event."""


@dataclass(frozen=True, slots=True)
class PressRules:
    """The rules of the buttons of a message.

    ``by`` are the ids of the users who may press, empty for everybody. ``expires_at`` is in Unix seconds, None for
    ever. With ``once``, the first press counts.
    """

    by: tuple[str, ...] = ()
    expires_at: float | None = None
    once: bool = False


def user_ids(user: User) -> tuple[str, ...]:
    """Return the ids by which rules may name ``user``."""
    return tuple(filter(None, (user.lasting_id, user.uid)))


def may_press(by: Iterable[str], user: User) -> bool:
    """Return True if ``user`` is one of the users ``by``. Case does not matter."""
    allowed = {uid.casefold() for uid in by}
    return any(uid.casefold() in allowed for uid in user_ids(user))


def find_refusal(rules: PressRules, user: User, now: float, *, event: str = "", mark: str = "") -> Refusal | None:
    """Return why a press does not count, or None if it does.

    ``event`` is the key of the press. ``mark`` is what the buttons are marked with: the key of the press that used
    them, :data:`WITHDRAWN_MARK`, or an empty text. A press that runs again finds its own mark, and counts. Who may not
    press is not told what became of the buttons.
    """
    if rules.by and not may_press(rules.by, user):
        return "forbidden"
    if mark == WITHDRAWN_MARK:
        return "withdrawn"
    if rules.once and mark not in ("", event):
        return "used"
    if rules.expires_at is not None and now >= rules.expires_at and mark != event:
        return "expired"
    return None


def check_refusal_texts(texts: object) -> dict[str, str | None]:
    """Return the texts of all refusals: the default ones, and ``texts`` in their place.

    Raises :class:`RegistrationError` for anything but a mapping of refusals to texts or None.
    """
    known = get_args(Refusal)
    if not isinstance(texts, Mapping) or not all(isinstance(text, str | None) for text in texts.values()):
        raise RegistrationError(f'refusal_texts: expected a dict such as {{"used": "Taken."}}, got {texts!r}')
    unknown = [name for name in texts if name not in known]
    if unknown:
        raise RegistrationError(f"refusal_texts: expected some of {', '.join(known)}, got {unknown[0]!r}")
    return {**REFUSAL_TEXTS, **texts}
