"""CometChat's REST operations that a bot needs, without the transport, which the client adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from cometbot.channels.cometchat import request_bodies
from cometbot.channels.cometchat.api_request import (
    PAGE_SIZE,
    ApiRequest,
    Params,
    check_choice,
    check_length,
    check_on_behalf_of,
    group_path,
    message_path,
    path_segment,
    peer_path,
    read_records,
    read_results,
)
from cometbot.channels.cometchat.conversation_operations import ConversationOperations
from cometbot.channels.cometchat.responses import Record
from cometbot.channels.cometchat.user_operations import UserOperations
from cometbot.errors import MessageError

GROUP_SETTINGS = ("none", "allMessages", "slashedMessages", "mentionedMessages")
MAX_MEMBERS_PER_REQUEST = 25
MAX_AGENT_NAME_LENGTH = 100
_AGENTS_PATH = "/ai-agents/agents"
_REVIEW_REFUSALS = {"flagged": "disapproved", "blocked": "rejected"}


class Operations(UserOperations, ConversationOperations):
    """REST operations: each method sends one and returns the ``data`` of the response.

    Methods raise :class:`MessageError`, naming the field, before anything is sent, for values that CometChat would
    certainly refuse. ``on_behalf_of`` is the uid of the acting user. ``timeout`` is in seconds for the whole exchange;
    operations without it use the client's own.
    """

    def create_bot(
        self,
        uid: str,
        webhook_url: str,
        *,
        username: str = "",
        password: str = "",
        group_setting: str = "mentionedMessages",
        enabled: bool = True,
    ) -> Record:
        """Create a bot and return it; its user must exist. CometChat sends the credentials with every callback."""
        body: dict[str, Any] = {
            "uid": request_bodies.check_id(uid, "uid", max_length=50),
            "webhookURL": check_length(webhook_url, "webhookURL", 255),
            "groupChatSetting": check_choice(group_setting, "groupChatSetting", GROUP_SETTINGS),
            "enabled": enabled,
        }
        if username or password:
            body["username"] = check_length(username, "username", 50)
            body["password"] = check_length(password, "password", 50)
            body["useBasicAuth"] = True
        return self._request_record("POST", "/bots", body=body)

    def bots(self, *, search: str = "", ai: bool = False) -> Iterator[Record]:
        """Iterate over all bots, by uid; with ``ai`` those of CometChat's AI product instead (no call lists both)."""
        query: Params = {**({"searchKey": search} if search else {}), **({"isAIBot": True} if ai else {})}
        return self._iter_pages("/bots", query)

    def get_bot(self, uid: str) -> Record:
        """Return one bot. The record contains its password, which the repr masks."""
        return self._request_record("GET", _bot_path(uid))

    def update_bot(self, uid: str, changes: Mapping[str, Any]) -> Record:
        """Change a bot and return it.

        ``changes`` has CometChat's names, such as ``webhookURL`` and ``enabled``.

        Raises :class:`MessageError` if ``changes`` contains the uid, which cannot be changed.
        """
        if "uid" in changes:
            raise MessageError("uid of a bot cannot be changed: delete the bot and create it again")
        if "groupChatSetting" in changes:
            check_choice(changes["groupChatSetting"], "groupChatSetting", GROUP_SETTINGS)
        return self._request_record("PUT", _bot_path(uid), body=changes)

    def delete_bot(self, uid: str) -> Record:
        """Delete a bot and return the confirmation; the user and its messages remain."""
        return self._request_record("DELETE", _bot_path(uid))

    def agents(self) -> list[Record]:
        """Return all agents of the app that CometChat calls at a URL, of every provider.

        Their records contain the headers that CometChat sends, which the repr masks.
        """
        return read_records(self.send_request(ApiRequest("GET", _AGENTS_PATH, has_plain_answer=True)))

    def create_agent(self, body: Mapping[str, Any]) -> Record:
        """Create an agent and return it, with the uid that CometChat gave it; ``body`` has CometChat's names."""
        body = {**body, "name": check_length(body.get("name", ""), "name", MAX_AGENT_NAME_LENGTH)}
        created = self._request_record("POST", _AGENTS_PATH, body=body, has_plain_answer=True)
        return Record(agent) if isinstance(agent := created.get("agent"), dict) else created

    def update_agent(self, uid: str, changes: Mapping[str, Any]) -> Record:
        """Change an agent and return the confirmation; ``changes`` has CometChat's names."""
        return self._request_record("PATCH", _agent_path(uid), body=changes, has_plain_answer=True)

    def delete_agent(self, uid: str) -> Record:
        """Delete an agent and return the confirmation."""
        return self._request_record("DELETE", _agent_path(uid), has_plain_answer=True)

    def send_bot_message(self, bot: str, body: Mapping[str, Any], *, timeout: float | None = None) -> Record:
        """Send a message of any kind as ``bot`` and return it.

        ``body`` is a body as in :mod:`cometbot.channels.cometchat.request_bodies`.
        """
        encoded = request_bodies.check_message(body)
        path = f"/bots/{path_segment(bot, 'bot', 50)}/messages"
        return self._request_record("POST", path, body=encoded, timeout=timeout)

    def send_message(self, body: Mapping[str, Any], *, on_behalf_of: str = "") -> Record:
        """Send a message as ``on_behalf_of``, or else as the service account ``app_system``, and return it."""
        encoded = request_bodies.check_message(body)
        return self._request_record("POST", "/messages", body=encoded, on_behalf_of=on_behalf_of)

    def reply_in_thread(
        self, parent_id: str, body: Mapping[str, Any], *, on_behalf_of: str, timeout: float | None = None
    ) -> Record:
        """Send a reply in the thread of ``parent_id``, which must be a thread's root, and return it."""
        path = f"/messages/{path_segment(parent_id, 'parentId')}/thread"
        encoded = request_bodies.check_message(body)
        return self._request_record(
            "POST", path, body=encoded, on_behalf_of=check_on_behalf_of(on_behalf_of), timeout=timeout
        )

    def get_message(self, message_id: str, *, on_behalf_of: str = "", timeout: float | None = None) -> Record:
        """Return one message."""
        return self._request_record("GET", message_path(message_id), on_behalf_of=on_behalf_of, timeout=timeout)

    def edit_message(
        self,
        message_id: str,
        data: Mapping[str, Any],
        *,
        tags: Sequence[str] | None = None,
        on_behalf_of: str = "",
        timeout: float | None = None,
    ) -> Record:
        """Edit a message and return the action message that reports the edit.

        ``data`` (text, metadata …) and ``tags``, if given, replace the earlier ones.
        """
        if "text" in data and not (isinstance(data["text"], str) and data["text"].strip()):
            raise MessageError("data.text must be a text that is not empty")
        request_bodies.check_data(data)
        request_bodies.check_tags(tags)
        body = {"data": dict(data), **({} if tags is None else {"tags": list(tags)})}
        path = message_path(message_id)
        return self._request_record("PUT", path, body=body, on_behalf_of=on_behalf_of, timeout=timeout)

    def delete_message(
        self, message_id: str, *, permanent: bool = False, on_behalf_of: str = "", timeout: float | None = None
    ) -> Record:
        """Delete a message and return the action message that reports the deletion."""
        body = {"permanent": True} if permanent else None
        path = message_path(message_id)
        return self._request_record("DELETE", path, body=body, on_behalf_of=on_behalf_of, timeout=timeout)

    def add_reaction(
        self, message_id: str, reaction: str, *, on_behalf_of: str, timeout: float | None = None
    ) -> Record:
        """Add a reaction to a message and return the message."""
        path = _reaction_path(message_id, reaction)
        return self._request_record("POST", path, on_behalf_of=check_on_behalf_of(on_behalf_of), timeout=timeout)

    def remove_reaction(
        self, message_id: str, reaction: str, *, on_behalf_of: str, timeout: float | None = None
    ) -> Record:
        """Remove a reaction from a message and return the message."""
        path = _reaction_path(message_id, reaction)
        return self._request_record("DELETE", path, on_behalf_of=check_on_behalf_of(on_behalf_of), timeout=timeout)

    def reactions(self, message_id: str, reaction: str = "", *, on_behalf_of: str = "") -> list[Record]:
        """Return the reactions to a message with their users, or only those that are ``reaction``."""
        path = _reaction_path(message_id, reaction) if reaction else f"{message_path(message_id)}/reactions"
        return read_records(self.request("GET", path, on_behalf_of=on_behalf_of))

    def messages(
        self,
        *,
        user: str = "",
        group: str = "",
        on_behalf_of: str = "",
        query: Params | None = None,
        timeout: float | None = None,
    ) -> list[Record]:
        """Return one page of a conversation's history, in CometChat's order.

        Without ``user`` and ``group`` it is a page of all messages. ``query`` has the parameters of a history query:
        ``limit``, ``affix``, ``id`` … (docs/protocols/cometchat.md, "History queries").
        """
        prefix = peer_path(user, group) if user or group else ""
        answer = self.request("GET", f"{prefix}/messages", params=query, on_behalf_of=on_behalf_of, timeout=timeout)
        return read_records(answer)

    def thread(
        self, parent_id: str, *, on_behalf_of: str = "", page: int = 1, timeout: float | None = None
    ) -> list[Record]:
        """Return one page of a thread's replies."""
        path = f"{message_path(parent_id)}/thread"
        params: Params = {"perPage": PAGE_SIZE, "page": page}
        return read_records(self.request("GET", path, params=params, on_behalf_of=on_behalf_of, timeout=timeout))

    def create_group(
        self,
        guid: str,
        name: str,
        kind: Literal["public", "password", "private"] = "public",
        details: Mapping[str, Any] | None = None,
        *,
        on_behalf_of: str = "",
    ) -> Record:
        """Create a group, owned by ``on_behalf_of``, and return it.

        ``details`` has CometChat's names: ``members``, ``icon`` …
        """
        body = {
            **(details or {}),
            "guid": request_bodies.check_id(guid, "guid"),
            "name": check_length(name, "name", 100),
            "type": check_choice(kind, "type", ("public", "password", "private")),
        }
        request_bodies.check_tags(body.get("tags"))
        return self._request_record("POST", "/groups", body=body, on_behalf_of=on_behalf_of)

    def get_group(self, guid: str, *, on_behalf_of: str = "", timeout: float | None = None) -> Record:
        """Return one group."""
        return self._request_record("GET", group_path(guid), on_behalf_of=on_behalf_of, timeout=timeout)

    def groups(self, query: Params | None = None, *, on_behalf_of: str = "") -> Iterator[Record]:
        """Iterate over all groups that match ``query`` (``searchKey``, ``hasJoined``, ``tags`` …)."""
        return self._iter_pages("/groups", query, on_behalf_of=on_behalf_of)

    def update_group(self, guid: str, changes: Mapping[str, Any], *, on_behalf_of: str = "") -> Record:
        """Change a group and return it."""
        return self._request_record("PUT", group_path(guid), body=changes, on_behalf_of=on_behalf_of)

    def delete_group(self, guid: str, *, on_behalf_of: str = "") -> Record:
        """Delete a group and return the confirmation."""
        return self._request_record("DELETE", group_path(guid), on_behalf_of=on_behalf_of)

    def add_members(
        self,
        guid: str,
        uids: Sequence[str],
        *,
        scope: Literal["participants", "moderators", "admins"] = "participants",
        on_behalf_of: str = "",
        timeout: float | None = None,
    ) -> dict[str, Record]:
        """Add members to a group, in batches of 25.

        Returns the result for each uid: ``{"success": True, …}`` or ``{"error": …}``.
        """
        check_choice(scope, "scope", ("participants", "moderators", "admins"))
        wanted = [request_bodies.check_id(uid, "uid") for uid in uids]
        results: dict[str, Record] = {}
        for start in range(0, len(wanted), MAX_MEMBERS_PER_REQUEST):
            body: dict[str, Any] = {scope: wanted[start : start + MAX_MEMBERS_PER_REQUEST]}
            path = f"{group_path(guid)}/members"
            answer = self._request_record("POST", path, body=body, on_behalf_of=on_behalf_of, timeout=timeout)
            results |= read_results(answer.get(scope))
        return results

    def members(self, guid: str, query: Params | None = None, *, timeout: float | None = None) -> Iterator[Record]:
        """Iterate over all members of a group that match ``query`` (``scopes``, ``status``).

        Each record has ``scope`` and ``joinedAt``. All pages together have ``timeout`` seconds.
        """
        return self._iter_pages(f"{group_path(guid)}/members", query, timeout=timeout)

    def change_scope(self, guid: str, uid: str, scope: str, *, on_behalf_of: str = "") -> Record:
        """Change a member's scope to ``admin``, ``moderator`` or ``participant``, and return the member."""
        body = {"scope": check_choice(scope, "scope", ("admin", "moderator", "participant"))}
        return self._request_record("PUT", _group_user_path(guid, "members", uid), body=body, on_behalf_of=on_behalf_of)

    def kick(self, guid: str, uid: str, *, on_behalf_of: str = "", timeout: float | None = None) -> Record:
        """Remove ``uid`` from a group and return the confirmation."""
        path = _group_user_path(guid, "members", uid)
        return self._request_record("DELETE", path, on_behalf_of=on_behalf_of, timeout=timeout)

    def ban(self, guid: str, uid: str, *, on_behalf_of: str = "", timeout: float | None = None) -> Record:
        """Remove ``uid`` from a group, so that it cannot join again, and return the confirmation."""
        path = _group_user_path(guid, "bannedusers", uid)
        return self._request_record("POST", path, on_behalf_of=on_behalf_of, timeout=timeout)

    def unban(self, guid: str, uid: str, *, on_behalf_of: str = "", timeout: float | None = None) -> Record:
        """Allow ``uid`` to join a group again, and return the confirmation."""
        path = _group_user_path(guid, "bannedusers", uid)
        return self._request_record("DELETE", path, on_behalf_of=on_behalf_of, timeout=timeout)

    def banned(self, guid: str) -> Iterator[Record]:
        """Iterate over all users who are banned from a group."""
        return self._iter_pages(f"{group_path(guid)}/bannedusers")

    def review(
        self,
        message_id: str,
        *,
        approve: bool,
        queue: Literal["flagged", "blocked"] = "flagged",
        timeout: float | None = None,
    ) -> Record:
        """Decide on a message that moderation or a user has flagged, or that moderation has blocked.

        With ``approve``, a flagged message stays visible and a blocked one is delivered. Otherwise a flagged message is
        blocked, and a blocked one stays so and counts as reviewed. Returns the confirmation.
        """
        check_choice(queue, "queue", ("flagged", "blocked"))
        body: dict[str, Any] = {"status": "approved" if approve else _REVIEW_REFUSALS[queue]}
        if queue == "blocked":
            body["reviewed"] = True
        path = f"/moderation/{queue}-messages/{path_segment(message_id, 'id')}"
        return self._request_record("PATCH", path, body=body, timeout=timeout, has_plain_answer=True)

    def flag_message(self, message_id: str, reason: str, *, on_behalf_of: str, remark: str = "") -> Record:
        """Flag a message as ``on_behalf_of``, for review by moderators, and return the confirmation.

        ``reason`` is the id of one of the reasons that the dashboard lists, such as ``spam``.
        """
        body = {"reasonId": check_length(reason, "reasonId", 100), **({"remark": remark} if remark else {})}
        path = f"{message_path(message_id)}/flagged"
        options = {"on_behalf_of": check_on_behalf_of(on_behalf_of), "has_plain_answer": True}
        return self._request_record("POST", path, body=body, **options)


def _bot_path(uid: str) -> str:
    return f"/bots/{path_segment(uid, 'uid')}"


def _agent_path(uid: str) -> str:
    return f"{_AGENTS_PATH}/{path_segment(uid, 'uid')}"


def _group_user_path(guid: str, collection: str, uid: str) -> str:
    return f"{group_path(guid)}/{collection}/{path_segment(uid, 'uid')}"


def _reaction_path(message_id: str, reaction: str) -> str:
    return f"{message_path(message_id)}/reactions/{quote(request_bodies.check_reaction(reaction), safe='')}"
