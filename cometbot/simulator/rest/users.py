"""Users, and blocking: docs/protocols/cometchat.md, "Users"."""

from __future__ import annotations

from typing import Any

from cometbot.simulator import people
from cometbot.simulator.errors import Refusal
from cometbot.simulator.records import UserRecord
from cometbot.simulator.rest.auth_tokens import create_token
from cometbot.simulator.rest.routes import ApiCall, RouteTable, confirmation, paginate
from cometbot.simulator.schemas import ActivationSchema, BlockSchema, UserSchema
from cometbot.simulator.serializers import user_json
from cometbot.simulator.world import conversation_id

routes = RouteTable()
_USER = UserSchema()
_NEW_USER = UserSchema(exclude=("unset",))
_CHANGED_USER = UserSchema(exclude=("uid", "withAuthToken"))
_ACTIVATION = ActivationSchema()
_BLOCK = BlockSchema()


@routes.add("POST", "/users", group="core", acting="no", auth_only=True)
def create_user(call: ApiCall) -> dict[str, Any]:
    """Create a user and return it, with an auth token if requested."""
    body = call.load_body(_NEW_USER)
    user = call.world.directory.create_user(body, call.world.now())
    shown = user_json(user, with_tags=True)
    if body.get("withAuthToken"):
        shown["authToken"] = create_token(call, user)
    return shown


@routes.add("GET", "/users")
def list_users(call: ApiCall) -> dict[str, Any]:
    """Return the users that match the query, ordered by uid. For an acting user, each has their conversation."""
    query = call.load_page_query()
    users = [user for _, user in sorted(call.world.directory.users.items()) if _matches_query(user, query)]
    return paginate(
        users, query, lambda user: {**user_json(user, with_tags=query["withTags"]), **_relation_json(call, user)}
    )


@routes.add("GET", "/users/<uid>")
def get_user(call: ApiCall, uid: str) -> dict[str, Any]:
    """Return one user. For an acting user, it includes their conversation and the blocks between the two."""
    user = call.world.directory.user(uid)
    return {**user_json(user, with_tags=True), **_relation_json(call, user)}


@routes.add("PUT", "/users/<uid>", acting="no")
def update_user(call: ApiCall, uid: str) -> dict[str, Any]:
    """Update a user and return it."""
    body = call.load_body(_CHANGED_USER, partial=True)
    return user_json(call.world.directory.update_user(uid, body, call.world.now()), with_tags=True)


@routes.add("DELETE", "/users/<uid>", group="core", acting="no")
def delete_user(call: ApiCall, uid: str) -> dict[str, Any]:
    """Delete a user if ``permanent``, else deactivate them, and return a confirmation."""
    permanent = call.get_flag("permanent")
    user = call.world.directory.delete_user(uid, permanent=permanent, now=call.world.now())
    return confirmation(f"User with UID {user.uid} has been {'deleted' if permanent else 'deactivated'} successfully.")


@routes.add("DELETE", "/users", acting="no")
def deactivate_users(call: ApiCall) -> dict[str, Any]:
    """Deactivate users and return their uids."""
    uids = call.load_body(_ACTIVATION).get("uidsToDeactivate", [])
    changed = call.world.directory.activate(uids, now=call.world.now(), active=False)
    return {"deactivatedUids": changed}


@routes.add("PUT", "/users", acting="no")
def reactivate_users(call: ApiCall) -> dict[str, Any]:
    """Reactivate users and return their uids."""
    uids = call.load_body(_ACTIVATION).get("uidsToActivate", [])
    return {"nonDeactivatedUids": call.world.directory.activate(uids, now=call.world.now(), active=True)}


@routes.add("POST", "/users/<uid>/blockedusers", acting="no")
def block_users(call: ApiCall, uid: str) -> dict[str, Any]:
    """Block users and return the result for each."""
    return _block(call, uid, blocked=True)


@routes.add("DELETE", "/users/<uid>/blockedusers", acting="no")
def unblock_users(call: ApiCall, uid: str) -> dict[str, Any]:
    """Unblock users and return the result for each."""
    return _block(call, uid, blocked=False)


@routes.add("GET", "/users/<uid>/blockedusers", acting="no")
def list_blocked_users(call: ApiCall, uid: str) -> dict[str, Any]:
    """Return the users that a user has blocked."""
    user = call.world.directory.user(uid)
    return paginate(sorted(user.blocked), call.load_page_query(), lambda other: _blocked_json(call, user, other))


def _block(call: ApiCall, uid: str, *, blocked: bool) -> dict[str, Any]:
    user = call.world.directory.user(uid)
    results: dict[str, Any] = {}
    for other in (item.lower() for item in call.load_body(_BLOCK)["blockedUids"]):
        try:
            people.block(call.world, user.uid, other, blocked=blocked)
        except Refusal as refusal:
            results[other] = {"success": False, "error": refusal.to_json()}
        else:
            done = f"has {'blocked' if blocked else 'unblocked'}"
            results[other] = confirmation(f"The user with UID {user.uid} {done} user with UID {other} successfully.")
    return results


def _blocked_json(call: ApiCall, user: UserRecord, other: str) -> dict[str, Any]:
    shown = call.world.serializer.user(other, conversation_id=conversation_id("user", user.uid, other))
    blocked_at = user.blocked[other]
    return {**shown, "blockedByMe": True, "blockedByMeAt": blocked_at, "blockedAt": blocked_at}


def _relation_json(call: ApiCall, user: UserRecord) -> dict[str, Any]:
    """Return the conversation of the acting user with ``user``, and the blocks between the two."""
    if call.acting_uid == call.world.directory.system.uid:
        return {}
    blocked_at = call.world.directory.user(call.acting_uid).blocked.get(user.uid, 0)
    return {
        "conversationId": conversation_id("user", call.acting_uid, user.uid),
        "blockedByMe": bool(blocked_at),
        "hasBlockedMe": call.acting_uid in user.blocked,
        **({"blockedByMeAt": blocked_at, "blockedAt": blocked_at} if blocked_at else {}),
    }


def _matches_query(user: UserRecord, query: dict[str, Any]) -> bool:
    if query["onlyDeactivated"] == user.is_active and not (user.is_active is False and query["withDeactivated"]):
        return False
    key = query["searchKey"].lower()
    searched = [getattr(user, name) for name in query["searchIn"] if name in ("name", "uid")]
    roles = [role for role in (query["role"], *query["roles"]) if role]
    return (
        any(key in text.lower() for text in searched)
        and (not query["status"] or user.status == query["status"])
        and (not roles or user.role in roles)
        and (not query["tags"] or bool(set(query["tags"]) & set(user.tags)))
    )
