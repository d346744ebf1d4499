"""Groups, their members and banned users: docs/protocols/cometchat.md, "Groups and members"."""

from __future__ import annotations

from typing import Any

from cometbot.simulator import membership
from cometbot.simulator.directory import check_joined
from cometbot.simulator.errors import Refusal
from cometbot.simulator.records import APP_SYSTEM, SCOPES, GroupRecord
from cometbot.simulator.rest.routes import ApiCall, RouteTable, confirmation, paginate
from cometbot.simulator.schemas import GroupSchema, MembersSchema, ScopeSchema
from cometbot.simulator.serializers import group_json

routes = RouteTable()
_NEW_GROUP = GroupSchema(exclude=("unset",))
_CHANGED_GROUP = GroupSchema(exclude=("guid", "members"))
_MEMBERS = MembersSchema()
_SCOPE = ScopeSchema()


@routes.add("POST", "/groups", group="core")
def create_group(call: ApiCall) -> dict[str, Any]:
    """Create a group and return it."""
    return _group_json(call, membership.create_group(call.world, call.acting_uid, call.load_body(_NEW_GROUP)))


@routes.add("GET", "/groups")
def list_groups(call: ApiCall) -> dict[str, Any]:
    """Return the groups that match the query, ordered by guid."""
    query = call.load_page_query()
    groups = [
        group
        for _, group in sorted(call.world.directory.groups.items())
        if _matches_query(group, query, call.acting_uid)
    ]
    return paginate(groups, query, lambda group: group_json(group, viewer=call.acting_uid, with_tags=query["withTags"]))


@routes.add("GET", "/groups/<guid>")
def get_group(call: ApiCall, guid: str) -> dict[str, Any]:
    """Return one group, with the acting user's membership."""
    return _group_json(call, call.world.directory.group(guid))


@routes.add("PUT", "/groups/<guid>")
def update_group(call: ApiCall, guid: str) -> dict[str, Any]:
    """Update a group and return it."""
    _check_admin(call, guid)
    body = call.load_body(_CHANGED_GROUP, partial=True)
    if call.acting_uid != APP_SYSTEM:
        body.pop("owner", None)
    old_owner = call.world.directory.group(guid).owner
    group = call.world.directory.update_group(guid, body, call.world.now())
    shown = {**call.world.serializer.group(group.guid), "updatedBy": call.acting_uid}
    if group.owner != old_owner:
        call.world.emit("group_owner_transferred", {"group": {**shown, "oldOwner": old_owner}})
    else:
        call.world.emit("group_updated", {"group": shown})
    return _group_json(call, group)


@routes.add("DELETE", "/groups/<guid>")
def delete_group(call: ApiCall, guid: str) -> dict[str, Any]:
    """Delete a group and return a confirmation."""
    _check_admin(call, guid)
    group = call.world.directory.group(guid)
    call.world.emit("group_deleted", {"group": call.world.serializer.group(group.guid)})
    del call.world.directory.groups[group.guid]
    return confirmation(f"Group with GUID {group.guid} has been deleted successfully.")


@routes.add("POST", "/groups/<guid>/members", group="core")
def add_members(call: ApiCall, guid: str) -> dict[str, Any]:
    """Add or ban the users of each list and return the result for each."""
    group = call.world.directory.group(guid)
    return membership.add_members(call.world, call.acting_uid, group, call.load_body(_MEMBERS))


@routes.add("GET", "/groups/<guid>/members", acting="no")
def list_members(call: ApiCall, guid: str) -> dict[str, Any]:
    """Return the members with their scope."""
    query = call.load_page_query()
    group = call.world.directory.group(guid)
    members = [(uid, member) for uid, member in group.members.items() if member.scope in (query["scopes"] or SCOPES)]
    return paginate(
        members,
        query,
        lambda item: {**call.world.serializer.user(item[0]), "scope": item[1].scope, "joinedAt": item[1].joined_at},
    )


@routes.add("PUT", "/groups/<guid>/members/<uid>")
def change_scope(call: ApiCall, guid: str, uid: str) -> dict[str, Any]:
    """Change a member's scope and return the member."""
    group = call.world.directory.group(guid)
    member = membership.change_scope(call.world, call.acting_uid, group, uid, call.load_body(_SCOPE)["scope"])
    return {"guid": group.guid, "uid": uid.lower(), "scope": member.scope, "joinedAt": member.joined_at}


@routes.add("DELETE", "/groups/<guid>/members/<uid>")
def kick_member(call: ApiCall, guid: str, uid: str) -> dict[str, Any]:
    """Kick a member and return a confirmation."""
    membership.kick(call.world, call.acting_uid, call.world.directory.group(guid), uid)
    return confirmation(f"User with UID {uid.lower()} has been kicked from the group {guid.lower()}.")


@routes.add("POST", "/groups/<guid>/bannedusers/<uid>")
def ban_user(call: ApiCall, guid: str, uid: str) -> dict[str, Any]:
    """Ban a user and return a confirmation."""
    membership.ban(call.world, call.acting_uid, call.world.directory.group(guid), uid)
    return confirmation(f"User with UID {uid.lower()} has been banned from the group {guid.lower()}.")


@routes.add("DELETE", "/groups/<guid>/bannedusers/<uid>")
def unban_user(call: ApiCall, guid: str, uid: str) -> dict[str, Any]:
    """Lift a user's ban and return a confirmation."""
    membership.unban(call.world, call.acting_uid, call.world.directory.group(guid), uid)
    return confirmation(f"User with UID {uid.lower()} has been unbanned from the group {guid.lower()}.")


@routes.add("GET", "/groups/<guid>/bannedusers", acting="no")
def list_banned(call: ApiCall, guid: str) -> dict[str, Any]:
    """Return the banned users."""
    banned = list(call.world.directory.group(guid).banned)
    return paginate(banned, call.load_page_query(), call.world.serializer.user)


def _group_json(call: ApiCall, group: GroupRecord) -> dict[str, Any]:
    return group_json(group, viewer=call.acting_uid, with_tags=True)


def _check_admin(call: ApiCall, guid: str) -> None:
    group = call.world.directory.group(guid)
    if call.acting_uid == APP_SYSTEM:
        return
    check_joined(group, call.acting_uid)
    if group.members[call.acting_uid].scope != "admin":
        raise Refusal("ERR_GROUP_NO_ADMIN_SCOPE", f"The user {call.acting_uid} is no admin of the group {group.guid}.")


def _matches_query(group: GroupRecord, query: dict[str, Any], acting: str) -> bool:
    key = query["searchKey"].lower()
    types = [kind for kind in (query["type"], *query["types"]) if kind]
    return (
        (key in group.name.lower() or key in group.guid)
        and (not types or group.type in types)
        and (not query["hasJoined"] or acting in group.members)
        and (not query["tags"] or bool(set(query["tags"]) & set(group.tags)))
    )
