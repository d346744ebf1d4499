"""References to chats, members and roles in commands: ids, never names, which their owners can choose and change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cometbot.errors import MessageError

ChatKind = Literal["direct", "group", "local", "connection"]

ROLES = ("relay", "observer", "author", "member", "moderator", "admin", "owner")
"""The roles of members, from the fewest rights to the most."""

MAX_ID = 2**63 - 1
_PREFIX_BY_KIND: dict[ChatKind, str] = {"direct": "@", "group": "#", "local": "*", "connection": ":"}
_KIND_BY_PREFIX: dict[str, ChatKind] = {sign: kind for kind, sign in _PREFIX_BY_KIND.items()}
_REF = re.compile(r"([@#*:])(\d{1,19})(?:\(_support(?::(\d{1,19}))?\))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ChatRef:
    """A chat of this CLI's database. ``str`` is its form in commands: ``@4``, ``#3``, ``#3(_support:11)``.

    ``id`` is the id of the contact, group, note folder or pending connection, depending on ``kind``. ``scope`` is
    ``support`` for the chat of one member with a group's moderators: of ``member_id``, or of the bot itself if that is
    None. Raises :class:`MessageError` for invalid ids.
    """

    kind: ChatKind
    id: int
    scope: Literal["", "support"] = ""
    member_id: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in _PREFIX_BY_KIND:
            raise MessageError(f"a chat is direct, group, local or connection, not {self.kind!r}")
        check_id(self.id, f"the id of a {self.kind} chat")
        if self.scope not in ("", "support"):
            raise MessageError(f"the scope of a chat is support or empty, not {self.scope!r}")
        if self.scope and self.kind != "group":
            raise MessageError("only a group has a support scope")
        if self.member_id is not None:
            check_id(self.member_id, "the member of a support scope")
            if not self.scope:
                raise MessageError("a member belongs to the support scope only; set scope='support'")

    @classmethod
    def from_text(cls, text: str) -> ChatRef:
        """Return the chat for a reference in a command's form. Raises :class:`MessageError` if it is invalid."""
        match = _REF.fullmatch(text)
        if match is None:
            raise MessageError(f"{text[:40]!r} names no chat; write @4, #3 or #3(_support:11)")
        scope: Literal["", "support"] = "support" if "(" in text else ""
        return cls(_KIND_BY_PREFIX[match[1]], int(match[2]), scope, int(match[3]) if match[3] else None)

    def __str__(self) -> str:
        member = "" if self.member_id is None else f":{self.member_id}"
        return f"{_PREFIX_BY_KIND[self.kind]}{self.id}" + (f"(_support{member})" if self.scope else "")


def check_id(value: object, what: str) -> int:
    """Return ``value`` if it can be an id of the CLI, from 1 up. Raises :class:`MessageError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_ID:
        raise MessageError(f"{what} must be a whole number from 1 up, as the CLI gave it, not {_shorten(value)}")
    return value


def join_ids(values: Iterable[int], what: str) -> str:
    """Return several ids as one parameter. Raises :class:`MessageError` if there are none, or if one is invalid."""
    ids = [str(check_id(value, what)) for value in values]
    if not ids:
        raise MessageError(f"{what} is missing; give at least one")
    return ",".join(ids)


def check_role(role: str) -> str:
    """Return ``role`` if it is one of :data:`ROLES`. Raises :class:`MessageError` otherwise."""
    if role not in ROLES:
        raise MessageError(f"the role must be one of {', '.join(ROLES)}, not {_shorten(role)}")
    return role


def make_group_ref(group_id: int) -> str:
    """Return the form of a group in commands."""
    return str(ChatRef("group", group_id))


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
