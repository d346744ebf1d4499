"""The database of the fake CLI, and the errors of its commands."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from cometbot import private_files
from cometbot.testing.simplex import api_objects
from cometbot.testing.simplex.api_objects import JsonObject

_FIRST_NUMBERS = {
    "contact": 4,
    "group": 31,
    "member": 110,
    "item": 2001,
    "file": 501,
    "request": 71,
    "link": 81,
    "pending": 91,
}
"""The first id of each kind. They are far apart, so that an id of the wrong kind is not found."""

Table = dict[str, JsonObject]


class CommandRefused(Exception):
    """A command failed. ``chat_error`` is the ``ChatError`` with the reason."""

    def __init__(self, chat_error: JsonObject) -> None:
        super().__init__(str(chat_error))
        self.chat_error = chat_error


def chat_refusal(tag: str, **fields: Any) -> CommandRefused:
    """Return an error with a ``ChatErrorType``."""
    return CommandRefused({"type": "error", "errorType": {"type": tag, **fields}})


def store_refusal(tag: str, **fields: Any) -> CommandRefused:
    """Return an error with a ``StoreError``."""
    return CommandRefused({"type": "errorStore", "storeError": {"type": tag, **fields}})


def agent_refusal(**error: Any) -> CommandRefused:
    """Return an error with an ``AgentErrorType``."""
    return CommandRefused({"type": "errorAgent", "agentError": error, "agentConnId": ""})


def find_row(table: Table, number: int, refusal: CommandRefused) -> JsonObject:
    """Return the row with this id. Raises ``refusal`` if there is none."""
    if str(number) not in table:
        raise refusal
    return table[str(number)]


class FakeState:
    """The database of the fake CLI: tables with the API's own objects by their ids.

    Hold ``lock`` while reading or changing it. With a ``path`` it is loaded from there, and :meth:`save` writes it.
    ``emit`` is called with the records of events.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.time) -> None:
        self.lock = threading.RLock()
        self.emit: Callable[[JsonObject], None] = lambda record: None
        self._path, self._clock, self._last_time = path, clock, 0.0
        stored = orjson.loads(path.read_bytes()) if path is not None and path.exists() else {}
        self.users: Table = stored.get("users", {})
        self.addresses: Table = stored.get("addresses", {})
        self.requests: Table = stored.get("requests", {})
        self.chats: dict[str, list[JsonObject]] = stored.get("chats", {})
        self.files: Table = stored.get("files", {})
        self.uploads: dict[str, str] = stored.get("uploads", {})
        self.pending: Table = stored.get("pending", {})
        self.links: Table = stored.get("links", {})
        self.numbers: dict[str, int] = stored.get("numbers", {})
        self.owned: dict[str, Table] = stored.get("owned", {})

    def save(self) -> None:
        """Write the state to its file atomically."""
        if self._path is None:
            return
        with self.lock:
            new = self._path.with_name(f"{self._path.name}.new")
            tables = {name: table for name, table in vars(self).items() if isinstance(table, dict)}
            private_files.write_bytes(new, orjson.dumps(tables))
            os.replace(new, self._path)

    def next_number(self, kind: str) -> int:
        """Return an unused id of this kind."""
        self.numbers[kind] = self.numbers.get(kind, _FIRST_NUMBERS.get(kind, 1) - 1) + 1
        return self.numbers[kind]

    def now(self) -> str:
        """Return the current time, later than any earlier result."""
        self._last_time = max(self._clock(), self._last_time + 0.000001)
        return api_objects.utc_time(self._last_time)

    # Users

    @property
    def user(self) -> JsonObject:
        """The active profile. Raises :class:`CommandRefused` with ``noActiveUser`` if there is none."""
        for user in self.users.values():
            if user["activeUser"]:
                return user
        raise chat_refusal("noActiveUser")

    def user_by_id(self, user_id: int) -> JsonObject:
        """Return a profile. Raises :class:`CommandRefused` if it does not exist or is not active."""
        user, active = find_row(self.users, user_id, store_refusal("userNotFound", userId=user_id)), self.user
        if active is not user:
            raise chat_refusal("differentActiveUser", commandUserId=user_id, activeUserId=active["userId"])
        return active

    def add_user(self, profile: Mapping[str, Any]) -> JsonObject:
        """Add a profile and activate it."""
        for other in self.users.values():
            other["activeUser"] = False
        user = api_objects.user(self.next_number("user"), profile)
        self.users[str(user["userId"])] = user
        return user

    # Chats

    @property
    def contacts(self) -> Table:
        """The contacts of the active profile."""
        return self.owned.setdefault(f"contacts{self.user['userId']}", {})

    @property
    def groups(self) -> Table:
        """The groups of the active profile: ``{"info": …, "members": {…}, "link": …}``."""
        return self.owned.setdefault(f"groups{self.user['userId']}", {})

    def contact(self, contact_id: int) -> JsonObject:
        """Return a contact of the active profile."""
        return find_row(self.contacts, contact_id, store_refusal("contactNotFound", contactId=contact_id))

    def add_contact(self, name: str, *, is_bot: bool = False) -> JsonObject:
        """Add a contact of the active profile. Its name in this database is unique."""
        taken = {item["localDisplayName"] for item in self.contacts.values()}
        unique = next(item for item in (name, *(f"{name}_{n}" for n in range(1, 10_000))) if item not in taken)
        number = self.next_number("contact")
        contact = api_objects.contact(number, name, number + 500, self.now(), is_bot=is_bot)
        self.contacts[str(number)] = {**contact, "localDisplayName": unique}
        return self.contacts[str(number)]

    def group(self, group_id: int) -> JsonObject:
        """Return a group of the active profile."""
        return find_row(self.groups, group_id, store_refusal("groupNotFound", groupId=group_id))

    def member(self, group_id: int, member_id: int) -> JsonObject:
        """Return a member of a group."""
        return find_row(self.group(group_id)["members"], member_id, chat_refusal("groupMemberNotFound"))

    def chat_info(self, ref: str) -> JsonObject:
        """Return the ``ChatInfo`` of ``@4``, ``#3`` or ``#3(_support:11)``."""
        number, _, scope = ref[1:].partition("(")
        if ref.startswith("@"):
            return {"type": "direct", "contact": self.contact(int(number))}
        group = self.group(int(number))
        info: JsonObject = {"type": "group", "groupInfo": group["info"]}
        if scope:
            member_id = scope.rstrip(")").partition(":")[2]
            member = {"groupMember_": self.member(int(number), int(member_id))} if member_id else {}
            info["groupChatScope"] = {"type": "memberSupport", **member}
        return info

    # Items

    def items(self, ref: str) -> list[JsonObject]:
        """Return the items of a chat, oldest first."""
        return self.chats.setdefault(ref, [])

    def item(self, ref: str, item_id: int) -> JsonObject:
        """Return one item of a chat."""
        for item in self.items(ref):
            if item["meta"]["itemId"] == item_id:
                return item
        raise store_refusal("chatItemNotFound", itemId=item_id)

    def add_item(self, ref: str, direction: Mapping[str, Any], content: Mapping[str, Any]) -> JsonObject:
        """Add an item to a chat."""
        at = self.now()
        item = api_objects.chat_item(self.next_number("item"), direction, content, at)
        self.items(ref).append(item)
        info = self.chat_info(ref)
        info["contact" if ref.startswith("@") else "groupInfo"]["chatTs"] = at
        return item

    def full_item(self, ref: str, item: Mapping[str, Any]) -> JsonObject:
        """Return an ``AChatItem`` in its current state."""
        return api_objects.copy({"chatInfo": self.chat_info(ref), "chatItem": item})

    def find_file_item(self, file_id: int) -> tuple[str, JsonObject]:
        """Return the chat and the item that a file belongs to."""
        for ref, items in self.chats.items():
            for item in items:
                if item.get("file", {}).get("fileId") == file_id:
                    return ref, item
        raise store_refusal("fileNotFound", fileId=file_id)

    def emit_event(self, tag: str, **fields: Any) -> None:
        """Send the bot an event with the current state of its objects."""
        record = {"type": tag, "user": self.user, **{key: value for key, value in fields.items() if value is not None}}
        self.emit(api_objects.copy(record))
