"""Friends of users: docs/protocols/cometchat.md, "Friends and blocked users"."""

from __future__ import annotations

from typing import Any

from cometbot.simulator.errors import Refusal, bad_request
from cometbot.simulator.records import UserRecord
from cometbot.simulator.rest.routes import ApiCall, RouteTable, confirmation, paginate
from cometbot.simulator.schemas import FriendsSchema
from cometbot.simulator.world import conversation_id

MAX_FRIENDS = 1000

routes = RouteTable()
_FRIENDS = FriendsSchema()


@routes.add("POST", "/users/<uid>/friends", acting="no")
def add_friends(call: ApiCall, uid: str) -> dict[str, Any]:
    """Make users friends and return the result for each."""
    user = call.world.directory.user(uid)
    results = {other.lower(): _befriend(call, user, other) for other in call.load_body(_FRIENDS).get("accepted", [])}
    return {"accepted": results}


@routes.add("GET", "/users/<uid>/friends", acting="no")
def list_friends(call: ApiCall, uid: str) -> dict[str, Any]:
    """Return the friends of a user whose uid or name contains ``searchKey``, ordered by uid."""
    user, query = call.world.directory.user(uid), call.load_page_query()
    key = query["searchKey"].lower()
    known = [call.world.serializer.user(other) for other in sorted(user.friends)]
    found = [friend for friend in known if key in friend["uid"] or key in friend["name"].lower()]
    return paginate(
        found, query, lambda friend: {**friend, "conversationId": conversation_id("user", user.uid, friend["uid"])}
    )


@routes.add("DELETE", "/users/<uid>/friends", acting="no")
def remove_friends(call: ApiCall, uid: str) -> dict[str, Any]:
    """End friendships on both sides and return a confirmation."""
    user = call.world.directory.user(uid)
    for other in call.load_body(_FRIENDS).get("friends", []):
        user.friends.discard(other.lower())
        if friend := call.world.directory.find_user(other):
            friend.friends.discard(user.uid)
    return confirmation("Deleted the friend relations successfully.")


def _befriend(call: ApiCall, user: UserRecord, uid: str) -> dict[str, Any]:
    try:
        other = call.world.directory.user(uid)
        if other is user:
            raise bad_request("accepted", "Users cannot be their own friends.")
        if max(len(user.friends), len(other.friends)) >= MAX_FRIENDS and other.uid not in user.friends:
            raise bad_request("accepted", f"A user can have at most {MAX_FRIENDS} friends.")
    except Refusal as refusal:
        return {"success": False, "error": refusal.to_json()}
    user.friends.add(other.uid)
    other.friends.add(user.uid)
    return confirmation("Created relationship with status accepted.")
