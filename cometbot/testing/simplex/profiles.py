"""Profiles and addresses of the stand-in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cometbot.testing.simplex import objects
from cometbot.testing.simplex.console import auto_accept_settings
from cometbot.testing.simplex.grammar import UNREADABLE, Request
from cometbot.testing.simplex.objects import Obj
from cometbot.testing.simplex.state import Refused, State, chat_refused, store_refused

_PLAIN = ("profileId", "localAlias", "localBadge", "contactDomainVerified")


class Part:
    """A part of what the stand-in can do; all parts share one state."""

    def __init__(self, state: State) -> None:
        self.state = state

    def reply(self, tag: str, **fields: Any) -> Obj:
        """An answer about the active profile; fields that are None are left out."""
        given = {key: value for key, value in fields.items() if value is not None}
        return {"type": tag, "user": objects.copy(self.state.user), **objects.copy(given)}


def unreadable() -> Refused:
    """What the CLI says to a command that it cannot parse."""
    return chat_refused("commandError", message=UNREADABLE)


def checked_object(value: object, *required: str) -> Obj:
    """A JSON object with fields that must be there; anything else does not parse."""
    if not isinstance(value, dict) or any(not isinstance(value.get(name), str) for name in required):
        raise unreadable()
    return value


class ProfileAnswers(Part):
    """The commands about profiles and addresses."""

    def do_show_user(self, request: Request) -> Obj:
        """The active profile."""
        return self.reply("activeUser")

    def do_show_profile(self, request: Request) -> Obj:
        """The profile that others see."""
        return self.reply("userProfile", profile=self._plain(self.state.user))

    def do_create_user(self, request: Request) -> Obj:
        """A new profile."""
        wanted = checked_object(request.json)
        profile = checked_object(wanted.get("profile") or {"displayName": "", "fullName": ""}, "displayName")
        self._check_name(profile["displayName"])
        for user in self.state.tree["users"].values():
            if user["profile"]["displayName"] == profile["displayName"]:
                raise chat_refused("userExists", contactName=profile["displayName"])
        self.state.add_user(profile)
        return self.reply("activeUser")

    def do_list_users(self, request: Request) -> Obj:
        """All profiles."""
        users = [{"user": user, "unreadCount": 0} for user in self.state.tree["users"].values()]
        return {"type": "usersList", "users": objects.copy(users)}

    def do_set_user(self, request: Request) -> Obj:
        """Another profile becomes active."""
        user = self._user(request)
        for other in self.state.tree["users"].values():
            other["activeUser"] = other is user
        return self.reply("activeUser")

    def do_delete_user(self, request: Request) -> Obj:
        """A profile is gone; the active one and the last one stay."""
        user = self._user(request)
        if len(self.state.tree["users"]) == 1:
            raise chat_refused("cantDeleteLastUser", userId=user["userId"])
        if user["activeUser"]:
            raise chat_refused("cantDeleteActiveUser", userId=user["userId"])
        del self.state.tree["users"][str(user["userId"])]
        return {"type": "cmdOk"}

    def _user(self, request: Request) -> Obj:
        found = self.state.tree["users"].get(request.text("user"))
        if found is None:
            raise store_refused("userNotFound", userId=request.number("user"))
        user: Obj = found
        return user

    def do_update_profile(self, request: Request) -> Obj:
        """The whole profile is replaced."""
        user = self.state.user_by_id(request.number("user"))
        profile = checked_object(request.json, "displayName", "fullName")
        self._check_name(profile["displayName"])
        before = self._plain(user)
        if before == profile:
            return self.reply("userProfileNoChange")
        return self._replace(user, profile)

    def _replace(self, user: Obj, profile: Obj) -> Obj:
        before = self._plain(user)
        fresh = objects.user(user["userId"], profile)
        for key in ("localDisplayName", "profile", "fullPreferences"):
            user[key] = fresh[key]
        told = len(list(self.state.owned("contacts", "contact")))
        summary = {"updateSuccesses": told, "updateFailures": 0, "changedContacts": []}
        return self.reply("userProfileUpdated", fromProfile=before, toProfile=profile, updateSummary=summary)

    def _plain(self, user: Obj) -> Obj:
        return {key: objects.copy(value) for key, value in user["profile"].items() if key not in _PLAIN}

    def _check_name(self, name: str) -> None:
        valid = "".join(character for character in name if character.isprintable() and character != "'").strip(" @#")
        if not name or name != valid:
            raise chat_refused("invalidDisplayName", displayName=name, validName=valid)

    def do_member_contacts(self, request: Request) -> Obj:
        """Members may open a direct chat, or not."""
        user = self.state.user_by_id(request.number("user"))
        user["autoAcceptMemberContacts"] = request.is_on()
        return {"type": "cmdOk", "user_": objects.copy(user)}

    # Addresses

    def do_show_address(self, request: Request) -> Obj:
        """The address that there is."""
        return self.reply("userContactLink", contactLink=self._address(request))

    def do_create_address(self, request: Request) -> Obj:
        """An address, where there is none."""
        user = self.state.user_by_id(request.number("user"))
        if str(user["userId"]) in self.state.tree["addresses"]:
            raise store_refused("duplicateContactLink")
        address = objects.user_contact_link(self.state.number("link"), {"businessAddress": False})
        self.state.tree["addresses"][str(user["userId"])] = address
        return self.reply("userContactLinkCreated", connLinkContact=address["connLinkContact"])

    def do_delete_address(self, request: Request) -> Obj:
        """No address any more."""
        self._address(request)
        del self.state.tree["addresses"][request.text("user")]
        return self.reply("userContactLinkDeleted")

    def do_address_settings(self, request: Request) -> Obj:
        """The settings are replaced as a whole."""
        address = self._address(request)
        settings = checked_object(request.json)
        if not isinstance(settings.get("businessAddress"), bool):
            raise unreadable()
        address["addressSettings"] = {key: value for key, value in settings.items() if value is not None}
        return self.reply("userContactLinkUpdated", contactLink=address)

    def do_auto_accept(self, request: Request) -> Obj:
        """The console's way to the settings."""
        return self.do_address_settings(replace(request, json=auto_accept_settings(request)))

    def do_profile_address(self, request: Request) -> Obj:
        """The address in the profile, or not."""
        user = self.state.user_by_id(request.number("user"))
        profile = {key: value for key, value in self._plain(user).items() if key != "contactLink"}
        if request.is_on():
            profile["contactLink"] = self._address(request)["connLinkContact"]["connShortLink"]
        return self._replace(user, profile)

    def _address(self, request: Request) -> Obj:
        user = self.state.user_by_id(request.number("user"))
        found = self.state.tree["addresses"].get(str(user["userId"]))
        if found is None:
            raise store_refused("userContactLinkNotFound")
        address: Obj = found
        return address
