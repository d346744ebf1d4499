"""Users, and blocking: docs/protocols/cometchat.md, "Users"."""

from __future__ import annotations

from typing import Any

from cometbot.simulator.records import UserRecord
from cometbot.simulator.refusals import Refusal
from cometbot.simulator.rest.routes import Answer, Call, Routes, answer, done, paged
from cometbot.simulator.schemas import ActivationSchema, BlockSchema, UserSchema
from cometbot.simulator.shapes import user_json
from cometbot.simulator.world import conversation_id

MAX_AUTH_TOKENS = 100

routes = Routes()
_USER = UserSchema()
_NEW_USER = UserSchema(exclude=("unset",))
_CHANGED_USER = UserSchema(exclude=("uid", "withAuthToken"))
_ACTIVATION = ActivationSchema()
_BLOCK = BlockSchema()


@routes.add("POST", "/users", group="core", acting="no", auth_only=True)
def create_user(call: Call) -> Answer:
    """The new user, with an auth token where asked for."""
    body = call.read(_NEW_USER)
    user = call.world.directory.create_user(body, call.world.now())
    shown = user_json(user, with_tags=True)
    if body.get("withAuthToken"):
        shown["authToken"] = _new_token(call, user)
    return answer(shown)


@routes.add("GET", "/users")
def list_users(call: Call) -> Answer:
    """The users that fit the query, by uid."""
    query = call.page()
    users = [user for _, user in sorted(call.world.directory.users.items()) if _fits(user, query)]
    return paged(users, query, lambda user: user_json(user, with_tags=query["withTags"]))


@routes.add("GET", "/users/<uid>")
def get_user(call: Call, uid: str) -> Answer:
    """One user; for another user also their conversation and who blocks whom."""
    user = call.world.directory.user(uid)
    shown = user_json(user, with_tags=True)
    if call.acting != call.world.directory.system.uid:
        shown["conversationId"] = conversation_id("user", call.acting, user.uid)
        shown["blockedByMe"] = user.uid in call.world.directory.user(call.acting).blocked
        shown["hasBlockedMe"] = call.acting in user.blocked
    return answer(shown)


@routes.add("PUT", "/users/<uid>", acting="no")
def update_user(call: Call, uid: str) -> Answer:
    """The user as changed."""
    body = call.read(_CHANGED_USER, partial=True)
    return answer(user_json(call.world.directory.update_user(uid, body, call.world.now()), with_tags=True))


@routes.add("DELETE", "/users/<uid>", group="core", acting="no")
def delete_user(call: Call, uid: str) -> Answer:
    """A confirmation; the user is only deactivated unless ``permanent``."""
    permanent = call.switch("permanent")
    user = call.world.directory.delete_user(uid, permanent=permanent, now=call.world.now())
    return done(f"User with UID {user.uid} has been {'deleted' if permanent else 'deactivated'} successfully.")


@routes.add("DELETE", "/users", acting="no")
def deactivate_users(call: Call) -> Answer:
    """The uids that were deactivated."""
    uids = call.read(_ACTIVATION).get("uidsToDeactivate", [])
    changed = call.world.directory.activate(uids, now=call.world.now(), active=False)
    return answer({"deactivatedUids": changed})


@routes.add("PUT", "/users", acting="no")
def reactivate_users(call: Call) -> Answer:
    """The uids that may be used again."""
    uids = call.read(_ACTIVATION).get("uidsToActivate", [])
    return answer({"reactivatedUids": call.world.directory.activate(uids, now=call.world.now(), active=True)})


@routes.add("POST", "/users/<uid>/auth_tokens", group="core", acting="no", auth_only=True)
def create_auth_token(call: Call, uid: str) -> Answer:
    """The newest auth token of a user, or another one with ``force``."""
    user = call.world.directory.user(uid)
    if user.auth_tokens and not call.switch("force"):
        token, created_at = next(reversed(user.auth_tokens.items()))
        return answer({"uid": user.uid, "authToken": token, "createdAt": created_at})
    token = _new_token(call, user)
    return answer({"uid": user.uid, "authToken": token, "createdAt": user.auth_tokens[token]})


@routes.add("POST", "/users/<uid>/blockedusers", acting="no")
def block_users(call: Call, uid: str) -> Answer:
    """For each user whether they are blocked now."""
    return answer(_block(call, uid, blocked=True))


@routes.add("DELETE", "/users/<uid>/blockedusers", acting="no")
def unblock_users(call: Call, uid: str) -> Answer:
    """For each user whether they may write again."""
    return answer(_block(call, uid, blocked=False))


@routes.add("GET", "/users/<uid>/blockedusers", acting="no")
def list_blocked_users(call: Call, uid: str) -> Answer:
    """The users that a user has blocked."""
    blocked = sorted(call.world.directory.user(uid).blocked)
    return paged(blocked, call.page(), call.world.shapes.user)


def _block(call: Call, uid: str, *, blocked: bool) -> dict[str, Any]:
    user = call.world.directory.user(uid)
    results: dict[str, Any] = {}
    for other in (item.lower() for item in call.read(_BLOCK)["blockedUids"]):
        try:
            if call.world.directory.user(other) is user:
                raise Refusal("ERR_CANNOT_BLOCK_SELF", "Users cannot block themselves.")
        except Refusal as refusal:
            results[other] = {"success": False, "error": refusal.to_json()}
            continue
        (user.blocked.add if blocked else user.blocked.discard)(other)
        results[other] = {"success": True}
    return results


def _new_token(call: Call, user: UserRecord) -> str:
    token = f"{user.uid}_{call.world.token(32)}"
    user.auth_tokens[token] = call.world.now()
    while len(user.auth_tokens) > MAX_AUTH_TOKENS:
        del user.auth_tokens[next(iter(user.auth_tokens))]
    return token


def _fits(user: UserRecord, query: dict[str, Any]) -> bool:
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
