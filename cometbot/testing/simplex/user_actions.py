"""The actions of people: each method changes the fake CLI's state and sends the bot the events."""

from __future__ import annotations

import base64
import binascii
import mimetypes
from collections.abc import Mapping
from typing import Any

from cometbot.testing.simplex import api_objects
from cometbot.testing.simplex.api_objects import JsonObject
from cometbot.testing.simplex.command_handlers import CommandHandlers
from cometbot.testing.simplex.files import complete_upload
from cometbot.testing.simplex.messages import mention_of, reaction_of, set_reaction
from cometbot.testing.simplex.state import FakeState, Table

_PIXEL = "data:image/jpg;base64,/9j/4AAQ"


class UserActions:
    """Actions of people, with JSON arguments and results, so that another process can call them.

    A chat is given in the form of commands: ``@4``, ``#31``, ``#31(_support:110)``; a person by their original name.
    """

    def __init__(self, state: FakeState, handlers: CommandHandlers) -> None:
        self.state, self._handlers = state, handlers

    def do(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Call one of the methods below with the state locked, save the state, and return the result."""
        if name.startswith("_") or name in ("do", "state") or not hasattr(type(self), name):
            raise ValueError(f"nobody can do {name!r}")
        with self.state.lock:
            result = getattr(self, name)(**arguments)
            self.state.save()
        return result

    # People

    def connect(self, name: str, *, is_bot: bool = False) -> str:
        """Connect a new person by an ordinary address and return the chat."""
        return self._handlers.add_connected_contact(name, "acceptingContactRequest", is_bot=is_bot)

    def request(self, name: str) -> str:
        """Request a connection to the bot's address as a new person.

        Return the chat, or the id of the request if requests are not accepted automatically.
        """
        address = self.state.addresses.get(str(self.state.user["userId"]))
        if address is None:
            raise ValueError("the bot has no address")
        settings = address["addressSettings"]
        if "autoAccept" not in settings:
            number = self.state.next_number("request")
            request = api_objects.contact_request(number, name, number + 700, self.state.now())
            self.state.requests[str(number)] = request
            self.state.emit_event("receivedContactRequest", contactRequest=request)
            return str(number)
        if settings["businessAddress"]:
            return self.business(name)
        ref = self.connect(name)
        if settings.get("autoReply"):
            self.state.add_item(ref, {"type": "directSnd"}, settings["autoReply"])
        return ref

    def publish(self, name: str, kind: str = "address") -> str:
        """Return a link to a person or group for the bot to follow: ``invitation``, ``address`` or ``group``."""
        link: str = api_objects.link(kind, self.state.next_number("link"))["connShortLink"]
        self.state.links[link] = {"name": name}
        return link

    def follow(self, link: str, name: str) -> str:
        """Follow a link of the bot as a new person; return the chat, or the id of a request.

        A one-time link is used up by this.
        """
        for number, pending in list(self.state.pending.items()):
            if link in pending.get("connLinkInv", {}).values():
                del self.state.pending[number]
                return self.connect(name)
        if not self._handlers.is_own(link):
            raise ValueError("this is no link of the bot")
        for group in self.state.groups.values():
            if link in (group["link"] or {}).get("connLinkContact", {}).values():
                chat = f"#{group['info']['groupId']}"
                self.join(chat, name, role=group["link"]["acceptMemberRole"])
                return chat
        return self.request(name)

    def business(self, name: str) -> str:
        """Add a customer by the business address and return the chat, which is a group."""
        group = self._handlers.add_group({"displayName": name, "fullName": ""}, role="owner", status="creator")
        info = group["info"]
        customer = self._handlers.add_member(group, name)
        info["businessChat"] = {
            "chatType": "business",
            "businessId": info["membership"]["memberId"],
            "customerId": customer["memberId"],
        }
        self.state.emit_event("acceptingBusinessRequest", groupInfo=info)
        self.state.emit_event("connectedToGroupMember", groupInfo=info, member=customer)
        return f"#{info['groupId']}"

    def leave_contact(self, chat: str) -> None:
        """Remove the connection as a contact; the chat stays."""
        contact = self.state.chat_info(chat)["contact"]
        contact["contactStatus"] = "deleted"
        contact.pop("activeConn", None)
        self.state.emit_event("contactDeletedByContact", contact=contact)

    def rename(self, chat: str, name: str) -> None:
        """Change the name of a contact."""
        contact = self.state.chat_info(chat)["contact"]
        before = api_objects.copy(contact)
        contact["profile"]["displayName"] = contact["localDisplayName"] = name
        self.state.emit_event("contactUpdated", fromContact=before, toContact=contact)

    # Groups

    def add_group(self, name: str, members: list[str], *, role: str = "admin", invited: bool = False) -> str:
        """Add a group with the bot and others in it, and return the chat.

        With ``invited`` the bot has to join first.
        """
        status = "invited" if invited else "connected"
        group = self._handlers.add_group({"displayName": name, "fullName": ""}, role=role, status=status)
        contacts = {item["localDisplayName"]: item for item in self.state.contacts.values()}
        made = [
            self._handlers.add_member(group, other, contact_id=contacts.get(other, {}).get("contactId"))
            for other in members
        ]
        if made:
            made[0].update(memberRole="owner", memberCategory="host")
        if invited:
            host = contacts.get(members[0]) if members else None
            contact = host or self.state.add_contact(members[0] if members else "host")
            roles = {"fromMemberRole": "owner", "memberRole": role}
            self.state.emit_event("receivedGroupInvitation", groupInfo=group["info"], contact=contact, **roles)
        elif made:
            self.state.emit_event("userJoinedGroup", groupInfo=group["info"], hostMember=made[0])
        return f"#{group['info']['groupId']}"

    def join(self, chat: str, name: str, *, role: str = "member", silently: bool = False) -> int:
        """Add a member to a group and return its id; without events if ``silently`` is set."""
        group = self._group(chat)
        member = self._handlers.add_member(group, name, role=role)
        if not silently:
            self.state.emit_event("joinedGroupMember", groupInfo=group["info"], member=member)
            self.state.emit_event("connectedToGroupMember", groupInfo=group["info"], member=member)
        number: int = member["groupMemberId"]
        return number

    def leave(self, chat: str, name: str) -> None:
        """Leave a group as a member."""
        info, member = self._end_membership(chat, name, "left")
        self.state.emit_event("leftMember", groupInfo=info, member=member)

    def remove(self, chat: str, name: str, by: str) -> None:
        """Remove a member as another one."""
        info, member = self._end_membership(chat, name, "removed")
        fields = {"byMember": self._member(chat, by), "deletedMember": member, "withMessages": False}
        self.state.emit_event("deletedMember", groupInfo=info, **fields)

    def _end_membership(self, chat: str, name: str, status: str) -> tuple[JsonObject, JsonObject]:
        group, member = self._group(chat), self._member(chat, name)
        member["memberStatus"] = status
        del group["members"][str(member["groupMemberId"])]
        return group["info"], member

    def set_role(self, chat: str, name: str, role: str, by: str) -> None:
        """Change the role of a member; an empty name means the bot."""
        group = self._group(chat)
        member = self._member(chat, name) if name else group["info"]["membership"]
        roles = {"fromRole": member["memberRole"], "toRole": role}
        member["memberRole"] = role
        by_member = self._member(chat, by)
        self.state.emit_event("memberRole", groupInfo=group["info"], byMember=by_member, member=member, **roles)

    def block(self, chat: str, name: str, by: str, *, blocked: bool = True) -> None:
        """Hide the messages of a member from everybody as another one, or show them again."""
        group, member = self._group(chat), self._member(chat, name)
        member["blockedByAdmin"] = blocked
        fields = {"byMember": self._member(chat, by), "member": member, "blocked": blocked}
        self.state.emit_event("memberBlockedForAll", groupInfo=group["info"], **fields)

    def role_of(self, chat: str, name: str) -> str:
        """Return the role of a member, empty for nobody of the group."""
        members = self._group(chat)["members"].values()
        return next((str(member["memberRole"]) for member in members if member["localDisplayName"] == name), "")

    def give_role(self, chat: str, name: str, role: str) -> None:
        """Change the role of a member, or of the bot if the name is empty, without an event."""
        member = self._member(chat, name) if name else self._group(chat)["info"]["membership"]
        member["memberRole"] = role

    def expel(self, chat: str, by: str) -> None:
        """Remove the bot from a group."""
        group = self._group(chat)
        group["info"]["membership"]["memberStatus"] = "removed"
        self.state.emit_event(
            "deletedMemberUser", groupInfo=group["info"], member=self._member(chat, by), withMessages=False
        )

    def delete_group(self, chat: str, by: str) -> None:
        """Delete a group as its owner."""
        group = self._group(chat)
        group["info"]["membership"]["memberStatus"] = "deleted"
        self.state.emit_event("groupDeleted", groupInfo=group["info"], member=self._member(chat, by))

    # Messages

    def say(
        self,
        chat: str,
        text: str,
        *,
        name: str = "",
        quote_id: int | None = None,
        mention: bool = False,
        content: JsonObject | None = None,
        file_name: str = "",
        file_content: str = "",
        foreign: bool = False,
        live: bool = False,
        ttl: int | None = None,
        silent: bool = False,
    ) -> int:
        """Write a message as a person and return its id.

        ``mention`` puts a mention of the bot before the text. ``file_content`` is base64. A ``foreign`` file is on
        servers that the CLI does not use. A ``silent`` message is stored without an event for the bot, as if the event
        were lost.
        """
        details: JsonObject = {}
        if mention:
            text, details = self._mention_bot(chat, text)
        elif text.startswith("/") and "\n" not in text and len(text) > 1:
            details["formattedText"] = [{"format": {"type": "command", "commandStr": text[1:]}, "text": text}]
        if quote_id is not None:
            details["quotedItem"] = api_objects.quote_of(self.state.item(chat, quote_id))
        item = self.state.add_item(chat, self._direction(chat, name), content or _content_for(file_name, text))
        item.update(details)
        quoted_direction = item.get("quotedItem", {}).get("chatDir", {}).get("type")
        item["meta"]["userMention"] = mention or quoted_direction in ("groupSnd", "directSnd")
        if live:
            item["meta"]["itemLive"] = True
        if ttl is not None:
            item["meta"]["itemTimed"] = {"ttl": ttl}
        if chat[0] == "#" and self._member(chat, name)["blockedByAdmin"]:
            item["meta"]["itemDeleted"] = {"type": "blockedByAdmin"}
        if file_name:
            item["file"] = self._add_file(file_name, file_content, name or self._contact_name(chat), foreign=foreign)
        if not silent:
            self._emit_item(chat, item)
        number: int = item["meta"]["itemId"]
        return number

    def edit(self, chat: str, item_id: int, text: str, *, live: bool = False) -> None:
        """Edit a person's message. The last edit of a live message has no ``live``."""
        item = self.state.item(chat, item_id)
        item["content"]["msgContent"]["text"] = item["meta"]["itemText"] = text
        was_live = item["meta"].pop("itemLive", False)
        item["meta"].update(itemEdited=not was_live, updatedAt=self.state.now())
        if live:
            item["meta"]["itemLive"] = True
        self.state.emit_event("chatItemUpdated", chatItem=self.state.full_item(chat, item))

    def delete(self, chat: str, item_id: int) -> None:
        """Delete a person's message."""
        item = self.state.item(chat, item_id)
        before = self.state.full_item(chat, item)
        item["meta"]["itemDeleted"] = {"type": "deleted", "chatType": "group" if chat[0] == "#" else "direct"}
        pair = {"deletedChatItem": before, "toChatItem": self.state.full_item(chat, item)}
        self.state.emit_event("chatItemsDeleted", chatItemDeletions=[pair], byUser=False, timed=False)

    def moderate(self, chat: str, item_id: int, by: str) -> None:
        """Delete a message of a group as a moderator."""
        self.state.item(chat, item_id)["meta"]["itemDeleted"] = {"type": "blockedByAdmin"}
        fields = {"groupInfo": self._group(chat)["info"], "member_": self._member(chat, by), "byUser": False}
        self.state.emit_event("groupChatItemsDeleted", chatItemIDs=[item_id], **fields)

    def react(self, chat: str, item_id: int, emoji: str, *, name: str = "", added: bool = True) -> None:
        """Add a person's reaction to a message, or remove it."""
        item = self.state.item(chat, item_id)
        reaction = {"type": "emoji", "emoji": emoji}
        set_reaction(item, reaction, by_bot=False, added=added)
        change = reaction_of(self.state.full_item(chat, item), self._direction(chat, name), reaction, self.state.now())
        self.state.emit_event("chatItemReaction", added=added, reaction=change)

    def finish_file(self, file_id: int) -> None:
        """Complete a pending download."""
        self._handlers.finish_file(file_id)

    def fail_file(self, file_id: int, *, names_item: bool = True) -> None:
        """Fail a pending download."""
        self._handlers.fail_file(file_id, names_item=names_item)

    def hold_uploads(self, held: bool = True) -> None:
        """Make files that the bot sends wait for :meth:`finish_upload`."""
        self._handlers.holds_uploads = held

    def finish_upload(self, file_id: int) -> None:
        """Complete a pending upload. The file is read only now."""
        complete_upload(self.state, self._handlers.files_folder, *self.state.find_file_item(file_id))

    def upload(self, file_id: int) -> str | None:
        """Return a file that the bot uploaded, in base64; None if it is not uploaded (yet)."""
        return self.state.uploads.get(str(file_id))

    def cancel_file(self, file_id: int) -> None:
        """Cancel a file as its sender."""
        chat, item = self.state.find_file_item(file_id)
        item["file"]["fileStatus"] = {"type": "rcvCancelled"}
        sender = self.state.files[str(file_id)]["sender"]
        transfer = {**api_objects.rcv_transfer(item["file"], sender), "cancelled": True}
        self.state.emit_event(
            "rcvFileSndCancelled", chatItem=self.state.full_item(chat, item), rcvFileTransfer=transfer
        )

    def lines(self, chat: str = "") -> list[JsonObject]:
        """Return all ``AChatItem`` objects of a chat, or of all chats, by their ids."""
        refs = [chat] if chat else list(self.state.chats)
        found = [{**self.state.full_item(ref, item), "ref": ref} for ref in refs for item in self.state.items(ref)]
        return sorted(found, key=lambda item: int(item["chatItem"]["meta"]["itemId"]))

    def profile(self) -> JsonObject:
        """Return the active profile."""
        return api_objects.copy(self.state.user)

    def address(self) -> JsonObject | None:
        """Return the bot's address, or None if it has none."""
        return api_objects.copy(self.state.addresses.get(str(self.state.user["userId"])))

    def group_profile(self, chat: str) -> JsonObject:
        """Return the profile of a group."""
        profile: JsonObject = self._group(chat)["info"]["groupProfile"]
        return api_objects.copy(profile)

    # Helpers

    def _emit_item(self, chat: str, item: JsonObject) -> None:
        whole = self.state.full_item(chat, item)
        self.state.emit_event("newChatItems", chatItems=[whole])
        if "file" in item:
            transfer = api_objects.rcv_transfer(item["file"], "")
            part = {"fileDescrId": 1, "fileDescrText": "", "fileDescrPartNo": 1, "fileDescrComplete": True}
            self.state.emit_event("rcvFileDescrReady", chatItem=whole, rcvFileTransfer=transfer, rcvFileDescr=part)

    def _mention_bot(self, chat: str, text: str) -> tuple[str, JsonObject]:
        """Return ``text`` with a mention of the bot before it, and the item's fields about that."""
        own = self._group(chat)["info"]["membership"]
        name = own["memberProfile"]["displayName"]
        word = f"@'{name}'" if " " in name else f"@{name}"
        whole = f"{word} {text}".rstrip()
        parts = [{"format": {"type": "mention", "memberName": name}, "text": word}, {"text": whole[len(word) :]}]
        return whole, {"mentions": {name: mention_of(own)}, "formattedText": parts}

    def _add_file(self, name: str, content: str, sender: str, *, foreign: bool) -> JsonObject:
        try:
            size = len(base64.b64decode(content, validate=True))
        except binascii.Error as error:
            raise ValueError("the content of a file must be base64") from error
        number = self.state.next_number("file")
        self.state.files[str(number)] = {"content": content, "sender": sender, "foreign": foreign}
        return {
            "fileId": number,
            "fileName": name,
            "fileSize": size,
            "fileStatus": {"type": "rcvInvitation"},
            "fileProtocol": "XFTP",
        }

    def _direction(self, chat: str, name: str) -> JsonObject:
        if chat.startswith("@"):
            return {"type": "directRcv"}
        return {"type": "groupRcv", "groupMember": self._member(chat, name)}

    def _group(self, chat: str) -> JsonObject:
        return self.state.group(int(chat[1:].partition("(")[0]))

    def _member(self, chat: str, name: str) -> JsonObject:
        members: Table = self._group(chat)["members"]
        for member in members.values():
            if member["localDisplayName"] == name:
                return member
        raise ValueError(f"{name!r} is no member of {chat}")

    def _contact_name(self, chat: str) -> str:
        name: str = self.state.chat_info(chat)["contact"]["localDisplayName"] if chat.startswith("@") else ""
        return name


def _content_for(file_name: str, text: str) -> JsonObject:
    if not file_name:
        return {"type": "text", "text": text}
    family = (mimetypes.guess_type(file_name)[0] or "").partition("/")[0]
    if family == "image":
        return {"type": "image", "text": text, "image": _PIXEL}
    if family == "video":
        return {"type": "video", "text": text, "image": _PIXEL, "duration": 12}
    if family == "audio":
        return {"type": "voice", "text": text, "duration": 5}
    return {"type": "file", "text": text}
