"""Joining, leaving, adding to, kicking and banning from groups, with the permission rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cometbot.simulator.errors import Refusal, bad_request
from cometbot.simulator.records import APP_SYSTEM, SCOPES, GroupRecord, Member, StoredMessage
from cometbot.simulator.world import World

MAX_MEMBERS_PER_CALL = 25
_SCOPE_BY_LIST = {"admins": "admin", "moderators": "moderator", "participants": "participant"}


def create_group(world: World, by: str, body: Mapping[str, Any]) -> GroupRecord:
    """Create a group with its members.

    ``by`` becomes the owner unless the body names one or ``by`` is the service account.
    """
    owner = body.get("owner") or ("" if by == APP_SYSTEM else by)
    if owner:
        owner = world.directory.user(owner).uid
    group = world.directory.create_group({**body, "owner": owner}, world.now())
    if owner:
        group.members[owner] = Member("admin", world.now())
    members = {"members": {owner: world.serializer.user(owner)}} if owner else {}
    world.emit("group_created", {"group": world.serializer.group(group.guid), **members})
    if body.get("members"):
        add_members(world, by, group, body["members"])
    return group


def add_members(
    world: World, by: str, group: GroupRecord, body: Mapping[str, Any]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Add the users of each list and return the result for each.

    The result is ``{"participants": {uid: {"success": True, "data": …}}}``. A user in several lists gets the
    highest scope. At most 25 users per call.
    """
    named = [uid for uids in body.values() for uid in uids]
    if len(named) > MAX_MEMBERS_PER_CALL:
        raise bad_request("participants", f"At most {MAX_MEMBERS_PER_CALL} users can be added in one call.")
    _check_clearance(group, by)
    results: dict[str, dict[str, dict[str, Any]]] = {}
    handled: set[str] = set()
    for name, scope in _SCOPE_BY_LIST.items():
        for uid in (uid.lower() for uid in body.get(name, ())):
            if uid not in handled:
                handled.add(uid)
                results.setdefault(name, {})[uid] = _attempt(world, lambda u=uid, s=scope: add(world, by, group, u, s))
    for uid in (uid.lower() for uid in body.get("usersToBan", ())):
        results.setdefault("usersToBan", {})[uid] = _attempt(world, lambda u=uid: ban(world, by, group, u))
    return results


def add(world: World, by: str, group: GroupRecord, uid: str, scope: str = "participant") -> StoredMessage:
    """Add a member and return the action message. Raises ``ERR_ALREADY_JOINED`` or ``ERR_BANNED_GROUPMEMBER``."""
    uid = _add_member(world, group, uid, scope)
    return _record_action(world, "added", group, uid, by)


def join(world: World, uid: str, group: GroupRecord, password: str = "") -> StoredMessage:
    """Add a user who joins on their own, with the password if the group has one, and return the action message."""
    if group.type == "private":
        raise Refusal("ERR_GROUP_JOIN_NOT_ALLOWED", f"The group {group.guid} is private: a member must add the user.")
    if group.type == "password" and password != group.password:
        code = "ERR_WRONG_GROUP_PASS" if password else "ERR_EMPTY_GROUP_PASS"
        raise Refusal(code, f"The group {group.guid} needs its password.")
    return _record_action(world, "joined", group, _add_member(world, group, uid, "participant"))


def leave(world: World, uid: str, group: GroupRecord) -> StoredMessage:
    """Remove a user who leaves on their own and return the action message."""
    _check_member(group, uid)
    if group.owner == uid:
        raise Refusal("ERR_GROUP_NO_CLEARANCE", "The owner of a group cannot leave it.")
    del group.members[uid]
    return _record_action(world, "left", group, uid)


def kick(world: World, by: str, group: GroupRecord, uid: str) -> StoredMessage:
    """Remove a member, who may join again, and return the action message."""
    uid = uid.lower()
    _check_clearance(group, by)
    _check_member(group, uid)
    _check_rank(group, by, uid)
    del group.members[uid]
    return _record_action(world, "kicked", group, uid, by)


def ban(world: World, by: str, group: GroupRecord, uid: str) -> StoredMessage:
    """Ban a user from the group, removing them if they are a member, and return the action message."""
    uid = world.directory.user(uid).uid
    _check_clearance(group, by)
    _check_rank(group, by, uid)
    if uid in group.banned:
        raise Refusal("ERR_ALREADY_BANNED", f"The user {uid} is already banned from the group {group.guid}.")
    group.members.pop(uid, None)
    group.banned[uid] = world.now()
    return _record_action(world, "banned", group, uid, by)


