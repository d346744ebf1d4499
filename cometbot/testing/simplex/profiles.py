"""Profiles and addresses of the fake CLI."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cometbot.testing.simplex import api_objects
from cometbot.testing.simplex.api_objects import JsonObject
from cometbot.testing.simplex.command_grammar import PARSE_ERROR_TEXT, Request
from cometbot.testing.simplex.console_commands import auto_accept_settings
from cometbot.testing.simplex.state import CommandRefused, FakeState, chat_refusal, find_row, store_refusal

ROLES = ("relay", "observer", "author", "member", "moderator", "admin", "owner")
_LOCAL_FIELDS = ("profileId", "localAlias", "localBadge", "contactDomainVerified")


class CommandHandlerBase:
    """The base class of the command handlers, which share one state."""

    def __init__(self, state: FakeState) -> None:
        self.state = state

    def reply(self, tag: str, **fields: Any) -> JsonObject:
        """Return an answer about the active profile. Fields that are None are left out."""
        given = {key: value for key, value in fields.items() if value is not None}
        return {"type": tag, "user": api_objects.copy(self.state.user), **api_objects.copy(given)}

    def reply_ok(self) -> JsonObject:
        """Return the answer of a command without a result."""
        return {"type": "cmdOk", "user_": api_objects.copy(self.state.user)}

    def require_role(self, request: Request, *roles: str) -> JsonObject:
        """Return the group. Raises :class:`CommandRefused` if the bot's role in it is below one of ``roles``."""
        group = self.state.group(request.number("group"))
        role = max(roles, key=ROLES.index)
        if ROLES.index(group["info"]["membership"]["memberRole"]) < ROLES.index(role):
            raise chat_refusal("groupUserRole", groupInfo=api_objects.copy(group["info"]), requiredRole=role)
        return group

    def group_info(self, request: Request) -> JsonObject:
        """Return the group that a command names."""
        info: JsonObject = self.state.group(request.number("group"))["info"]
        return info


def unparsable_command() -> CommandRefused:
    """Return the CLI's error for a command that it cannot parse."""
    return chat_refusal("commandError", message=PARSE_ERROR_TEXT)


def require_object(value: object, *required: str) -> JsonObject:
    """Return a JSON object with the required string fields. Raises :class:`CommandRefused` for any other value."""
    if not isinstance(value, dict) or any(not isinstance(value.get(name), str) for name in required):
        raise unparsable_command()
    return value


