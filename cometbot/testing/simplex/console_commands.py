"""Completes commands in the console's form, which omits the active profile and has names in place of ids."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import orjson

from cometbot.testing.simplex.api_objects import JsonObject
from cometbot.testing.simplex.command_grammar import Request
from cometbot.testing.simplex.state import FakeState, store_refusal

_SECTIONS = {
    "": "main", "f": "files", "g": "groups", "c": "contacts", "a": "myAddress", "i": "incognito", "m": "messages",
    "r": "remote", "s": "settings", "d": "database",
}  # fmt: skip
_EMOJI = {"1": "👍", "+": "👍", "-": "👎", ")": "😀", ",": "😢", "*": "\N{HEAVY BLACK HEART}", "^": "🚀"}


def complete_request(state: FakeState, request: Request) -> Request:
    """Return ``request`` with the ids and defaults that its form omits.

    Raises :class:`CommandRefused` for unknown names.
    """
    texts = _resolve_names(state, dict(request.texts))
    if "user_name" in texts:
        texts["user"] = _find_id(state.users.values(), "userId", texts["user_name"], "user")
    if "request_name" in texts:
        requests = state.requests.values()
        texts["id"] = _find_id(requests, "contactRequestId", texts["request_name"], "contactRequest")
    active = [str(user["userId"]) for user in state.users.values() if user["activeUser"]]
    if active:
        texts.setdefault("user", active[0])
    if request.name in ("add_member", "accept_member", "create_link"):
        texts.setdefault("role", "member")
    if request.name == "block_members" and "switch" not in texts:
        texts["switch"] = "off" if "un" in texts else "on"
    if "chat_name" in texts and request.name in ("send", "update_item", "delete_item", "reaction"):
        texts["id"] = texts["ids"] = str(_item_id(state, request.name, texts))
    if request.name == "delete_item":
        texts.setdefault("mode", "broadcast")
    return _add_json(state, replace(request, texts=texts))


def help_section(topic: str) -> str:
    """Return the CLI's name for a section of its help, by the first letter of a topic."""
    return "markdown" if topic.startswith("/") else _SECTIONS[topic[:1]]


def auto_accept_settings(request: Request) -> JsonObject:
    """Return the address settings of an ``/auto_accept`` command."""
    is_on, is_business = request.is_on(), "business" in request
    settings: JsonObject = {"businessAddress": is_on and is_business}
    if is_on:
        settings["autoAccept"] = {"acceptIncognito": request.is_on("incognito")}
        if request.json is not None:
            settings["autoReply"] = request.json
    return settings


def _resolve_names(state: FakeState, texts: dict[str, str]) -> dict[str, str]:
    sign, name = texts.get("chat_name", "")[:1], texts.get("chat_name", "")[1:]
    contact, group = texts.get("contact_name"), texts.get("group_name")
    contact, group = (name if sign == "@" else contact), (name if sign == "#" else group)
    if contact is not None:
        texts["contact"] = texts["number"] = _find_id(state.contacts.values(), "contactId", contact, "contact")
    if group is not None:
        infos = [owned["info"] for owned in state.groups.values()]
        texts["group"] = _find_id(infos, "groupId", group, "group")
    if group is not None or contact is not None:
        texts["ref"] = f"#{texts['group']}" if group is not None else f"@{texts['contact']}"
    if "member_names" in texts:
        numbers = _member_ids(state, int(texts["group"]), texts["member_names"])
        texts["ids"], texts["number"] = ",".join(map(str, numbers)), str(numbers[0])
    return texts


def _find_id(objects: Iterable[JsonObject], key: str, name: str, kind: str) -> str:
    """Return the id, at ``key``, of the object with a name. Raises :class:`CommandRefused` if there is none."""
    for each in objects:
        if each["localDisplayName"] == _unquote(name):
            return str(each[key])
    field = "groupName" if kind == "group" else "contactName"
    raise store_refusal(f"{kind}NotFoundByName", **{field: _unquote(name)})


def _member_ids(state: FakeState, group_id: int, names: str) -> list[int]:
    numbers = {item["localDisplayName"]: item["groupMemberId"] for item in state.group(group_id)["members"].values()}
    wanted = [_unquote(name.lstrip("@")) for name in names.split(",")]
    for name in wanted:
        if name not in numbers:
            raise store_refusal("groupMemberNameNotFound", groupId=group_id, groupMemberName=name)
    return [int(numbers[name]) for name in wanted]


def _item_id(state: FakeState, command: str, texts: dict[str, str]) -> int:
    """Return the newest message that begins with a text: the bot's own for an edit, any for a reaction."""
    text, quoted = texts.get("item_text", ""), texts.get("quoted")
    is_own = {">": False, ">>": True}.get(quoted or "", True)
    for item in reversed(state.items(texts["ref"])):
        is_meant = command == "reaction" or item["chatDir"]["type"].endswith("Snd") == is_own
        if is_meant and "itemDeleted" not in item["meta"] and item["meta"]["itemText"].startswith(text):
            return int(item["meta"]["itemId"])
    raise store_refusal("chatItemNotFoundByText", text=text)


def _add_json(state: FakeState, request: Request) -> Request:
    """Return ``request`` with the JSON that the API's form has in place of a name or a text."""
    if "new_name" in request:
        named: JsonObject = {"displayName": _unquote(request.text("new_name")), "fullName": ""}
        if "descr" in request:
            named["shortDescr"] = request.text("descr").rstrip()[:160]
        return replace(request, json=_profile(state, request, named))
    if "emoji" in request:
        emoji = _EMOJI.get(request.text("emoji"), request.text("emoji"))
        texts = {**request.texts, "switch": "on" if request.text("sign") == "+" else "off"}
        return replace(request, texts=texts, json={"type": "emoji", "emoji": emoji})
    if "message" in request:
        content = {"type": "text", "text": request.text("message")}
        if request.name == "send":
            quote = {"msgContent": content, "quotedItemId": request.number("id"), "mentions": {}}
            return replace(request, json=[quote])
        if request.name == "send_text":
            texts = {**request.texts, "rest": _message_text(request.text("message"))}
            return replace(request, texts=texts)
        return replace(request, json={"msgContent": content} if request.name == "update_item" else content)
    return request


def _profile(state: FakeState, request: Request, named: JsonObject) -> JsonObject:
    """Return the whole profile for a command that has only its name and description."""
    if request.name == "create_user":
        return {"profile": named}
    if request.name == "update_profile":
        own = {"profileId", "localAlias", "localBadge", "contactDomainVerified"}
        return {**{key: value for key, value in state.user["profile"].items() if key not in own}, **named}
    if request.name == "group_profile":
        return {**state.group(request.number("group"))["info"]["groupProfile"], **named}
    return named


def _message_text(text: str) -> str:
    """Return a text that may be written as a JSON string."""
    try:
        read: Any = orjson.loads(text)
    except ValueError:
        return text
    return read if isinstance(read, str) else text


def _unquote(name: str) -> str:
    return name[1:-1] if name.startswith("'") else name