def unban(world: World, by: str, group: GroupRecord, uid: str) -> StoredMessage:
    """Lift a user's ban and return the action message."""
    uid = uid.lower()
    _check_clearance(group, by)
    if uid not in group.banned:
        raise Refusal("ERR_NOT_A_BANNED_USER", f"The user {uid} is not banned from the group {group.guid}.")
    del group.banned[uid]
    return _record_action(world, "unbanned", group, uid, by)


def change_scope(world: World, by: str, group: GroupRecord, uid: str, scope: str) -> Member:
    """Change a member's scope and return the member. Raises ``ERR_SAME_SCOPE`` if the scope is unchanged."""
    uid = uid.lower()
    _check_clearance(group, by, needed=("admin",))
    _check_member(group, uid)
    old = group.members[uid]
    if old.scope == scope:
        raise Refusal("ERR_SAME_SCOPE", f"The user {uid} is {scope} already.")
    group.members[uid] = Member(scope, old.joined_at)
    _record_action(world, "scopeChanged", group, uid, by, {"scope": scope, "oldScope": old.scope})
    return group.members[uid]


def _attempt(world: World, act: Any) -> dict[str, Any]:
    try:
        return {"success": True, "data": world.serializer.message(act())}
    except Refusal as refusal:
        return {"success": False, "error": refusal.to_json()}


def _add_member(world: World, group: GroupRecord, uid: str, scope: str) -> str:
    uid = world.directory.user(uid).uid
    if uid in group.banned:
        raise Refusal("ERR_BANNED_GROUPMEMBER", f"The user {uid} is banned from the group {group.guid}.")
    if uid in group.members:
        raise Refusal("ERR_ALREADY_JOINED", f"The user {uid} is already a member of the group {group.guid}.")
    group.members[uid] = Member(scope, world.now())
    return uid


def _check_member(group: GroupRecord, uid: str) -> None:
    if uid not in group.members:
        raise Refusal("ERR_NOT_A_MEMBER", f"The user {uid} is not a member of the group {group.guid}.")


def _check_clearance(group: GroupRecord, by: str, needed: Iterable[str] = SCOPES[:2]) -> None:
    if by == APP_SYSTEM:
        return
    _check_member(group, by)
    if group.members[by].scope not in tuple(needed):
        raise Refusal("ERR_GROUP_NO_CLEARANCE", f"The user {by} may not do this in the group {group.guid}.")


def _check_rank(group: GroupRecord, by: str, uid: str) -> None:
    """Refuse to remove oneself or the owner, and to a moderator anybody but participants.

    CometChat documents the codes, and not who may remove whom; this is what its apps offer.
    """
    if by == APP_SYSTEM:
        return
    if by == uid:
        raise Refusal("ERR_GROUP_NO_SELF_ACTION", f"The user {by} cannot remove itself from the group {group.guid}.")
    member = group.members.get(uid)
    is_above = group.members[by].scope == "moderator" and member is not None and member.scope != "participant"
    if uid == group.owner or is_above:
        raise Refusal("ERR_GROUP_NO_CLEARANCE", f"The user {by} may not remove {uid} from the group {group.guid}.")


def _record_action(
    world: World, name: str, group: GroupRecord, uid: str, by: str = "", scopes: Mapping[str, str] | None = None
) -> StoredMessage:
    serializer = world.serializer
    actor = by or uid
    entities = {
        "by": serializer.actor(actor),
        "on": serializer.entity("user", serializer.user(uid)),
        "for": serializer.entity("group", serializer.group(group.guid)),
    }
    action = world.record_action(
        actor,
        "groupMember",
        {"action": name, "entities": entities, **({"extras": dict(scopes)} if scopes else {})},
        conversation=f"group_{group.guid}",
        receiver_type="group",
        receiver=group.guid,
    )
    data: dict[str, Any] = {
        "group": serializer.group(group.guid),
        "members": {uid: {**serializer.user(uid, with_tags=True), **(scopes or {})}},
    }
    if by:
        data["by"] = serializer.user(by, with_tags=True)
    event = "scope_changed" if name == "scopeChanged" else name
    world.emit(f"group_member_{event}", data, message=action)
    return action
