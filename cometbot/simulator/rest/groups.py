"""Groups, their members and who is banned: docs/protocols/cometchat.md, "Groups and members"."""

from __future__ import annotations

from typing import Any

from cometbot.simulator import membership
from cometbot.simulator.records import APP_SYSTEM, SCOPES, GroupRecord
from cometbot.simulator.refusals import Refusal
from cometbot.simulator.rest.routes import Answer, Call, Routes, answer, done, paged
from cometbot.simulator.schemas import GroupSchema, MembersSchema, ScopeSchema
from cometbot.simulator.shapes import group_json

routes = Routes()
_NEW_GROUP = GroupSchema(exclude=("unset",))
_CHANGED_GROUP = GroupSchema(exclude=("guid", "members"))
_MEMBERS = MembersSchema()
_SCOPE = ScopeSchema()


@routes.add("POST", "/groups", group="core")
def create_group(call: Call) -> Answer:
    """The new group."""
    return answer(_shown(call, membership.create_group(call.world, call.acting, call.read(_NEW_GROUP))))


@routes.add("GET", "/groups")
def list_groups(call: Call) -> Answer:
    """The groups that fit the query, by guid."""
    query = call.page()
    groups = [group for _, group in sorted(call.world.directory.groups.items()) if _fits(group, query, call.acting)]
    return paged(groups, query, lambda group: group_json(group, viewer=call.acting, with_tags=query["withTags"]))


@routes.add("GET", "/groups/<guid>")
def get_group(call: Call, guid: str) -> Answer:
    """One group, with the place in it of the user who asks."""
    return answer(_shown(call, call.world.directory.group(guid)))


@routes.add("PUT", "/groups/<guid>")
def update_group(call: Call, guid: str) -> Answer:
    """The group as changed."""
    _check_admin(call, guid)
    body = call.read(_CHANGED_GROUP, partial=True)
    if call.acting != APP_SYSTEM:
        body.pop("owner", None)
    group = call.world.directory.update_group(guid, body, call.world.now())
    call.world.happened("group_updated", {"group": call.world.shapes.group(group.guid)})
    return answer(_shown(call, group))


@routes.add("DELETE", "/groups/<guid>")
def delete_group(call: Call, guid: str) -> Answer:
    """A confirmation."""
    _check_admin(call, guid)
    group = call.world.directory.group(guid)
    call.world.happened("group_deleted", {"group": call.world.shapes.group(group.guid)})
    del call.world.directory.groups[group.guid]
    return done(f"Group with GUID {group.guid} has been deleted successfully.")


@routes.add("POST", "/groups/<guid>/members", group="core")
def add_members(call: Call, guid: str) -> Answer:
    """For each user of each list what became of them."""
    group = call.world.directory.group(guid)
    return answer(membership.add_members(call.world, call.acting, group, call.read(_MEMBERS)))


@routes.add("GET", "/groups/<guid>/members", acting="no")
def list_members(call: Call, guid: str) -> Answer:
    """The members with their scope."""
    query = call.page()
    group = call.world.directory.group(guid)
    members = [(uid, member) for uid, member in group.members.items() if member.scope in (query["scopes"] or SCOPES)]
    return paged(
        members,
        query,
        lambda item: {**call.world.shapes.user(item[0]), "scope": item[1].scope, "joinedAt": item[1].joined_at},
    )


@routes.add("PUT", "/groups/<guid>/members/<uid>")
def change_scope(call: Call, guid: str, uid: str) -> Answer:
    """The member with the new scope."""
    group = call.world.directory.group(guid)
    member = membership.change_scope(call.world, call.acting, group, uid, call.read(_SCOPE)["scope"])
    return answer({"guid": group.guid, "uid": uid.lower(), "scope": member.scope, "joinedAt": member.joined_at})


@routes.add("DELETE", "/groups/<guid>/members/<uid>")
def kick_member(call: Call, guid: str, uid: str) -> Answer:
    """A confirmation."""
    membership.kick(call.world, call.acting, call.world.directory.group(guid), uid)
    return done(f"User with UID {uid.lower()} has been kicked from the group {guid.lower()}.")


@routes.add("POST", "/groups/<guid>/bannedusers/<uid>")
def ban_user(call: Call, guid: str, uid: str) -> Answer:
    """A confirmation."""
    membership.ban(call.world, call.acting, call.world.directory.group(guid), uid)
    return done(f"User with UID {uid.lower()} has been banned from the group {guid.lower()}.")


@routes.add("DELETE", "/groups/<guid>/bannedusers/<uid>")
def unban_user(call: Call, guid: str, uid: str) -> Answer:
    """A confirmation."""
    membership.unban(call.world, call.acting, call.world.directory.group(guid), uid)
    return done(f"User with UID {uid.lower()} has been unbanned from the group {guid.lower()}.")


@routes.add("GET", "/groups/<guid>/bannedusers", acting="no")
def list_banned(call: Call, guid: str) -> Answer:
    """The users who may not come back."""
    banned = list(call.world.directory.group(guid).banned)
    return paged(banned, call.page(), call.world.shapes.user)


def _shown(call: Call, group: GroupRecord) -> dict[str, Any]:
    return group_json(group, viewer=call.acting, with_tags=True)


def _check_admin(call: Call, guid: str) -> None:
    group = call.world.directory.group(guid)
    if call.acting == APP_SYSTEM:
        return
    member = group.members.get(call.acting)
    if member is None:
        raise Refusal("ERR_GROUP_NOT_JOINED", f"The user {call.acting} is not a member of the group {group.guid}.")
    if member.scope != "admin":
        raise Refusal("ERR_GROUP_NO_ADMIN_SCOPE", f"The user {call.acting} is no admin of the group {group.guid}.")


def _fits(group: GroupRecord, query: dict[str, Any], acting: str) -> bool:
    key = query["searchKey"].lower()
    types = [kind for kind in (query["type"], *query["types"]) if kind]
    return (
        (key in group.name.lower() or key in group.guid)
        and (not types or group.type in types)
        and (not query["hasJoined"] or acting in group.members)
        and (not query["tags"] or bool(set(query["tags"]) & set(group.tags)))
    )
