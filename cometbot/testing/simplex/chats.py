"""Connections, contacts and lists of chats of the stand-in."""

from __future__ import annotations

from typing import Any

from cometbot.testing.simplex import objects
from cometbot.testing.simplex.grammar import Request
from cometbot.testing.simplex.objects import Obj
from cometbot.testing.simplex.profiles import Part, checked_object, unreadable
from cometbot.testing.simplex.state import chat_refused, store_refused


class ChatAnswers(Part):
    """The commands about contacts and chats."""

    def do_connect_user(self, request: Request) -> Obj:
        """A link for one person, or the way to whom a link belongs."""
        self.state.user_by_id(request.number("user"))
        if "full" not in request:
            pending = self._pending(via_contact_uri=False)
            return self.reply(
                "invitation", connLinkInvitation=objects.link("invitation", pending["pccConnId"]), connection=pending
            )
        return self._connect(request.text("full"))

    def do_connect(self, request: Request) -> Obj:
        """The way to whom a link belongs."""
        return self._connect(request.text("rest"))

    def _connect(self, link: str) -> Obj:
        if not link.startswith(("https://", "simplex:/")):
            raise chat_refused("invalidConnReq")
        via_address = "/a#" in link or "/address" in link or "/contact" in link
        pending = self._pending(via_contact_uri=via_address)
        return self.reply("sentInvitation" if via_address else "sentConfirmation", connection=pending)

    def _pending(self, *, via_contact_uri: bool) -> Obj:
        number = self.state.number("pending")
        pending = objects.pending_connection(number, self.state.now(), via_contact_uri=via_contact_uri)
        self.state.tree["pending"][str(number)] = pending
        return pending

    def do_connect_plan(self, request: Request) -> Obj:
        """What a link leads to: nobody who is known yet."""
        self.state.user_by_id(request.number("user"))
        link = request.text("rest")
        if not link.startswith(("https://", "simplex:/")):
            raise chat_refused("invalidConnReq")
        plan = {"type": "contactAddress", "contactAddressPlan": {"type": "ok"}}
        return self.reply("connectionPlan", connLink={"connFullLink": link}, connectionPlan=plan)

    def do_accept_contact(self, request: Request) -> Obj:
        """Somebody who asked becomes a contact."""
        asked = self.state.request(request.number("id"))
        del self.state.tree["requests"][request.text("id")]
        contact = self.add_contact(asked["localDisplayName"])
        answer = self.reply("acceptingContactRequest", contact=contact)
        self.state.tell("contactSndReady", contact=contact)
        self.state.tell("contactConnected", contact=contact)
        return answer

    def do_reject_contact(self, request: Request) -> Obj:
        """Somebody who asked is forgotten."""
        asked = self.state.request(request.number("id"))
        del self.state.tree["requests"][request.text("id")]
        return self.reply("contactRequestRejected", contactRequest=asked)

    def add_contact(self, name: str, *, is_bot: bool = False) -> Obj:
        """A new contact; its name in this database is unique."""
        taken = {item["localDisplayName"] for item in self.state.tree["contacts"].values()}
        unique = next(item for item in (name, *(f"{name}_{n}" for n in range(1, 10_000))) if item not in taken)
        number = self.state.number("contact")
        contact = objects.contact(number, name, number + 500, self.state.now(), is_bot=is_bot)
        contact["localDisplayName"] = unique
        self.state.tree["contacts"][str(number)] = contact
        self.state.own("contact", number)
        return contact

    def do_list_contacts(self, request: Request) -> Obj:
        """All contacts."""
        self.state.user_by_id(request.number("user"))
        return self.reply("contactsList", contacts=list(self.state.owned("contacts", "contact")))

    def do_list_groups(self, request: Request) -> Obj:
        """All groups, or those with a word in their name, or with a contact in them."""
        self.state.user_by_id(request.number("user"))
        wanted, contact = request.text("rest").lower(), request.text("contact")
        found = [
            group["info"]
            for group in self.state.owned("groups", "group")
            if wanted in group["info"]["localDisplayName"].lower()
            and (not contact or any(str(m.get("memberContactId")) == contact for m in group["members"].values()))
        ]
        return self.reply("groupsList", groups=found)

    def do_get_chats(self, request: Request) -> Obj:
        """The chats that changed last, newest first, each with its newest line."""
        self.state.user_by_id(request.number("user"))
        query = checked_object(request.json, "type")
        if query["type"] not in ("filters", "search"):
            raise unreadable()
        chats = [self._summary(f"@{item['contactId']}") for item in self.state.owned("contacts", "contact")]
        chats += [self._summary(f"#{item['info']['groupId']}") for item in self.state.owned("groups", "group")]
        if query["type"] == "search":
            word = str(query.get("search", "")).lower()
            chats = [chat for chat in chats if word in _entity(chat)["localDisplayName"].lower()]
        elif query.get("unread"):
            chats = [chat for chat in chats if chat["chatStats"]["unreadCount"]]
        chats.sort(key=lambda chat: str(_entity(chat)["chatTs"]), reverse=True)
        return self.reply("apiChats", chats=chats[: request.number("number")])

    def _summary(self, ref: str) -> Obj:
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

    def do_get_chat(self, request: Request) -> Obj:
        """Lines of a chat, oldest first: the newest ones, or those next to one of them."""
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

    def do_read_chat(self, request: Request) -> Obj:
        """Nothing is unread any more."""
        for item in self.state.items(request.text("ref")):
            if item["meta"]["itemStatus"]["type"] == "rcvNew":
                item["meta"]["itemStatus"] = {"type": "rcvRead"}
        return {"type": "cmdOk", "user_": objects.copy(self.state.user)}

    def do_delete_chat(self, request: Request) -> Obj:
        """A contact, a group, a connection or only what was said is gone."""
        ref = request.text("ref")
        number = ref[1:]
        if ref.startswith(":"):
            pending = self.state.tree["pending"].pop(number, None)
            if pending is None:
                raise store_refused("pendingConnectionNotFound", connId=int(number))
            return self.reply("contactConnectionDeleted", connection=pending)
        info = self.state.chat_info(ref)
        self.state.tree["chats"].pop(ref, None)
        is_contact = ref.startswith("@")
        if request.text("mode") != "messages":
            self.state.tree["contacts" if is_contact else "groups"].pop(number)
        if is_contact:
            return self.reply("contactDeleted", contact=info["contact"])
        return self.reply("groupDeletedUser", groupInfo=info["groupInfo"], msgSigned=False)

    def do_contact_custom(self, request: Request) -> Obj:
        """The bot's own data with a contact."""
        return self._custom(self.state.contact(request.number("contact")), request.json)

    def do_group_custom(self, request: Request) -> Obj:
        """The bot's own data with a group."""
        return self._custom(self.state.group(request.number("group"))["info"], request.json)

    def _custom(self, entity: Obj, data: Any) -> Obj:
        if data is None:
            entity.pop("customData", None)
        else:
            entity["customData"] = data
        return {"type": "cmdOk", "user_": objects.copy(self.state.user)}

    def do_contact_prefs(self, request: Request) -> Obj:
        """What holds for one contact only."""
        contact = self.state.contact(request.number("contact"))
        before = objects.copy(contact)
        contact["userPreferences"] = checked_object(request.json)
        return self.reply("contactPrefsUpdated", fromContact=before, toContact=contact)


def _entity(chat: Obj) -> Obj:
    info: Obj = chat["chatInfo"]
    entity: Obj = info["contact"] if "contact" in info else info["groupInfo"]
    return entity
