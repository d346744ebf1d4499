"""Members of CometChat's groups: their scopes, removals and bans."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from cometbot.channels.cometchat.client import CometChatClient
from cometbot.channels.cometchat.schemas import find_user
from cometbot.errors import AuthenticationFailed, NotFound, Rejected
from cometbot.models import User, to_scope

MODERATIONS = ("kick", "ban", "unban")
NOT_A_MEMBER_CODES = frozenset({"ERR_GROUP_NOT_JOINED", "ERR_NOT_A_MEMBER"})
_NO_GROUP = "ERR_GUID_NOT_FOUND"
_PAGE_SIZE = 1000


def get_scope(client: CometChatClient, guid: str, uid: str, timeout: float) -> str:
    """Return what a user is in a group, as CometChat shows the group to that user; empty for nobody of it."""
    try:
        group = client.get_group(guid, on_behalf_of=uid, timeout=timeout)
    except AuthenticationFailed:
        raise
    except Rejected:  # the group or the user is gone, or the group is not shown to others
        return ""
    if not group.get("hasJoined"):
        return ""
    is_owner = str(group.get("owner", "")).lower() == uid.lower()
    return "owner" if is_owner else to_scope(str(group.get("scope") or "participant"))


def list_members(client: CometChatClient, guid: str, timeout: float) -> list[User]:
    """Return all members of a group. The lists of CometChat show an owner as an admin."""
    ends_at = time.monotonic() + timeout
    owner = str(client.get_group(guid, timeout=timeout).get("owner", "")).lower()
    found = []
    for record in client.members(guid, {"perPage": _PAGE_SIZE}, timeout=max(ends_at - time.monotonic(), 0.001)):
        user = find_user(record)
        if user is not None:
            scope = "owner" if user.uid.lower() == owner else to_scope(str(record.get("scope") or "participant"))
            found.append(replace(user, scope=scope))
    return found


def moderate(client: CometChatClient, operation: str, guid: str, user: str, *, by: str, timeout: float) -> None:
    """Carry out one of :data:`MODERATIONS`. A call that changes nothing is no error."""
    ends_at = time.monotonic() + timeout
    act: Callable[..., object] = {"kick": client.kick, "ban": client.ban, "unban": client.unban}[operation]
    try:
        act(guid, user, on_behalf_of=by, timeout=timeout)
    except Rejected as error:
        is_done = {"kick": _is_gone, "ban": _is_banned, "unban": _is_let_in}[operation]
        if not is_done(client, guid, user, error, ends_at):
            raise


def _is_gone(client: CometChatClient, guid: str, user: str, error: Rejected, ends_at: float) -> bool:
    """Return True if a user who could not be kicked is no member. The same code is given if the bot is none."""
    if not isinstance(error, NotFound) and error.status != 404 and error.code not in NOT_A_MEMBER_CODES:
        return False
    if error.code == _NO_GROUP:
        return False
    return not get_scope(client, guid, user, max(ends_at - time.monotonic(), 0.001))


def _is_banned(client: CometChatClient, guid: str, user: str, error: Rejected, ends_at: float) -> bool:
    """Return True if the user was banned already, or does not exist any more."""
    return error.code in ("ERR_ALREADY_BANNED", "ERR_UID_NOT_FOUND")


def _is_let_in(client: CometChatClient, guid: str, user: str, error: Rejected, ends_at: float) -> bool:
    """Return True if the user was not banned, or does not exist any more."""
    return error.code in ("ERR_NOT_A_BANNED_USER", "ERR_UID_NOT_FOUND")
