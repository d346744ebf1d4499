"""Contacts and lists of chats in the fake CLI."""

from __future__ import annotations

from typing import Any

from cometbot.testing.simplex import api_objects
from cometbot.testing.simplex.api_objects import JsonObject
from cometbot.testing.simplex.command_grammar import Request
from cometbot.testing.simplex.connections import ConnectionCommands
from cometbot.testing.simplex.profiles import require_object, unparsable_command
from cometbot.testing.simplex.state import find_row, store_refusal

_MAX_CHATS = 5000
_DEFAULT_QUERY = {"type": "filters", "favorite": False, "unread": False}


class ChatCommands(ConnectionCommands):
    """The commands for contacts and chats."""

    def do_accept_contact(self, request: Request) -> JsonObject:
        """Turn a contact request into a contact."""
        contact_request = self._pop_request(request)
        contact = self.state.add_contact(contact_request["localDisplayName"])
        answer = self.reply("acceptingContactRequest", contact=contact)
        self.state.emit_event("contactSndReady", contact=contact)
        self.state.emit_event("contactConnected", contact=contact)
        return answer

    def do_reject_contact(self, request: Request) -> JsonObject:
        """Delete a contact request."""
        contact_request = self._pop_request(request)
        return self.reply("contactRequestRejected", contactRequest=contact_request)

    def _pop_request(self, request: Request) -> JsonObject:
        number = request.number("id")
        missing = store_refusal("contactRequestNotFound", contactRequestId=number)
        found = find_row(self.state.requests, number, missing)
        del self.state.requests[str(number)]
        return found

    def do_list_contacts(self, request: Request) -> JsonObject:
        """Return all contacts."""
        return self.reply("contactsList", contacts=list(self.state.contacts.values()))

    def do_list_groups(self, request: Request) -> JsonObject:
        """Return all groups, or those with a word in their name, or with a contact in them."""
        wanted, contact = request.text("rest").lower(), request.text("contact")
        found = [
            group["info"]
            for group in self.state.groups.values()
            if wanted in group["info"]["localDisplayName"].lower()
            and (not contact or any(str(m.get("memberContactId")) == contact for m in group["members"].values()))
        ]
        return self.reply("groupsList", groups=found)

    def do_get_chats(self, request: Request) -> JsonObject:
        """Return the chats that changed last, newest first, each with its newest item."""
        query = require_object(request.json or _DEFAULT_QUERY, "type")
        if query["type"] not in ("filters", "search"):
            raise unparsable_command()
        chats = [self._summary(f"@{item['contactId']}") for item in self.state.contacts.values()]
        chats += [self._summary(f"#{item['info']['groupId']}") for item in self.state.groups.values()]
        if query["type"] == "search":
            word = str(query.get("search", "")).lower()
            chats = [chat for chat in chats if word in _contact_or_group(chat)["localDisplayName"].lower()]
        elif query.get("unread"):
            chats = [chat for chat in chats if chat["chatStats"]["unreadCount"]]
        chats.sort(key=lambda chat: str(_contact_or_group(chat)["chatTs"]), reverse=True)
        if "place" in request:
            is_after, at = request.text("place") == "after", request.text("item")
            chats = [chat for chat in chats if (str(_contact_or_group(chat)["chatTs"]) > at) == is_after]
        return self.reply("apiChats", chats=chats[: int(request.text("number") or _MAX_CHATS)])

    def do_last_chats(self, request: Request) -> JsonObject:
        """Return the chats like the console: twenty, a given number, or all."""
        count = {"": "20", "all": str(_MAX_CHATS)}.get(request.text("number"), request.text("number"))
        listed = self.do_get_chats(Request("get_chats", {**request.texts, "number": count}))
        return {"type": "chats", "chats": listed["chats"]}

    def _summary(self, ref: str) -> JsonObject:
        items = self.state.items(ref)
        unread = [item["meta"]["itemId"] for item in items if item["meta"]["itemStatus"]["type"] == "rcvNew"]
        stats = {
            "unreadCount": len(unread),
            "unreadMentions": 0,
            "reportsCount": 0,
            "minUnreadItemId": min(unread, default=0),
            "unreadChat": False,
        }
        return {"chatInfo": self.state.chat_info(ref), "chatItems": items[-1:], "chatStats": stats}

    def do_get_chat(self, request: Request) -> JsonObject:
        """Return items of a chat, oldest first: the newest ones, or those next to one of them."""
        ref, count = request.text("ref"), request.number("number")
        items, info = self.state.items(ref), self.state.chat_info(ref)
        if "place" in request:
            item = self.state.item(ref, request.number("item"))
            at = items.index(item)
            after, before = items[at + 1 :][:count], items[:at][-count:]
            around = [*items[:at][-(count // 2) :], item, *items[at + 1 :][: count // 2]]
            found = {"after": after, "before": before, "around": around}[request.text("place")]
        else:
            found = items[-count:]
        if "rest" in request:
            found = [item for item in found if request.text("rest") in item["meta"]["itemText"]]
        return self.reply("apiChat", chat={**self._summary(ref), "chatInfo": info, "chatItems": found})

    def do_read_chat(self, request: Request) -> JsonObject:
        """Mark all items of a chat as read."""
        for item in self.state.items(request.text("ref")):
            if item["meta"]["itemStatus"]["type"] == "rcvNew":
                item["meta"]["itemStatus"] = {"type": "rcvRead"}
        return self.reply_ok()

    def do_delete_chat(self, request: Request) -> JsonObject:
        """Delete a contact, a group, a connection, or only the messages."""
        ref = request.text("ref")
        number = ref[1:]
        if ref.startswith(":"):
            missing = store_refusal("pendingConnectionNotFound", connId=int(number))
            pending = find_row(self.state.pending, int(number), missing)
            del self.state.pending[number]
            return self.reply("contactConnectionDeleted", connection=pending)
        info = self.state.chat_info(ref)
        self.state.chats.pop(ref, None)
        is_contact = ref.startswith("@")
        if request.text("mode") != "messages":
            (self.state.contacts if is_contact else self.state.groups).pop(number)
        if is_contact:
            return self.reply("contactDeleted", contact=info["contact"])
        return self.reply("groupDeletedUser", groupInfo=info["groupInfo"], msgSigned=False)

    def do_contact_custom(self, request: Request) -> JsonObject:
        """Set the bot's own data of a contact."""
        return self._set_custom_data(self.state.contact(request.number("contact")), request.json)

    def do_group_custom(self, request: Request) -> JsonObject:
        """Set the bot's own data of a group."""
        return self._set_custom_data(self.group_info(request), request.json)

    def _set_custom_data(self, entity: JsonObject, data: Any) -> JsonObject:
        if data is None:
            entity.pop("customData", None)
        else:
            entity["customData"] = data
        return self.reply_ok()

    def do_contact_prefs(self, request: Request) -> JsonObject:
        """Set the preferences for one contact."""
        contact = self.state.contact(request.number("contact"))
        before = api_objects.copy(contact)
        contact["userPreferences"] = require_object(request.json)
        return self.reply("contactPrefsUpdated", fromContact=before, toContact=contact)


def _contact_or_group(chat: JsonObject) -> JsonObject:
    info: JsonObject = chat["chatInfo"]
    entity: JsonObject = info["contact"] if "contact" in info else info["groupInfo"]
    return entity
