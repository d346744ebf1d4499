"""Who may press a button, until when, and how often; and what users are told whose press does not count."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from cometbot.durations import Duration, to_seconds
from cometbot.errors import BotError, MessageError, RegistrationError
from cometbot.models import User

PRESS_PREFIX = "cometbot:press:"
"""The prefix of the action names of buttons with limits; the :class:`Press` follows as JSON."""

DEFAULT_LIFETIME = 30 * 86400.0
"""Seconds after which buttons end that have limits and no ``expires``: what they were used for is not kept for ever."""

Refusal = Literal["forbidden", "withdrawn", "used", "expired"]
"""Why a press does not count: it is not for this user, its message is gone, it was pressed before, or it is late."""

REFUSAL_TEXTS: Mapping[str, str] = {
    "forbidden": "That is not for you to choose.",
    "withdrawn": "That is no longer on offer.",
    "used": "That has already been chosen.",
    "expired": "It is too late for that now.",
}
"""What users are told by default."""

PRESS_SCOPE = "press"
"""The scope of the state that holds the marks of buttons, by conversation; only a press of such a button reads it."""

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


@dataclass(frozen=True, kw_only=True)
class Limited:
    """A part of a message: who may press its buttons, until when, and how often.

    ``by`` are the users who may, each a uid or a :class:`User` (None: everybody). ``expires`` is a duration such as
    ``"1d"``, from when the message is said. With ``once``, the first press counts, of whichever button.
    """

    by: Sequence[str | User] | None = None
    expires: Duration | None = None
    once: bool = False

    @property
    def has_limits(self) -> bool:
        """True if not everybody may press as often and as late as they like."""
        return self.by is not None or self.expires is not None or self.once

    def make_rules(self, now: float) -> PressRules:
        """Return the limits as they apply to a message that is said ``now``."""
        seconds = DEFAULT_LIFETIME if self.expires is None else to_seconds(self.expires, "expires")
        return PressRules(to_uids(self.by or ()), round(now + seconds, 3), self.once)

    def check_limits(self, *, has_buttons: bool) -> None:
        """Raise :class:`MessageError` for limits that make no sense, and without anything to press."""
        what = f"a {type(self).__name__}'s"
        if self.by is not None:
            _check_users(self.by, what)
        if self.expires is not None:
            try:
                to_seconds(self.expires, f"{what} expires")
            except BotError as error:
                raise MessageError(str(error)) from None
        if not isinstance(self.once, bool):
            raise MessageError(f"{what} once: expected True or False, got {self.once!r}")
        if self.has_limits and not has_buttons:
            raise MessageError(f"{what} by, expires and once are for its buttons, and it has none")


def _check_users(by: object, what: str) -> None:
    users = by if isinstance(by, Sequence) and not isinstance(by, str) else [None]
    if not all(isinstance(item, User) or (isinstance(item, str) and item.strip()) for item in users):
        raise MessageError(f'{what} by: expected a list of uids, such as ["tom"], got {by!r}')
    if not by:
        raise MessageError(f"{what} by: expected at least one user, got an empty list; nobody could press")


@dataclass(frozen=True, slots=True)
class Press:
    """A button with limits: ``id`` is that of its message, ``name`` the action as the author called it.

    ``name`` is empty if the value names the action.
    """

    id: str
    rules: PressRules
    name: str

    def to_action_name(self) -> str:
        """Return the action name that travels with the button."""
        rules = self.rules
        return PRESS_PREFIX + json.dumps([self.id, list(rules.by), rules.expires_at, rules.once, self.name])


def is_press(name: str) -> bool:
    """Return True for the action name of a button with limits."""
    return name.startswith(PRESS_PREFIX)


def parse_press(name: str) -> Press | None:
    """Return the button that an action name stands for, or None for any other name."""
    if not is_press(name):
        return None
    try:
        id, by, expires_at, once, action = json.loads(name[len(PRESS_PREFIX) :])
        return Press(str(id), PressRules(tuple(map(str, by)), float(expires_at), bool(once)), str(action))
    except (ValueError, TypeError):
        return None


def user_ids(user: User) -> tuple[str, ...]:
    """Return the ids by which rules may name ``user``."""
    return tuple(filter(None, (user.lasting_id, user.uid)))


def to_uids(users: Iterable[str | User]) -> tuple[str, ...]:
    """Return the id of each user by which rules name them."""
    return tuple(user_ids(user)[0] if isinstance(user, User) else user for user in users)


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
