"""Operations on users: accounts, friends, blocked users and the tokens with which clients log in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cometbot.channels.cometchat import request_bodies
from cometbot.channels.cometchat.api_request import (
    OperationsBase,
    Params,
    check_length,
    check_uids,
    path_segment,
    read_results,
    user_path,
)
from cometbot.channels.cometchat.responses import Record
from cometbot.errors import MessageError

MAX_FRIENDS_PER_REQUEST = 25
_MAX_TOKEN_LENGTH = 255


class UserOperations(OperationsBase):
    """Operations on users."""

    def create_user(self, uid: str, name: str, details: Mapping[str, Any] | None = None) -> Record:
        """Create a user and return it.

        ``details`` has CometChat's names: ``avatar``, ``metadata``, ``tags``, ``withAuthToken`` …
        """
        body = {**(details or {}), "uid": request_bodies.check_id(uid, "uid"), "name": check_length(name, "name", 100)}
        request_bodies.check_tags(body.get("tags"))
        return self._request_record("POST", "/users", body=body)

    def get_user(self, uid: str, *, on_behalf_of: str = "") -> Record:
        """Return one user."""
        return self._request_record("GET", user_path(uid), on_behalf_of=on_behalf_of)

    def users(self, query: Params | None = None, *, on_behalf_of: str = "") -> Iterator[Record]:
        """Iterate over all users that match ``query`` (``searchKey``, ``tags``, ``role`` …)."""
        return self._iter_pages("/users", query, on_behalf_of=on_behalf_of)

    def update_user(self, uid: str, changes: Mapping[str, Any]) -> Record:
        """Change a user and return it; ``unset`` in ``changes`` lists the properties to remove."""
        return self._request_record("PUT", user_path(uid), body=changes)

    def delete_user(self, uid: str, *, permanent: bool = False) -> Record:
        """Delete a user, or only deactivate it without ``permanent``; return the confirmation."""
        return self._request_record("DELETE", user_path(uid), body={"permanent": permanent})

    def create_auth_token(self, uid: str, *, force: bool = False) -> Record:
        """Create and return a token with which a client logs in as ``uid``. Its repr is masked.

        With ``force``, CometChat creates another one although the user has a token.
        """
        return self._request_record("POST", f"{user_path(uid)}/auth_tokens", body={"force": force})

    def deactivate_users(self, uids: Sequence[str]) -> list[str]:
        """Deactivate users in one request, and return the uids that CometChat reports.

        They cannot log in or send, and their messages stay. CometChat changes none if one is unknown.
        """
        body = {"uidsToDeactivate": check_uids(uids, "uidsToDeactivate")}
        return _uids(self._request_record("DELETE", "/users", body=body).get("deactivatedUids"))

    def reactivate_users(self, uids: Sequence[str]) -> list[str]:
        """Reactivate deactivated users in one request, and return the uids that CometChat reports."""
        body = {"uidsToActivate": check_uids(uids, "uidsToActivate")}
        return _uids(self._request_record("PUT", "/users", body=body).get("nonDeactivatedUids"))

    def friends(self, uid: str, *, search: str = "") -> Iterator[Record]:
        """Iterate over the friends of a user, or those whose uid or name contains ``search``."""
        return self._iter_pages(f"{user_path(uid)}/friends", {"searchKey": search} if search else None)

    def add_friends(self, uid: str, uids: Sequence[str]) -> dict[str, Record]:
        """Make users friends of ``uid``, and ``uid`` theirs, in batches of 25.

        Returns the result for each uid: ``{"success": True, …}`` or ``{"error": …}``.
        """
        wanted = check_uids(uids, "accepted")
        results: dict[str, Record] = {}
        for start in range(0, len(wanted), MAX_FRIENDS_PER_REQUEST):
            body = {"accepted": wanted[start : start + MAX_FRIENDS_PER_REQUEST]}
            answer = self._request_record("POST", f"{user_path(uid)}/friends", body=body)
            results |= read_results(answer.get("accepted"))
        return results

    def remove_friends(self, uid: str, uids: Sequence[str]) -> Record:
        """End friendships of ``uid``, on both sides, and return the confirmation."""
        body = {"friends": check_uids(uids, "friends")}
        return self._request_record("DELETE", f"{user_path(uid)}/friends", body=body)

    def blocked_users(self, uid: str) -> Iterator[Record]:
        """Iterate over the users whom ``uid`` has blocked. Each record has ``blockedByMeAt``."""
        return self._iter_pages(f"{user_path(uid)}/blockedusers")

    def block_users(self, uid: str, uids: Sequence[str]) -> dict[str, Record]:
        """Block users as ``uid``: neither side can send to the other.

        Returns the result for each uid: ``{"success": True, …}`` or ``{"error": …}``.
        """
        return self._change_blocked("POST", uid, uids)

    def unblock_users(self, uid: str, uids: Sequence[str]) -> dict[str, Record]:
        """Unblock users whom ``uid`` has blocked, and return the result for each uid.

        What was sent meanwhile stays hidden.
        """
        return self._change_blocked("DELETE", uid, uids)

    def auth_tokens(self, uid: str) -> Iterator[Record]:
        """Iterate over the tokens of a user. The repr of each record is masked."""
        return self._iter_pages(f"{user_path(uid)}/auth_tokens")

    def get_auth_token(self, uid: str, token: str) -> Record:
        """Return one token of a user, with its time and client. Its repr is masked."""
        return self._request_record("GET", _token_path(uid, token), secret=token)

    def update_auth_token(self, uid: str, token: str, changes: Mapping[str, Any]) -> Record:
        """Change what is stored about the client of a token: ``platform``, ``userAgent``, ``appInfo``."""
        return self._request_record("PUT", _token_path(uid, token), body=changes, secret=token)

    def delete_auth_token(self, uid: str, token: str) -> Record:
        """Delete one token, which logs its client out, and return the confirmation."""
        return self._request_record("DELETE", _token_path(uid, token), secret=token)

    def delete_auth_tokens(self, uid: str) -> Record:
        """Delete all tokens of a user, which logs out all clients, and return the confirmation."""
        return self._request_record("DELETE", f"{user_path(uid)}/auth_tokens")

    def _change_blocked(self, method: str, uid: str, uids: Sequence[str]) -> dict[str, Record]:
        body = {"blockedUids": check_uids(uids, "blockedUids")}
        return read_results(self._request_record(method, f"{user_path(uid)}/blockedusers", body=body))


def _token_path(uid: str, token: str) -> str:
    """Return the path of a token; an error about it does not show the token."""
    try:
        segment = path_segment(token, "authToken", _MAX_TOKEN_LENGTH)
    except MessageError:
        raise MessageError(f"authToken must be a token of 1 to {_MAX_TOKEN_LENGTH} characters without spaces") from None
    return f"{user_path(uid)}/auth_tokens/{segment}"


def _uids(value: object) -> list[str]:
    return [str(uid) for uid in value] if isinstance(value, list) else []
