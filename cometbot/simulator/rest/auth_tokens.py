"""Tokens with which clients log in: docs/protocols/cometchat.md, "Auth tokens"."""

from __future__ import annotations

from typing import Any

from cometbot.simulator.errors import Refusal
from cometbot.simulator.records import AuthToken, UserRecord
from cometbot.simulator.rest.routes import ApiCall, RouteTable, confirmation, paginate
from cometbot.simulator.schemas import AuthTokenSchema

MAX_AUTH_TOKENS = 100

routes = RouteTable()
_CHANGES = AuthTokenSchema()


@routes.add("POST", "/users/<uid>/auth_tokens", group="core", acting="no", auth_only=True)
def create_auth_token(call: ApiCall, uid: str) -> dict[str, Any]:
    """Return the newest auth token of a user. Create one if there is none, or if ``force`` is set."""
    user = call.world.directory.user(uid)
    if not user.auth_tokens or call.get_flag("force"):
        create_token(call, user)
    return _token_json(user, next(reversed(user.auth_tokens)))


@routes.add("GET", "/users/<uid>/auth_tokens", acting="no")
def list_auth_tokens(call: ApiCall, uid: str) -> dict[str, Any]:
    """Return the tokens of a user, oldest first."""
    user = call.world.directory.user(uid)
    return paginate(list(user.auth_tokens), call.load_page_query(), lambda token: _token_json(user, token))


@routes.add("DELETE", "/users/<uid>/auth_tokens", acting="no")
def delete_auth_tokens(call: ApiCall, uid: str) -> dict[str, Any]:
    """Delete all tokens of a user and return a confirmation."""
    user = call.world.directory.user(uid)
    user.auth_tokens.clear()
    return confirmation(f"Cleared Auth Tokens successfully for uid {user.uid}.")


@routes.add("GET", "/users/<uid>/auth_tokens/<token>", acting="no")
def get_auth_token(call: ApiCall, uid: str, token: str) -> dict[str, Any]:
    """Return one token."""
    return _token_json(_find_owner(call, uid, token), token)


@routes.add("PUT", "/users/<uid>/auth_tokens/<token>", acting="no")
def update_auth_token(call: ApiCall, uid: str, token: str) -> dict[str, Any]:
    """Change what is stored about the client of a token and return the token."""
    user = _find_owner(call, uid, token)
    for name, value in call.load_body(_CHANGES).items():
        setattr(user.auth_tokens[token], name, value)
    return _token_json(user, token)


@routes.add("DELETE", "/users/<uid>/auth_tokens/<token>", acting="no")
def delete_auth_token(call: ApiCall, uid: str, token: str) -> dict[str, Any]:
    """Delete one token and return a confirmation."""
    user = _find_owner(call, uid, token)
    del user.auth_tokens[token]
    return confirmation(f"The auth token of the user with UID {user.uid} has been deleted successfully.")


def create_token(call: ApiCall, user: UserRecord) -> str:
    """Create and return a token. The oldest ones are deleted if there are too many."""
    token = f"{user.uid}_{call.world.token(32)}"
    user.auth_tokens[token] = AuthToken(call.world.now())
    while len(user.auth_tokens) > MAX_AUTH_TOKENS:
        del user.auth_tokens[next(iter(user.auth_tokens))]
    return token


def _find_owner(call: ApiCall, uid: str, token: str) -> UserRecord:
    """Return the user. Raises ``AUTH_ERR_AUTH_TOKEN_NOT_FOUND`` if the token is not theirs."""
    user = call.world.directory.user(uid)
    if token not in user.auth_tokens:
        raise Refusal("AUTH_ERR_AUTH_TOKEN_NOT_FOUND", f"The user with UID {user.uid} does not have this auth token.")
    return user


def _token_json(user: UserRecord, token: str) -> dict[str, Any]:
    stored = user.auth_tokens[token]
    client = {"platform": stored.platform, "userAgent": stored.user_agent, "appInfo": stored.app_info}
    shown = {name: value for name, value in client.items() if value}
    return {"uid": user.uid, "authToken": token, "createdAt": stored.created_at, **shown}
