"""Sets the bot's command menu in business chats and in its own groups, where members see the group profile's menu."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from cometbot.channels.simplex.background import BackgroundThread
from cometbot.channels.simplex.chats import fetch_groups
from cometbot.channels.simplex.command_menu import is_same_menu
from cometbot.channels.simplex.errors import ConnectionLost, NotConnected
from cometbot.channels.simplex.models import GroupInfo
from cometbot.channels.simplex.protocol import Record, SendCommand, commands
from cometbot.channels.simplex.protocol.objects import Raw, find, find_list, find_object, read_or_none
from cometbot.channels.simplex.schemas import read_field
from cometbot.errors import ChannelError, PayloadError

_log = logging.getLogger(__name__)

_GROUP_EVENTS = frozenset(
    {"acceptingBusinessRequest", "businessRequestAlreadyAccepted", "userJoinedGroup", "memberRole", "groupUpdated"}
)
_MEMBER_STATUSES = frozenset({"creator", "connected", "complete"})


class GroupMenuSync(BackgroundThread):
    """Writes ``menu`` to the profiles of groups, each time a connection is ready and when a chat appears.

    The groups are the bot's business chats and other groups that it owns. A group whose menu is up to date is not
    changed. ``send_command`` sends commands.
    """

    close_timeout = 1.0

    def __init__(self, menu: list[dict[str, Any]], send_command: SendCommand) -> None:
        super().__init__("cometbot-simplex-group-menus", "update the command menus of groups")
        self._menu, self._send_command = menu, send_command
        self._user_id = 0
        self._is_full_sync = False
        self._pending_groups: deque[GroupInfo] = deque()

    def sync_all(self, user_id: int) -> None:
        """Check all groups of the profile ``user_id``. Call this when a connection is ready."""
        with self._changed:
            self._user_id, self._is_full_sync = user_id, True
            self._pending_groups.clear()
            self._changed.notify_all()

    def handle_event(self, record: Record) -> None:
        """Queue the group of an event if a chat appears by it."""
        if record.type not in _GROUP_EVENTS or record.user_id not in (None, self._user_id):
            return
        try:
            group: GroupInfo | None = read_field(record, "toGroup" if record.type == "groupUpdated" else "groupInfo")
        except PayloadError:
            return
        # Somebody else may have changed a group. Only a business chat is the bot's own to correct.
        if group is None or (record.type == "groupUpdated" and group.business is None):
            return
        with self._changed:
            self._pending_groups.append(group)
            self._changed.notify_all()

    def _run_next_task(self) -> None:
        """Wait for groups and update their menus. If that fails, the next connection checks all groups again."""
        for group in self._next_groups():
            if self._is_closed:
                return
            self._sync_group(group)

    def _next_groups(self) -> list[GroupInfo]:
        with self._changed:
            self._changed.wait_for(lambda: self._is_full_sync or self._pending_groups or self._is_closed)
            if self._is_closed:
                return []
            if not self._is_full_sync:
                return [self._pending_groups.popleft()]
            self._is_full_sync, user_id = False, self._user_id
        listed = find_list(fetch_groups(self._send_command, user_id)[0].raw, "groups")
        return list(filter(None, (read_or_none(GroupInfo, raw, logging.INFO) for raw in listed)))

    def _sync_group(self, group: GroupInfo) -> None:
        """Write the menu into the group's current profile.

        It is fetched first: the command replaces the whole profile.
        """
        try:
            if self._is_outdated(group):
                current = self._fetch_group(group.group_id)
                if current is not None and self._is_outdated(current):
                    self._send_command(
                        commands.update_group_profile(current.group_id, self._add_menu(_get_profile(current)))
                    )
        except (NotConnected, ConnectionLost):
            raise
        except (ChannelError, PayloadError) as error:
            _log.info("cannot update the command menu of the group %d: %s", group.group_id, error)

    def _fetch_group(self, group_id: int) -> GroupInfo | None:
        answer = self._send_command(commands.list_members(group_id))
        return read_or_none(GroupInfo, find(answer.raw, "group.groupInfo"), logging.INFO)

    def _is_outdated(self, group: GroupInfo) -> bool:
        return self._is_own_group(group) and not is_same_menu(
            find(_get_profile(group), "groupPreferences.commands"), self._menu
        )

    def _add_menu(self, profile: Raw) -> dict[str, Any]:
        kept = {key: value for key, value in profile.items() if value is not None}
        return {**kept, "groupPreferences": {**find_object(profile, "groupPreferences"), "commands": self._menu}}

    def _is_own_group(self, group: GroupInfo) -> bool:
        own = group.membership
        if own is None or own.status not in _MEMBER_STATUSES:
            return False
        if group.business is not None:
            return group.business.business_id == own.member_id
        return own.role == "owner" and bool(self._menu)


def _get_profile(group: GroupInfo) -> Raw:
    profile = find_object(group.raw, "groupProfile")
    if not profile:
        raise PayloadError("cannot read a group: expected a groupProfile, got none")
    return profile
