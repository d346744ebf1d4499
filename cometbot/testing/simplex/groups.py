"""Groups of the fake CLI: members, roles, links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cometbot.testing.simplex import api_objects
from cometbot.testing.simplex.api_objects import JsonObject
from cometbot.testing.simplex.command_grammar import Request
from cometbot.testing.simplex.profiles import CommandHandlerBase, require_object
from cometbot.testing.simplex.state import chat_refusal, store_refusal


class GroupCommands(CommandHandlerBase):
    """The commands for groups."""

    def do_new_group(self, request: Request) -> JsonObject:
        """Create a group that the bot owns."""
        profile = require_object(request.json, "displayName", "fullName")
        group = self.add_group(profile, role="owner", status="creator")
        return self.reply("groupCreated", groupInfo=group["info"])

    def add_group(self, profile: Mapping[str, Any], *, role: str, status: str = "connected") -> JsonObject:
        """Add a group with the bot in it."""
        user, at = self.state.user, self.state.now()
        number = self.state.next_number("group")
        shown = {key: user["profile"][key] for key in ("displayName", "fullName", "peerType") if key in user["profile"]}
        own_id = self.state.next_number("member")
        fields = {"memberRole": role, "memberStatus": status, "memberProfile": api_objects.local_profile(own_id, shown)}
        own = api_objects.member(own_id, number, user["localDisplayName"], at, memberCategory="user", **fields)
        group = {"info": api_objects.group_info(number, profile, own, at), "members": {}, "link": None}
        self.state.groups[str(number)] = group
        return group

    def add_member(
        self, group: JsonObject, name: str, *, role: str = "member", contact_id: int | None = None
    ) -> JsonObject:
        """Add a member to a group."""
        info = group["info"]
        number, at = self.state.next_number("member"), self.state.now()
        member = api_objects.member(number, info["groupId"], name, at, memberRole=role)
        if contact_id is not None:
            member["memberContactId"] = contact_id
        group["members"][str(member["groupMemberId"])] = member
        info["groupSummary"]["currentMembers"] = len(group["members"]) + 1
        return member

    def do_list_members(self, request: Request) -> JsonObject:
        """Return the members of a group, without the bot."""
        group = self.state.group(request.number("group"))
        return self.reply(
            "groupMembers", group={"groupInfo": group["info"], "members": list(group["members"].values())}
        )

    def do_group_profile(self, request: Request) -> JsonObject:
        """Replace the whole profile of a group."""
        info = self.require_role(request, "admin")["info"]
        before = api_objects.copy(info)
        profile = require_object(request.json, "displayName", "fullName")
        fresh = api_objects.group_info(info["groupId"], profile, info["membership"], info["createdAt"])
        info.update(groupProfile=fresh["groupProfile"], fullGroupPreferences=fresh["fullGroupPreferences"])
        info["localDisplayName"] = profile["displayName"]
        return self.reply("groupUpdated", fromGroup=before, toGroup=info, msgSigned=False)

    def do_add_member(self, request: Request) -> JsonObject:
        """Invite a contact, who joins at once."""
        group = self.require_role(request, "admin")
        contact = self.state.contact(request.number("number"))
        name = contact["localDisplayName"]
        if any(member.get("memberContactId") == contact["contactId"] for member in group["members"].values()):
            raise chat_refusal("groupDuplicateMember", contactName=name)
        member = self.add_member(group, name, role=request.text("role"), contact_id=contact["contactId"])
        invited = {**member, "memberStatus": "invited"}
        answer = self.reply("sentGroupInvitation", groupInfo=group["info"], contact=contact, member=invited)
        self.state.emit_event("joinedGroupMember", groupInfo=group["info"], member=member)
        self.state.emit_event("connectedToGroupMember", groupInfo=group["info"], member=member, memberContact=contact)
        return answer

    def do_join_group(self, request: Request) -> JsonObject:
        """Accept an invitation of the bot."""
        info = self.group_info(request)
        if info["membership"]["memberStatus"] != "invited":
            raise store_refusal("groupAlreadyJoined")
        info["membership"]["memberStatus"] = "connected"
        answer = self.reply("userAcceptedGroupSent", groupInfo=info)
        for member in self.state.group(request.number("group"))["members"].values():
            self.state.emit_event("connectedToGroupMember", groupInfo=info, member=member)
        return answer

    def do_accept_member(self, request: Request) -> JsonObject:
        """Accept a member who waits for approval."""
        group = self.require_role(request, "moderator")
        member = self.state.member(request.number("group"), request.number("number"))
        if member["memberStatus"] not in ("pending_approval", "pending_review"):
            raise chat_refusal("groupMemberNotActive")
        member.update(memberStatus="connected", memberRole=request.text("role"))
        return self.reply("memberAccepted", groupInfo=group["info"], member=member)

    def do_members_role(self, request: Request) -> JsonObject:
        """Change the role of members."""
        group, members = self._change_members(request, "admin", memberRole=request.text("role"))
        fields = {"members": members, "toRole": request.text("role"), "msgSigned": False}
        return self.reply("membersRoleUser", groupInfo=group["info"], **fields)

    def do_block_members(self, request: Request) -> JsonObject:
        """Hide the messages of members from everybody, or show them again."""
        group, members = self._change_members(request, "moderator", blockedByAdmin=request.is_on())
        fields = {"members": members, "blocked": request.is_on(), "msgSigned": False}
        return self.reply("membersBlockedForAllUser", groupInfo=group["info"], **fields)

    def do_remove_members(self, request: Request) -> JsonObject:
        """Remove members."""
        group, members = self._change_members(request, "admin", memberStatus="removed")
        for member in members:
            del group["members"][str(member["groupMemberId"])]
        group["info"]["groupSummary"]["currentMembers"] = len(group["members"]) + 1
        fields = {"members": members, "withMessages": request.is_on("messages"), "msgSigned": False}
        return self.reply("userDeletedMembers", groupInfo=group["info"], **fields)

    def do_leave_group(self, request: Request) -> JsonObject:
        """Leave a group."""
        info = self.group_info(request)
        info["membership"]["memberStatus"] = "left"
        return self.reply("leftMemberUser", groupInfo=info)

    def do_member_contact(self, request: Request) -> JsonObject:
        """Create a direct chat with a member."""
        group = self.state.group(request.number("group"))
        member = self.state.member(request.number("group"), request.number("number"))
        contact = self.state.add_contact(member["localDisplayName"])
        member["memberContactId"] = contact["contactId"]
        return self.reply("newMemberContact", contact=contact, groupInfo=group["info"], member=member)

    def do_invite_member(self, request: Request) -> JsonObject:
        """Invite a member to the direct chat, optionally with a message."""
        contact = self.state.contact(request.number("contact"))
        contact["contactGrpInvSent"] = True
        if request.json is not None:
            content = require_object(request.json, "type")
            self.state.add_item(f"@{contact['contactId']}", {"type": "directSnd"}, content)
        return self.reply("newMemberContactSentInv", contact=contact)

    # Links

    def do_create_link(self, request: Request) -> JsonObject:
        """Create a link for joining a group."""
        group = self.require_role(request, "admin")
        if group["link"] is not None:
            raise store_refusal("duplicateGroupLink", groupInfo=api_objects.copy(group["info"]))
        number = request.number("group")
        group["link"] = api_objects.group_link(self.state.next_number("link"), number, request.text("role"))
        return self.reply("groupLinkCreated", groupInfo=group["info"], groupLink=group["link"])

    def do_get_link(self, request: Request) -> JsonObject:
        """Return the link of a group."""
        group = self._require_link(request)
        return self.reply("groupLink", groupInfo=group["info"], groupLink=group["link"])

    def do_link_role(self, request: Request) -> JsonObject:
        """Change the role of those who join by the link from now on."""
        group = self._require_link(request)
        group["link"]["acceptMemberRole"] = request.text("role")
        return self.reply("groupLink", groupInfo=group["info"], groupLink=group["link"])

    def do_delete_link(self, request: Request) -> JsonObject:
        """Delete the link of a group."""
        group = self._require_link(request)
        group["link"] = None
        return self.reply("groupLinkDeleted", groupInfo=group["info"])

    # Channels over relays

    def do_new_public_group(self, request: Request) -> JsonObject:
        """Answer that the channel could not be created, since there are no relays."""
        return self.reply("publicGroupCreationFailed", addRelayResults=[])

    def do_group_relays(self, request: Request) -> JsonObject:
        """Return no relays."""
        return self.reply("groupRelays", groupInfo=self.group_info(request), groupRelays=[])

    def do_add_relays(self, request: Request) -> JsonObject:
        """Answer that no relays could be added."""
        self.state.group(request.number("group"))
        return self.reply("groupRelaysAddFailed", addRelayResults=[])

    def do_allow_relay(self, request: Request) -> JsonObject:
        """Allow a group to use this profile as its relay."""
        return self.reply("relayGroupAllowed", groupInfo=self.group_info(request))

    def _change_members(self, request: Request, role: str, **changes: Any) -> tuple[JsonObject, list[JsonObject]]:
        """Change the members that a command names, and return the group and them.

        The bot needs ``role`` or more, and at least the role of each of them.
        """
        self.require_role(request, role)
        members = [self.state.member(request.number("group"), number) for number in request.numbers("ids")]
        group = self.require_role(request, role, *(member["memberRole"] for member in members))
        for member in members:
            member.update(changes)
        return group, members

    def _require_link(self, request: Request) -> JsonObject:
        group = self.state.group(request.number("group"))
        if group["link"] is None:
            raise store_refusal("groupLinkNotFound", groupInfo=api_objects.copy(group["info"]))
        return group
