"""Sets the bot's command menu in business chats and in its own groups, where members see the group profile's menu."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from cometbot.channels.simplex.command_menu import is_same_menu
from cometbot.channels.simplex.errors import ConnectionLost, NotConnected
from cometbot.channels.simplex.groups import fetch_groups
from cometbot.channels.simplex.models import GroupInfo
from cometbot.channels.simplex.protocol import Record, commands
from cometbot.channels.simplex.schemas import read_field
from cometbot.channels.simplex.startup import SendCommand
from cometbot.errors import ChannelError, PayloadError

_log = logging.getLogger(__name__)

_GROUP_EVENTS = frozenset(
    {"acceptingBusinessRequest", "businessRequestAlreadyAccepted", "userJoinedGroup", "memberRole", "groupUpdated"}
)
_MEMBER_STATUSES = frozenset({"creator", "connected", "complete"})


class GroupMenuSync(threading.Thread):
    """Writes ``menu`` to the profiles of groups, each time a connection is ready and when a chat appears.

    The groups are the bot's business chats and other groups that it owns. A group whose menu is up to date is not
    changed. ``send_command`` sends commands.
    """

    def __init__(self, menu: list[dict[str, Any]], send_command: SendCommand) -> None:
        super().__init__(name="cometbot-simplex-menus", daemon=True)
        self._menu, self._send_command = menu, send_command
        self._user_id = 0
        self._is_full_sync = self._is_closed = False
        self._pending_groups: deque[GroupInfo] = deque()
        self._changed = threading.Condition()

    def sync_all(self, user_id: int) -> None:
        """Check all groups of the profile ``user_id``. Call this when a connection is ready."""
        with self._changed:
            self._user_id, self._is_full_sync = user_id, True
            self._pending_groups.clear()
            self._changed.notify_all()

    def handle_event(self, record: Record) -> None:
        """Queue the group of an event if a chat appears by it."""
        user = record.raw.get("user")
        if record.type not in _GROUP_EVENTS or (isinstance(user, Mapping) and user.get("userId") != self._user_id):
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

    def close(self) -> None:
        """Stop the thread and wait for it."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self.ident is not None:
            self.join(1)

    def run(self) -> None:
        """Wait for groups and update their menus."""
        while not self._is_closed:
            try:
                self._sync_groups(self._next_groups())
            except (ChannelError, PayloadError) as error:
                # The next connection checks all groups again, the failed ones included.
                _log.info("the command menus of groups could not be looked at: %s", error)
            except Exception:
                _log.exception("bringing the command menu to groups failed")

    def _sync_groups(self, groups: Iterable[GroupInfo]) -> None:
        for group in groups:
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
        listed = fetch_groups(self._send_command, user_id)[0].raw.get("groups")
        groups = [_read_group(raw) for raw in (listed if isinstance(listed, list) else ())]
        return [group for group in groups if group is not None]

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
            _log.info("the command menu could not be brought to the group %d: %s", group.group_id, error)

    def _fetch_group(self, group_id: int) -> GroupInfo | None:
        whole = self._send_command(commands.list_members(group_id)).raw.get("group")
        info = whole.get("groupInfo") if isinstance(whole, Mapping) else None
        return None if info is None else _read_group(info)

    def _is_outdated(self, group: GroupInfo) -> bool:
        return self._is_own_group(group) and not is_same_menu(
            _get_preferences(_get_profile(group)).get("commands"), self._menu
        )

    def _add_menu(self, profile: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in profile.items() if value is not None}
        return {**kept, "groupPreferences": {**_get_preferences(profile), "commands": self._menu}}

    def _is_own_group(self, group: GroupInfo) -> bool:
        own = group.membership
        if own is None or own.status not in _MEMBER_STATUSES:
            return False
        if group.business is not None:
            return group.business.business_id == own.member_id
        return own.role == "owner" and bool(self._menu)


def _read_group(raw: object) -> GroupInfo | None:
    """Return a group of a list, or None for one that cannot be read, so that the others are still handled."""
    try:
        group: GroupInfo | None = read_field(Record("", {"groupInfo": raw}), "groupInfo")
    except PayloadError as error:
        _log.info("a group was left out: %s", error)
        return None
    return group


def _get_profile(group: GroupInfo) -> Mapping[str, Any]:
    profile = group.raw.get("groupProfile")
    if not isinstance(profile, Mapping):
        raise PayloadError("a group has no profile")
    return profile


def _get_preferences(profile: Mapping[str, Any]) -> Mapping[str, Any]:
    given = profile.get("groupPreferences")
    return given if isinstance(given, Mapping) else {}