class ProfileCommands(CommandHandlerBase):
    """The commands for profiles and addresses."""

    def do_show_user(self, request: Request) -> JsonObject:
        """Return the active profile."""
        return self.reply("activeUser")

    def do_show_profile(self, request: Request) -> JsonObject:
        """Return the public profile."""
        return self.reply("userProfile", profile=self._public_profile(self.state.user))

    def do_create_user(self, request: Request) -> JsonObject:
        """Create a profile."""
        wanted = require_object(request.json)
        profile = require_object(wanted.get("profile") or {"displayName": "", "fullName": ""}, "displayName")
        self._check_name(profile["displayName"])
        for user in self.state.users.values():
            if user["profile"]["displayName"] == profile["displayName"]:
                raise chat_refusal("userExists", contactName=profile["displayName"])
        self.state.add_user(profile)
        return self.reply("activeUser")

    def do_list_users(self, request: Request) -> JsonObject:
        """Return all profiles."""
        users = [{"user": user, "unreadCount": 0} for user in self.state.users.values()]
        return {"type": "usersList", "users": api_objects.copy(users)}

    def do_set_user(self, request: Request) -> JsonObject:
        """Activate another profile."""
        user = self._user(request)
        for other in self.state.users.values():
            other["activeUser"] = other is user
        return self.reply("activeUser")

    def do_delete_user(self, request: Request) -> JsonObject:
        """Delete a profile, except for the active one and the last one."""
        user = self._user(request)
        if len(self.state.users) == 1:
            raise chat_refusal("cantDeleteLastUser", userId=user["userId"])
        if user["activeUser"]:
            raise chat_refusal("cantDeleteActiveUser", userId=user["userId"])
        del self.state.users[str(user["userId"])]
        return {"type": "cmdOk"}

    def _user(self, request: Request) -> JsonObject:
        number = request.number("user")
        return find_row(self.state.users, number, store_refusal("userNotFound", userId=number))

    def do_update_profile(self, request: Request) -> JsonObject:
        """Replace the whole profile."""
        user = self.state.user
        profile = require_object(request.json, "displayName", "fullName")
        self._check_name(profile["displayName"])
        before = self._public_profile(user)
        if before == profile:
            return self.reply("userProfileNoChange")
        return self._replace(user, profile)

    def _replace(self, user: JsonObject, profile: JsonObject) -> JsonObject:
        before = self._public_profile(user)
        fresh = api_objects.user(user["userId"], profile)
        for key in ("localDisplayName", "profile", "fullPreferences"):
            user[key] = fresh[key]
        contact_count = len(self.state.contacts)
        summary = {"updateSuccesses": contact_count, "updateFailures": 0, "changedContacts": []}
        return self.reply("userProfileUpdated", fromProfile=before, toProfile=profile, updateSummary=summary)

    def _public_profile(self, user: JsonObject) -> JsonObject:
        return {key: api_objects.copy(value) for key, value in user["profile"].items() if key not in _LOCAL_FIELDS}

    def _check_name(self, name: str) -> None:
        valid = "".join(character for character in name if character.isprintable() and character != "'").strip(" @#")
        if not name or name != valid:
            raise chat_refusal("invalidDisplayName", displayName=name, validName=valid)

    def do_member_contacts(self, request: Request) -> JsonObject:
        """Allow members to open a direct chat, or not."""
        user = self.state.user
        user["autoAcceptMemberContacts"] = request.is_on()
        return self.reply_ok()

    # Addresses

    def do_show_address(self, request: Request) -> JsonObject:
        """Return the address."""
        return self.reply("userContactLink", contactLink=self._address(request))

    def do_create_address(self, request: Request) -> JsonObject:
        """Create an address if there is none."""
        user = self.state.user
        if str(user["userId"]) in self.state.addresses:
            raise store_refusal("duplicateContactLink")
        address = api_objects.user_contact_link(self.state.next_number("link"), {"businessAddress": False})
        self.state.addresses[str(user["userId"])] = address
        return self.reply("userContactLinkCreated", connLinkContact=address["connLinkContact"])

    def do_delete_address(self, request: Request) -> JsonObject:
        """Delete the address."""
        self._address(request)
        del self.state.addresses[request.text("user")]
        return self.reply("userContactLinkDeleted")

    def do_address_settings(self, request: Request) -> JsonObject:
        """Replace all address settings."""
        address = self._address(request)
        settings = require_object(request.json)
        if not isinstance(settings.get("businessAddress"), bool):
            raise unparsable_command()
        address["addressSettings"] = {key: value for key, value in settings.items() if value is not None}
        return self.reply("userContactLinkUpdated", contactLink=address)

    def do_auto_accept(self, request: Request) -> JsonObject:
        """Replace the address settings by the console's command."""
        return self.do_address_settings(replace(request, json=auto_accept_settings(request)))

    def do_profile_address(self, request: Request) -> JsonObject:
        """Add the address to the profile, or remove it."""
        user = self.state.user
        profile = {key: value for key, value in self._public_profile(user).items() if key != "contactLink"}
        if request.is_on():
            profile["contactLink"] = self._address(request)["connLinkContact"]["connShortLink"]
        return self._replace(user, profile)

    def _address(self, request: Request) -> JsonObject:
        return find_row(self.state.addresses, self.state.user["userId"], store_refusal("userContactLinkNotFound"))
