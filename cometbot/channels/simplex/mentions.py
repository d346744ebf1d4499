"""Mentions on their way out: ``<@uid:…>`` becomes the name that SimpleX shows, and the member that it means."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cometbot.channels.simplex import ids
from cometbot.channels.simplex.models import Member

_TOKEN = re.compile(r"<@uid:([^<>\s]{1,200})>")
_PLAIN_NAME = re.compile(r"\w+")


def has_mentions(content: Mapping[str, Any]) -> bool:
    """Whether a content's text names anybody."""
    return _TOKEN.search(str(content.get("text") or "")) is not None


def resolve_mentions(
    content: Mapping[str, Any], find: Callable[[str], Member | None]
) -> tuple[dict[str, Any], dict[str, int]]:
    """``content`` with names in place of uids, and the members that they mean by name.

    ``find`` gives the member behind a uid; who is none is named without being told. Of two members with the same name
    only the first is told.
    """
    mentioned: dict[str, int] = {}

    def name(match: re.Match[str]) -> str:
        member = find(match[1])
        if member is None:
            return f"@{match[1]}"
        display_name = member.profile.display_name or member.name
        if "'" in display_name or not display_name.strip():
            return f"@{display_name or match[1]}"
        mentioned.setdefault(display_name, member.group_member_id)
        return f"@{display_name}" if _PLAIN_NAME.fullmatch(display_name) else f"@'{display_name}'"

    return {**content, "text": _TOKEN.sub(name, str(content.get("text") or ""))}, mentioned


def make_member_finder(members: list[Member]) -> Callable[[str], Member | None]:
    """Looks members up by their uid, or by the id that all members know them by."""
    by_uid = {
        uid: member
        for member in members
        for uid in (f"{ids.MEMBER_PREFIX}{member.member_id}", ids.get_member_uid(member))
    }
    return by_uid.get
