"""CometChat's REST operations, as far as a bot needs them; how a request travels is the client's business."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from cometbot.channels.cometchat import bodies
from cometbot.channels.cometchat.answers import Record
from cometbot.errors import MessageError, Uncertain

GROUP_SETTINGS = ("none", "allMessages", "slashedMessages", "mentionedMessages")
MEMBERS_A_CALL = 25
PAGE = 100

Params = Mapping[str, str | int | bool]


class Operations(ABC):
    """Each method is one REST operation and answers with its ``data``.

    What CometChat would surely refuse raises :class:`MessageError`, naming the field, before anything is sent.
    ``on_behalf_of`` is the uid that acts. ``timeout`` is in seconds for the whole exchange; operations that have none
    take the client's own.
    """

    @abstractmethod
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
        """The envelope of the answer; ``path`` starts with a slash. Raises the :class:`ChannelError` that fits."""

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
        """The new bot; its user must exist. Credentials, where given, come with every callback."""
        body: dict[str, Any] = {
            "uid": bodies.check_id(uid, "uid", longest=50),
            "webhookURL": _limited(webhook_url, "webhookURL", 255),
            "groupChatSetting": _one_of(group_setting, "groupChatSetting", GROUP_SETTINGS),
            "enabled": enabled,
        }
        if username or password:
            body["username"] = _limited(username, "username", 50)
            body["password"] = _limited(password, "password", 50)
            body["useBasicAuth"] = True
        return self._record("POST", "/bots", body=body)

    def bots(self, *, search: str = "", ai: bool = False) -> Iterator[Record]:
        """All bots, by uid; ``ai`` lists those of CometChat's AI product instead (no call lists both)."""
        params: dict[str, str | int | bool] = {"perPage": PAGE}
        if search:
            params["searchKey"] = search
        if ai:
            params["isAIBot"] = True
        return self._pages("/bots", params)

    def get_bot(self, uid: str) -> Record:
        """One bot. Its password is in it; the repr masks it."""
        return self._record("GET", f"/bots/{_segment(uid, 'uid')}")

    def update_bot(self, uid: str, changes: Mapping[str, Any]) -> Record:
        """The bot after ``changes`` (names as on the wire: ``webhookURL``, ``enabled`` …; the uid stays)."""
        if "uid" in changes:
            raise MessageError("uid of a bot cannot be changed: delete the bot and create it again")
        if "groupChatSetting" in changes:
            _one_of(changes["groupChatSetting"], "groupChatSetting", GROUP_SETTINGS)
        return self._record("PUT", f"/bots/{_segment(uid, 'uid')}", body=changes)

    def delete_bot(self, uid: str) -> Record:
        """The confirmation; the user and its messages stay."""
        return self._record("DELETE", f"/bots/{_segment(uid, 'uid')}")

    def send_bot_message(self, bot: str, body: Mapping[str, Any], *, timeout: float | None = None) -> Record:
        """The message that ``bot`` sent; ``body`` as in :mod:`cometbot.channels.cometchat.bodies`, of any kind."""
        encoded = bodies.check_message(body)
        return self._record("POST", f"/bots/{_segment(bot, 'bot', 50)}/messages", body=encoded, timeout=timeout)

    def send_message(self, body: Mapping[str, Any], *, on_behalf_of: str = "") -> Record:
        """The message, sent by ``on_behalf_of``, without one by the service account ``app_system``."""
        return self._record("POST", "/messages", body=bodies.check_message(body), on_behalf_of=on_behalf_of)

    def reply_in_thread(
        self, parent_id: str, body: Mapping[str, Any], *, on_behalf_of: str, timeout: float | None = None
    ) -> Record:
        """The reply in the thread that hangs on ``parent_id``, which must be a thread's root."""
        path = f"/messages/{_segment(parent_id, 'parentId')}/thread"
        encoded = bodies.check_message(body)
        return self._record("POST", path, body=encoded, on_behalf_of=_required(on_behalf_of), timeout=timeout)

    def get_message(self, message_id: str, *, on_behalf_of: str = "", timeout: float | None = None) -> Record:
        """One message."""
        return self._record("GET", _message(message_id), on_behalf_of=on_behalf_of, timeout=timeout)

    def edit_message(
        self,
        message_id: str,
        data: Mapping[str, Any],
        *,
        tags: Sequence[str] | None = None,
        on_behalf_of: str = "",
        timeout: float | None = None,
    ) -> Record:
        """The action message that reports the change; ``data`` (text, metadata …) and ``tags`` replace what was."""
        if "text" in data and not (isinstance(data["text"], str) and data["text"].strip()):
            raise MessageError("data.text must be a text that is not empty")
        bodies.check_data(data)
        bodies.check_tags(tags)
        body = {"data": dict(data), **({} if tags is None else {"tags": list(tags)})}
        return self._record("PUT", _message(message_id), body=body, on_behalf_of=on_behalf_of, timeout=timeout)

    def delete_message(
        self, message_id: str, *, permanent: bool = False, on_behalf_of: str = "", timeout: float | None = None
    ) -> Record:
        """The action message that reports the deletion."""
        body = {"permanent": True} if permanent else None
        return self._record("DELETE", _message(message_id), body=body, on_behalf_of=on_behalf_of, timeout=timeout)

    def add_reaction(
        self, message_id: str, reaction: str, *, on_behalf_of: str, timeout: float | None = None
    ) -> Record:
        """The message with the reaction on it."""
        return self._record(
            "POST", _reaction(message_id, reaction), on_behalf_of=_required(on_behalf_of), timeout=timeout
        )

    def remove_reaction(
        self, message_id: str, reaction: str, *, on_behalf_of: str, timeout: float | None = None
    ) -> Record:
        """The message without the reaction."""
        path = _reaction(message_id, reaction)
        return self._record("DELETE", path, on_behalf_of=_required(on_behalf_of), timeout=timeout)

    def reactions(self, message_id: str, reaction: str = "", *, on_behalf_of: str = "") -> list[Record]:
        """Who reacted to a message, with ``reaction`` only those who put this one."""
        path = _reaction(message_id, reaction) if reaction else f"{_message(message_id)}/reactions"
        return _records(self.request("GET", path, on_behalf_of=on_behalf_of))

    def messages(
        self,
        *,
        user: str = "",
        group: str = "",
        on_behalf_of: str = "",
        query: Params | None = None,
        timeout: float | None = None,
    ) -> list[Record]:
        """One page of a conversation's history (of all messages without ``user`` and ``group``), in CometChat's order.

        ``query`` holds what section "history query parameters" of the REST API names: ``limit``, ``affix``, ``id`` …
        """
        prefix = _peer(user, group) if user or group else ""
        answer = self.request("GET", f"{prefix}/messages", params=query, on_behalf_of=on_behalf_of, timeout=timeout)
        return _records(answer)

    def thread(
        self, parent_id: str, *, on_behalf_of: str = "", page: int = 1, timeout: float | None = None
    ) -> list[Record]:
        """One page of a thread's replies."""
        path = f"{_message(parent_id)}/thread"
        params: Params = {"perPage": PAGE, "page": page}
        return _records(self.request("GET", path, params=params, on_behalf_of=on_behalf_of, timeout=timeout))

    def mark_read(self, *, reader: str, user: str = "", group: str = "", message_id: str = "") -> Record:
        """The confirmation that ``reader`` has read a conversation, up to and including ``message_id`` if given."""
        return self._mark("POST", "read", reader, user, group, message_id)

    def mark_unread(self, *, reader: str, user: str = "", group: str = "", message_id: str = "") -> Record:
        """The confirmation that a conversation counts as unread again."""
        return self._mark("DELETE", "read", reader, user, group, message_id)

    def mark_delivered(self, *, reader: str, user: str = "", group: str = "", message_id: str = "") -> Record:
        """The confirmation that a conversation's messages arrived at ``reader``."""
        return self._mark("POST", "delivered", reader, user, group, message_id)

    def conversations(self, *, on_behalf_of: str = "", query: Params | None = None) -> Iterator[Record]:
        """All conversations of ``on_behalf_of``."""
        return self._pages("/conversations", {"perPage": PAGE, **(query or {})}, on_behalf_of=on_behalf_of)

    def conversation(self, *, on_behalf_of: str, user: str = "", group: str = "") -> Record:
        """One conversation of ``on_behalf_of``."""
        return self._record("GET", f"{_peer(user, group)}/conversation", on_behalf_of=_required(on_behalf_of))

    def create_user(self, uid: str, name: str, details: Mapping[str, Any] | None = None) -> Record:
        """The new user; ``details`` as on the wire: ``avatar``, ``metadata``, ``tags``, ``withAuthToken`` …"""
        body = {**(details or {}), "uid": bodies.check_id(uid, "uid"), "name": _limited(name, "name", 100)}
        bodies.check_tags(body.get("tags"))
        return self._record("POST", "/users", body=body)

    def get_user(self, uid: str, *, on_behalf_of: str = "") -> Record:
        """One user."""
        return self._record("GET", _user(uid), on_behalf_of=on_behalf_of)

    def users(self, query: Params | None = None, *, on_behalf_of: str = "") -> Iterator[Record]:
        """All users that fit ``query`` (``searchKey``, ``tags``, ``role`` …)."""
        return self._pages("/users", {"perPage": PAGE, **(query or {})}, on_behalf_of=on_behalf_of)

    def update_user(self, uid: str, changes: Mapping[str, Any]) -> Record:
        """The user after ``changes``; ``unset`` lists what to remove."""
        return self._record("PUT", _user(uid), body=changes)

    def delete_user(self, uid: str, *, permanent: bool = False) -> Record:
        """The confirmation; without ``permanent`` the user is only deactivated."""
        return self._record("DELETE", _user(uid), body={"permanent": permanent})

    def create_auth_token(self, uid: str, *, force: bool = False) -> Record:
        """A token with which a client logs in as ``uid``; the repr masks it."""
        return self._record("POST", f"{_user(uid)}/auth_tokens", body={"force": force})

    def create_group(
        self,
        guid: str,
        name: str,
        kind: Literal["public", "password", "private"] = "public",
        details: Mapping[str, Any] | None = None,
        *,
        on_behalf_of: str = "",
    ) -> Record:
        """The new group, owned by ``on_behalf_of``; ``details`` as on the wire: ``members``, ``icon`` …"""
        body = {
            **(details or {}),
            "guid": bodies.check_id(guid, "guid"),
            "name": _limited(name, "name", 100),
            "type": _one_of(kind, "type", ("public", "password", "private")),
        }
        bodies.check_tags(body.get("tags"))
        return self._record("POST", "/groups", body=body, on_behalf_of=on_behalf_of)

    def get_group(self, guid: str, *, on_behalf_of: str = "") -> Record:
        """One group."""
        return self._record("GET", _group(guid), on_behalf_of=on_behalf_of)

    def groups(self, query: Params | None = None, *, on_behalf_of: str = "") -> Iterator[Record]:
        """All groups that fit ``query`` (``searchKey``, ``hasJoined``, ``tags`` …)."""
        return self._pages("/groups", {"perPage": PAGE, **(query or {})}, on_behalf_of=on_behalf_of)

    def update_group(self, guid: str, changes: Mapping[str, Any], *, on_behalf_of: str = "") -> Record:
        """The group after ``changes``."""
        return self._record("PUT", _group(guid), body=changes, on_behalf_of=on_behalf_of)

    def delete_group(self, guid: str, *, on_behalf_of: str = "") -> Record:
        """The confirmation."""
        return self._record("DELETE", _group(guid), on_behalf_of=on_behalf_of)

    def add_members(
        self,
        guid: str,
        uids: Sequence[str],
        *,
        scope: Literal["participants", "moderators", "admins"] = "participants",
        on_behalf_of: str = "",
        timeout: float | None = None,
    ) -> dict[str, Record]:
        """What became of each uid: ``{"success": True, …}`` or ``{"error": …}``; sent in batches of 25."""
        _one_of(scope, "scope", ("participants", "moderators", "admins"))
        wanted = [bodies.check_id(uid, "uid") for uid in uids]
        results: dict[str, Record] = {}
        for start in range(0, len(wanted), MEMBERS_A_CALL):
            body: dict[str, Any] = {scope: wanted[start : start + MEMBERS_A_CALL]}
            path = f"{_group(guid)}/members"
            answer = self._record("POST", path, body=body, on_behalf_of=on_behalf_of, timeout=timeout)
            entries = answer.get(scope)
            for uid, entry in (entries if isinstance(entries, dict) else {}).items():
                results[uid] = Record(entry) if isinstance(entry, dict) else Record(success=bool(entry))
        return results

    def members(self, guid: str, query: Params | None = None) -> Iterator[Record]:
        """All members of a group that fit ``query`` (``scopes``, ``status``), each with ``scope`` and ``joinedAt``."""
        return self._pages(f"{_group(guid)}/members", {"perPage": PAGE, **(query or {})})

    def change_scope(self, guid: str, uid: str, scope: str, *, on_behalf_of: str = "") -> Record:
        """The member with the new scope: ``admin``, ``moderator`` or ``participant``."""
        body = {"scope": _one_of(scope, "scope", ("admin", "moderator", "participant"))}
        return self._record("PUT", _member(guid, uid), body=body, on_behalf_of=on_behalf_of)

    def kick(self, guid: str, uid: str, *, on_behalf_of: str = "") -> Record:
        """The confirmation that ``uid`` is out of the group."""
        return self._record("DELETE", _member(guid, uid), on_behalf_of=on_behalf_of)

    def ban(self, guid: str, uid: str, *, on_behalf_of: str = "") -> Record:
        """The confirmation that ``uid`` is out of the group and cannot come back."""
        return self._record("POST", _banned(guid, uid), on_behalf_of=on_behalf_of)

    def unban(self, guid: str, uid: str, *, on_behalf_of: str = "") -> Record:
        """The confirmation that ``uid`` may come back."""
        return self._record("DELETE", _banned(guid, uid), on_behalf_of=on_behalf_of)

    def banned(self, guid: str) -> Iterator[Record]:
        """All users that are banned from a group."""
        return self._pages(f"{_group(guid)}/bannedusers", {"perPage": PAGE})

    def _mark(self, method: str, what: str, reader: str, user: str, group: str, message_id: str) -> Record:
        number = bodies.check_id(message_id, "messageId") if message_id else ""
        body = {"messageId": int(number) if number.isdigit() else number} if number else None
        path = f"{_peer(user, group)}/conversation/{what}"
        return self._record(method, path, body=body, on_behalf_of=_required(reader))

    def _record(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | bytes | None = None,
        on_behalf_of: str = "",
        timeout: float | None = None,
    ) -> Record:
        answer = self.request(method, path, body=body, on_behalf_of=on_behalf_of, timeout=timeout)
        data = answer.get("data")
        # Some examples show a single object as a list of one.
        one = data[0] if isinstance(data, list) and len(data) == 1 else data
        return Record(one) if isinstance(one, dict) else Record()

    def _pages(self, path: str, params: Params, *, on_behalf_of: str = "") -> Iterator[Record]:
        """The entries of all pages; ends with an empty or short page, since totals are not always counted."""
        page = 1
        while True:
            answer = self.request("GET", path, params={**params, "page": page}, on_behalf_of=on_behalf_of)
            records = _records(answer)
            yield from records
            if len(records) < int(params["perPage"]):
                return
            page += 1


