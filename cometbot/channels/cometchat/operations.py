"""CometChat's REST operations that a bot needs, without the transport, which the client adds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any, Literal
from urllib.parse import quote

from cometbot.channels.cometchat import request_bodies
from cometbot.channels.cometchat.responses import Record
from cometbot.errors import MessageError, OutcomeUnknown
from cometbot.models import check_recipient

GROUP_SETTINGS = ("none", "allMessages", "slashedMessages", "mentionedMessages")
MAX_MEMBERS_PER_REQUEST = 25
MAX_AGENT_NAME_LENGTH = 100
PAGE_SIZE = 100
_AGENTS_PATH = "/ai-agents/agents"

Params = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """One request of the REST API, without the key. ``path`` starts with a slash."""

    method: str
    path: str
    body: Mapping[str, Any] | bytes | None = field(default=None, repr=False)
    params: Params = field(default_factory=dict)
    on_behalf_of: str = ""
    timeout: float | None = None
    has_plain_answer: bool = False
    """True if the response is the result itself, as that of the agents' service, and not an envelope."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Operations(ABC):
    """REST operations: each method sends one and returns the ``data`` of the response.

    Methods raise :class:`MessageError`, naming the field, before anything is sent, for values that CometChat would
    certainly refuse. ``on_behalf_of`` is the uid of the acting user. ``timeout`` is in seconds for the whole exchange;
    operations without it use the client's own.
    """

    @abstractmethod
    def send_request(self, request: ApiRequest) -> dict[str, Any]:
        """Send ``request`` and return the response's envelope.

        Raises the matching subclass of :class:`ChannelError` if it fails.
        """

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | bytes | None = None,
        params: Params | None = None,
        on_behalf_of: str = "",
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Send a request and return the response's envelope, for operations without a method of their own.

        ``path`` starts with a slash. Raises the matching subclass of :class:`ChannelError` if the request fails.
        """
        return self.send_request(ApiRequest(method, path, body, params or {}, on_behalf_of, timeout))

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
            "webhookURL": _check_length(webhook_url, "webhookURL", 255),
            "groupChatSetting": _check_choice(group_setting, "groupChatSetting", GROUP_SETTINGS),
            "enabled": enabled,
        }
        if username or password:
            body["username"] = _check_length(username, "username", 50)
            body["password"] = _check_length(password, "password", 50)
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
            _check_choice(changes["groupChatSetting"], "groupChatSetting", GROUP_SETTINGS)
        return self._request_record("PUT", _bot_path(uid), body=changes)

    def delete_bot(self, uid: str) -> Record:
        """Delete a bot and return the confirmation; the user and its messages remain."""
        return self._request_record("DELETE", _bot_path(uid))

    def agents(self) -> list[Record]:
        """Return all agents of the app that CometChat calls at a URL, of every provider.

        Their records contain the headers that CometChat sends, which the repr masks.
        """
        return _read_records(self.send_request(ApiRequest("GET", _AGENTS_PATH, has_plain_answer=True)))

    def create_agent(self, body: Mapping[str, Any]) -> Record:
        """Create an agent and return it, with the uid that CometChat gave it; ``body`` has CometChat's names."""
        body = {**body, "name": _check_length(body.get("name", ""), "name", MAX_AGENT_NAME_LENGTH)}
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
        path = f"/bots/{_path_segment(bot, 'bot', 50)}/messages"
        return self._request_record("POST", path, body=encoded, timeout=timeout)

    def send_message(self, body: Mapping[str, Any], *, on_behalf_of: str = "") -> Record:
        """Send a message as ``on_behalf_of``, or else as the service account ``app_system``, and return it."""
        encoded = request_bodies.check_message(body)
        return self._request_record("POST", "/messages", body=encoded, on_behalf_of=on_behalf_of)

    def reply_in_thread(
        self, parent_id: str, body: Mapping[str, Any], *, on_behalf_of: str, timeout: float | None = None
    ) -> Record:
        """Send a reply in the thread of ``parent_id``, which must be a thread's root, and return it."""
        path = f"/messages/{_path_segment(parent_id, 'parentId')}/thread"
        encoded = request_bodies.check_message(body)
        return self._request_record(
            "POST", path, body=encoded, on_behalf_of=_check_on_behalf_of(on_behalf_of), timeout=timeout
        )

    def get_message(self, message_id: str, *, on_behalf_of: str = "", timeout: float | None = None) -> Record:
        """Return one message."""
        return self._request_record("GET", _message_path(message_id), on_behalf_of=on_behalf_of, timeout=timeout)

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
        path = _message_path(message_id)
        return self._request_record("PUT", path, body=body, on_behalf_of=on_behalf_of, timeout=timeout)

    def delete_message(
        self, message_id: str, *, permanent: bool = False, on_behalf_of: str = "", timeout: float | None = None
    ) -> Record:
        """Delete a message and return the action message that reports the deletion."""
        body = {"permanent": True} if permanent else None
        path = _message_path(message_id)
        return self._request_record("DELETE", path, body=body, on_behalf_of=on_behalf_of, timeout=timeout)

    def add_reaction(
        self, message_id: str, reaction: str, *, on_behalf_of: str, timeout: float | None = None
    ) -> Record:
        """Add a reaction to a message and return the message."""
        path = _reaction_path(message_id, reaction)
        return self._request_record("POST", path, on_behalf_of=_check_on_behalf_of(on_behalf_of), timeout=timeout)

    def remove_reaction(
        self, message_id: str, reaction: str, *, on_behalf_of: str, timeout: float | None = None
    ) -> Record:
        """Remove a reaction from a message and return the message."""
        path = _reaction_path(message_id, reaction)
        return self._request_record("DELETE", path, on_behalf_of=_check_on_behalf_of(on_behalf_of), timeout=timeout)

    def reactions(self, message_id: str, reaction: str = "", *, on_behalf_of: str = "") -> list[Record]:
        """Return the reactions to a message with their users, or only those that are ``reaction``."""
        path = _reaction_path(message_id, reaction) if reaction else f"{_message_path(message_id)}/reactions"
        return _read_records(self.request("GET", path, on_behalf_of=on_behalf_of))

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
        prefix = _peer_path(user, group) if user or group else ""
        answer = self.request("GET", f"{prefix}/messages", params=query, on_behalf_of=on_behalf_of, timeout=timeout)
        return _read_records(answer)

    def thread(
        self, parent_id: str, *, on_behalf_of: str = "", page: int = 1, timeout: float | None = None
    ) -> list[Record]:
        """Return one page of a thread's replies."""
        path = f"{_message_path(parent_id)}/thread"
        params: Params = {"perPage": PAGE_SIZE, "page": page}
        return _read_records(self.request("GET", path, params=params, on_behalf_of=on_behalf_of, timeout=timeout))

    def mark_read(self, *, reader: str, user: str = "", group: str = "", message_id: str = "") -> Record:
        """Mark a conversation as read by ``reader``, up to and including ``message_id`` if given.

        Returns the confirmation.
        """
        return self._mark_conversation("POST", "read", reader, user, group, message_id)

    def mark_unread(self, *, reader: str, user: str = "", group: str = "", message_id: str = "") -> Record:
        """Mark a conversation as unread again for ``reader``, and return the confirmation."""
        return self._mark_conversation("DELETE", "read", reader, user, group, message_id)

    def mark_delivered(self, *, reader: str, user: str = "", group: str = "", message_id: str = "") -> Record:
        """Mark a conversation's messages as delivered to ``reader``, and return the confirmation."""
        return self._mark_conversation("POST", "delivered", reader, user, group, message_id)

    def conversations(self, *, on_behalf_of: str = "", query: Params | None = None) -> Iterator[Record]:
        """Iterate over all conversations of ``on_behalf_of``."""
        return self._iter_pages("/conversations", query, on_behalf_of=on_behalf_of)

    def conversation(self, *, on_behalf_of: str, user: str = "", group: str = "") -> Record:
        """Return one conversation of ``on_behalf_of``."""
        path = f"{_peer_path(user, group)}/conversation"
        return self._request_record("GET", path, on_behalf_of=_check_on_behalf_of(on_behalf_of))

    def create_user(self, uid: str, name: str, details: Mapping[str, Any] | None = None) -> Record:
        """Create a user and return it.

        ``details`` has CometChat's names: ``avatar``, ``metadata``, ``tags``, ``withAuthToken`` …
        """
        body = {**(details or {}), "uid": request_bodies.check_id(uid, "uid"), "name": _check_length(name, "name", 100)}
        request_bodies.check_tags(body.get("tags"))
        return self._request_record("POST", "/users", body=body)

    def get_user(self, uid: str, *, on_behalf_of: str = "") -> Record:
        """Return one user."""
        return self._request_record("GET", _user_path(uid), on_behalf_of=on_behalf_of)

    def users(self, query: Params | None = None, *, on_behalf_of: str = "") -> Iterator[Record]:
        """Iterate over all users that match ``query`` (``searchKey``, ``tags``, ``role`` …)."""
        return self._iter_pages("/users", query, on_behalf_of=on_behalf_of)

    def update_user(self, uid: str, changes: Mapping[str, Any]) -> Record:
        """Change a user and return it; ``unset`` in ``changes`` lists the properties to remove."""
        return self._request_record("PUT", _user_path(uid), body=changes)

    def delete_user(self, uid: str, *, permanent: bool = False) -> Record:
        """Delete a user, or only deactivate it without ``permanent``; return the confirmation."""
        return self._request_record("DELETE", _user_path(uid), body={"permanent": permanent})

    def create_auth_token(self, uid: str, *, force: bool = False) -> Record:
        """Create and return a token with which a client logs in as ``uid``. Its repr is masked.

        With ``force``, CometChat creates another one although the user has a token.
        """
        return self._request_record("POST", f"{_user_path(uid)}/auth_tokens", body={"force": force})

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
            "name": _check_length(name, "name", 100),
            "type": _check_choice(kind, "type", ("public", "password", "private")),
        }
        request_bodies.check_tags(body.get("tags"))
        return self._request_record("POST", "/groups", body=body, on_behalf_of=on_behalf_of)

    def get_group(self, guid: str, *, on_behalf_of: str = "", timeout: float | None = None) -> Record:
        """Return one group."""
        return self._request_record("GET", _group_path(guid), on_behalf_of=on_behalf_of, timeout=timeout)

    def groups(self, query: Params | None = None, *, on_behalf_of: str = "") -> Iterator[Record]:
        """Iterate over all groups that match ``query`` (``searchKey``, ``hasJoined``, ``tags`` …)."""
        return self._iter_pages("/groups", query, on_behalf_of=on_behalf_of)

    def update_group(self, guid: str, changes: Mapping[str, Any], *, on_behalf_of: str = "") -> Record:
        """Change a group and return it."""
        return self._request_record("PUT", _group_path(guid), body=changes, on_behalf_of=on_behalf_of)

    def delete_group(self, guid: str, *, on_behalf_of: str = "") -> Record:
        """Delete a group and return the confirmation."""
        return self._request_record("DELETE", _group_path(guid), on_behalf_of=on_behalf_of)

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
        _check_choice(scope, "scope", ("participants", "moderators", "admins"))
        wanted = [request_bodies.check_id(uid, "uid") for uid in uids]
        results: dict[str, Record] = {}
        for start in range(0, len(wanted), MAX_MEMBERS_PER_REQUEST):
            body: dict[str, Any] = {scope: wanted[start : start + MAX_MEMBERS_PER_REQUEST]}
            path = f"{_group_path(guid)}/members"
            answer = self._request_record("POST", path, body=body, on_behalf_of=on_behalf_of, timeout=timeout)
            entries = answer.get(scope)
            for uid, entry in (entries if isinstance(entries, dict) else {}).items():
                results[uid] = Record(entry) if isinstance(entry, dict) else Record(success=bool(entry))
        return results

    def members(self, guid: str, query: Params | None = None, *, timeout: float | None = None) -> Iterator[Record]:
        """Iterate over all members of a group that match ``query`` (``scopes``, ``status``).

        Each record has ``scope`` and ``joinedAt``. All pages together have ``timeout`` seconds.
        """
        return self._iter_pages(f"{_group_path(guid)}/members", query, timeout=timeout)

    def change_scope(self, guid: str, uid: str, scope: str, *, on_behalf_of: str = "") -> Record:
        """Change a member's scope to ``admin``, ``moderator`` or ``participant``, and return the member."""
        body = {"scope": _check_choice(scope, "scope", ("admin", "moderator", "participant"))}
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
        return self._iter_pages(f"{_group_path(guid)}/bannedusers")

    def _mark_conversation(self, method: str, what: str, reader: str, user: str, group: str, message_id: str) -> Record:
        number = request_bodies.check_id(message_id, "messageId") if message_id else ""
        body = {"messageId": int(number) if number.isdigit() else number} if number else None
        path = f"{_peer_path(user, group)}/conversation/{what}"
        return self._request_record(method, path, body=body, on_behalf_of=_check_on_behalf_of(reader))

    def _request_record(self, method: str, path: str, **options: Any) -> Record:
        data = self.send_request(ApiRequest(method, path, **options)).get("data")
        # Some examples in CometChat's documentation show a single object as a list of one.
        one = data[0] if isinstance(data, list) and len(data) == 1 else data
        return Record(one) if isinstance(one, dict) else Record()

    def _iter_pages(
        self, path: str, query: Params | None = None, *, on_behalf_of: str = "", timeout: float | None = None
    ) -> Iterator[Record]:
        """Iterate over the entries of all pages, until an empty or short one: totals are not always present."""
        params = {"perPage": PAGE_SIZE, **(query or {})}
        ends_at = None if timeout is None else monotonic() + timeout
        for page in count(1):
            left = None if ends_at is None else ends_at - monotonic()
            if left is not None and left <= 0:
                raise OutcomeUnknown(f"GET {path}: expected all pages within {timeout:g} s, got {page - 1} of them")
            answer = self.request("GET", path, params={**params, "page": page}, on_behalf_of=on_behalf_of, timeout=left)
            records = _read_records(answer)
            yield from records
            if len(records) < int(params["perPage"]):
                return


