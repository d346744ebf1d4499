"""Outgoing mentions: replaces ``<@uid:…>`` with SimpleX's names and resolves the members."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cometbot.channels.simplex import ids
from cometbot.channels.simplex.models import Member

_TOKEN = re.compile(r"<@uid:([^<>\s]{1,200})>")
_PLAIN_NAME = re.compile(r"\w+")


def has_mentions(content: Mapping[str, Any]) -> bool:
    """Return True if a content's text contains mentions."""
    return _TOKEN.search(str(content.get("text") or "")) is not None


def resolve_mentions(
    content: Mapping[str, Any], find: Callable[[str], Member | None]
) -> tuple[dict[str, Any], dict[str, int]]:
    """Return ``content`` with names in place of uids, and the group member ids of the mentioned members by name.

    ``find`` returns the member for a uid. If there is none, its uid stays in the text, but nobody is notified. Of two
    members with the same name only the first is notified.
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
    """Return a function that finds a member by uid, or by the id that is the same for all members."""
    by_uid = {
        uid: member
        for member in members
        for uid in (f"{ids.MEMBER_PREFIX}{member.member_id}", ids.get_member_uid(member))
    }
    return by_uid.get