def _records(answer: Mapping[str, Any]) -> list[Record]:
    data = answer.get("data")
    if not isinstance(data, list):
        raise Uncertain("CometChat answered a listing without a list")
    return [Record(entry) for entry in data if isinstance(entry, dict)]


def _segment(value: str, field: str, longest: int = bodies.NAME_LENGTH) -> str:
    return quote(bodies.check_id(value, field, longest=longest), safe="")


def _user(uid: str) -> str:
    return f"/users/{_segment(uid, 'uid')}"


def _group(guid: str) -> str:
    return f"/groups/{_segment(guid, 'guid')}"


def _member(guid: str, uid: str) -> str:
    return f"{_group(guid)}/members/{_segment(uid, 'uid')}"


def _banned(guid: str, uid: str) -> str:
    return f"{_group(guid)}/bannedusers/{_segment(uid, 'uid')}"


def _message(message_id: str) -> str:
    return f"/messages/{_segment(message_id, 'id')}"


def _reaction(message_id: str, reaction: str) -> str:
    return f"{_message(message_id)}/reactions/{quote(bodies.check_reaction(reaction), safe='')}"


def _peer(user: str, group: str) -> str:
    if bool(user) == bool(group):
        raise MessageError("name either a user or a group")
    return _user(user) if user else _group(group)


def _required(on_behalf_of: str) -> str:
    return bodies.check_id(on_behalf_of, "onBehalfOf")


def _limited(value: str, field: str, longest: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise MessageError(f"{field} must have 1 to {longest} characters")
    return value


def _one_of(value: Any, field: str, choices: Sequence[str]) -> str:
    if value not in choices:
        raise MessageError(f"{field} must be one of {', '.join(choices)}, not {value!r}")
    return str(value)
