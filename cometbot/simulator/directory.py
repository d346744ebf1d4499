"""The users, groups and bots of the simulated app, with the rules for their ids and fields."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from cometbot.simulator.errors import Refusal, bad_request
from cometbot.simulator.records import APP_SYSTEM, BOT_KEYS, GROUP_KEYS, USER_KEYS, BotRecord, GroupRecord, UserRecord

MAX_BOTS = 25
_ID_PATTERN = re.compile(r"[a-z0-9_-]{1,100}")


class Directory:
    """The users, groups and bots. The schemas have validated the bodies.

    Not thread-safe: callers must hold the world's lock.
    """

    def __init__(self) -> None:
        self.users: dict[str, UserRecord] = {}
        self.groups: dict[str, GroupRecord] = {}
        self.bots: dict[str, BotRecord] = {}
        self.system = UserRecord(APP_SYSTEM, "System", created_at=0)

    def user(self, uid: str) -> UserRecord:
        """Return the active user with this uid, ignoring case. Raises ``ERR_UID_NOT_FOUND`` if there is none."""
        user = self.find_user(uid)
        if user is None or not user.is_active:
            raise _unknown_user(uid)
        return user

    def find_user(self, uid: str) -> UserRecord | None:
        """Return the user with this uid, or None. Includes deactivated users and the service account."""
        uid = uid.lower()
        return self.system if uid == APP_SYSTEM else self.users.get(uid)

    def group(self, guid: str) -> GroupRecord:
        """Return the group with this guid, ignoring case. Raises ``ERR_GUID_NOT_FOUND`` if there is none."""
        group = self.groups.get(guid.lower())
        if group is None:
            raise Refusal("ERR_GUID_NOT_FOUND", f"The group with GUID {guid.lower()} does not exist.")
        return group

    def bot(self, uid: str) -> BotRecord:
        """Return the bot with this uid, ignoring case. Raises ``ERR_BOT_NOT_FOUND`` if there is none."""
        bot = self.bots.get(uid.lower())
        if bot is None:
            raise Refusal("ERR_BOT_NOT_FOUND", f"The bot with UID {uid.lower()} does not exist.")
        return bot

    def create_user(self, body: Mapping[str, Any], now: int) -> UserRecord:
        """Create a user. Raises ``ERR_UID_ALREADY_EXISTS`` or ``ERR_INVALID_UID``."""
        uid = _validate_id(body["uid"], "uid", "ERR_INVALID_UID")
        if uid in self.users or uid == APP_SYSTEM:
            raise Refusal("ERR_UID_ALREADY_EXISTS", f"A user with UID {uid} already exists.")
        user = UserRecord(uid, body["name"], created_at=now)
        _assign(user, body, USER_KEYS)
        self.users[uid] = user
        return user

    def update_user(self, uid: str, body: Mapping[str, Any], now: int) -> UserRecord:
        """Update the fields that ``body`` names, clear those that its ``unset`` lists, and return the user."""
        user = self.user(uid)
        _update(user, body, USER_KEYS, now)
        return user

    def delete_user(self, uid: str, *, permanent: bool, now: int) -> UserRecord:
        """Delete a user if ``permanent``, else deactivate them, and return the user.

        A deleted user is no longer a bot and is removed from all groups.
        """
        user = self.find_user(uid)
        if user is None or user is self.system:
            raise _unknown_user(uid)
        user.deactivated_at = user.deactivated_at or now
        if permanent:
            del self.users[user.uid]
            self.bots.pop(user.uid, None)
            for other in self.users.values():
                other.friends.discard(user.uid)
                other.blocked.pop(user.uid, None)
            for group in self.groups.values():
                group.members.pop(user.uid, None)
        return user

    def activate(self, uids: Iterable[str], *, now: int, active: bool) -> list[str]:
        """Activate or deactivate users and return their uids.

        Raises ``ERR_UID_NOT_FOUND`` for an unknown uid before any user is changed.
        """
        users = []
        for uid in uids:
            user = self.users.get(uid.lower())
            if user is None:
                raise _unknown_user(uid)
            users.append(user)
        for user in users:
            user.deactivated_at = 0 if active else now
        return [user.uid for user in users]

    def create_group(self, body: Mapping[str, Any], now: int) -> GroupRecord:
        """Create a group without members. Refuses a guid that exists with status 400, like CometChat."""
        guid = _validate_id(body["guid"], "guid", "ERR_BAD_REQUEST")
        if guid in self.groups:
            raise Refusal("ERR_GUID_ALREADY_EXISTS", f"A group with GUID {guid} already exists.")
        if body["type"] == "password" and not body.get("password"):
            raise Refusal("ERR_EMPTY_GROUP_PASS", "A group of type password needs a password.")
        group = GroupRecord(guid, body["name"], created_at=now)
        _assign(group, body, GROUP_KEYS)
        self.groups[guid] = group
        return group

    def update_group(self, guid: str, body: Mapping[str, Any], now: int) -> GroupRecord:
        """Update the fields that ``body`` names, clear those that its ``unset`` lists, and return the group."""
        group = self.group(guid)
        if body.get("type") == "password" and not (body.get("password") or group.password):
            raise Refusal("ERR_EMPTY_GROUP_PASS", "A group of type password needs a password.")
        _update(group, body, GROUP_KEYS, now)
        return group

    def create_bot(self, body: Mapping[str, Any], now: int) -> BotRecord:
        """Make an existing user a bot. Credentials are stored only with ``useBasicAuth``, as on CometChat."""
        uid = self.user(body["uid"]).uid
        if len(uid) > 50:
            raise bad_request("uid", "The uid may not be greater than 50 characters.")
        if uid in self.bots:
            raise Refusal("ERR_BOT_ALREADY_EXISTS", f"The user with UID {uid} is already a bot.")
        if len(self.bots) >= MAX_BOTS:
            raise Refusal("ERR_PLAN_QUOTA_RESTRICTION", f"An app can have at most {MAX_BOTS} bots.")
        bot = BotRecord(uid, body["webhookURL"], created_at=now)
        _assign(bot, body, BOT_KEYS)
        if not bot.use_basic_auth:
            bot.username = bot.password = ""
        self.bots[uid] = bot
        return bot

    def update_bot(self, uid: str, body: Mapping[str, Any], now: int) -> BotRecord:
        """Update the fields that ``body`` names and return the bot.

        Credentials are stored regardless of ``useBasicAuth``.
        """
        bot = self.bot(uid)
        _update(bot, body, BOT_KEYS, now)
        return bot

    def delete_bot(self, uid: str) -> BotRecord:
        """Remove the bot and return it. Its user and messages stay."""
        return self.bots.pop(self.bot(uid).uid)


def check_joined(group: GroupRecord, uid: str) -> None:
    """Raise ``ERR_GROUP_NOT_JOINED`` unless the user is a member of the group."""
    if uid not in group.members:
        raise Refusal("ERR_GROUP_NOT_JOINED", f"The user {uid} is not a member of the group {group.guid}.")


def _unknown_user(uid: str) -> Refusal:
    return Refusal("ERR_UID_NOT_FOUND", f"The user with UID {uid.lower()} does not exist.")


def _validate_id(value: str, field: str, code: str) -> str:
    text = value.lower()
    if not _ID_PATTERN.fullmatch(text):
        reason = f"The {field} may only have a-z, 0-9, - and _, and at most 100 characters."
        raise Refusal(code, reason, details={field: [reason]} if code == "ERR_BAD_REQUEST" else None)
    return text


_READ_ONLY_KEYS = {"uid", "guid", "status", "createdAt", "updatedAt", "lastActiveAt", "deactivatedAt"}


def _assign(record: Any, body: Mapping[str, Any], keys: Mapping[str, str]) -> None:
    """Set the fields that ``body`` names, except those that only the simulator sets."""
    for key in body.keys() & keys.keys() - _READ_ONLY_KEYS:
        setattr(record, keys[key], tuple(body[key]) if key == "tags" else body[key])


def _update(record: Any, body: Mapping[str, Any], keys: Mapping[str, str], now: int) -> None:
    """Set the fields that ``body`` names, and clear those that its ``unset`` lists."""
    _assign(record, body, keys)
    for name in body.get("unset", ()):
        setattr(record, name, {} if name == "metadata" else "")
    record.updated_at = now