def _read_records(answer: Mapping[str, Any]) -> list[Record]:
    data = answer.get("data")
    if not isinstance(data, list):
        raise OutcomeUnknown("GET (list): expected a list in data, got something else from CometChat")
    return [Record(entry) for entry in data if isinstance(entry, dict)]


def _path_segment(value: str, field: str, max_length: int = request_bodies.MAX_NAME_LENGTH) -> str:
    return quote(request_bodies.check_id(value, field, max_length=max_length), safe="")


def _bot_path(uid: str) -> str:
    return f"/bots/{_path_segment(uid, 'uid')}"


def _agent_path(uid: str) -> str:
    return f"{_AGENTS_PATH}/{_path_segment(uid, 'uid')}"


def _user_path(uid: str) -> str:
    return f"/users/{_path_segment(uid, 'uid')}"


def _group_path(guid: str) -> str:
    return f"/groups/{_path_segment(guid, 'guid')}"


def _group_user_path(guid: str, collection: str, uid: str) -> str:
    return f"{_group_path(guid)}/{collection}/{_path_segment(uid, 'uid')}"


def _message_path(message_id: str) -> str:
    return f"/messages/{_path_segment(message_id, 'id')}"


def _reaction_path(message_id: str, reaction: str) -> str:
    return f"{_message_path(message_id)}/reactions/{quote(request_bodies.check_reaction(reaction), safe='')}"


def _peer_path(user: str, group: str) -> str:
    check_recipient(user, group, MessageError)
    return _user_path(user) if user else _group_path(group)


def _check_on_behalf_of(on_behalf_of: str) -> str:
    return request_bodies.check_id(on_behalf_of, "onBehalfOf")


def _check_length(value: str, field: str, max_length: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= max_length:
        raise MessageError(f"{field} must have 1 to {max_length} characters")
    return value


def _check_choice(value: Any, field: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise MessageError(f"{field} must be one of {', '.join(choices)}, not {value!r}")
    return str(value)
