"""Messages of the fake CLI: sending, editing, deleting, reactions."""

from __future__ import annotations

from typing import Any

import orjson

from cometbot.testing.simplex import api_objects
from cometbot.testing.simplex.api_objects import JsonObject
from cometbot.testing.simplex.command_grammar import Request
from cometbot.testing.simplex.files import complete_upload, outgoing_file
from cometbot.testing.simplex.profiles import CommandHandlerBase, require_object, unparsable_command
from cometbot.testing.simplex.state import chat_refusal, store_refusal

MAX_MESSAGE_BYTES = 15_602
REACTIONS = ("👍", "👎", "😀", "😂", "😢", "\N{HEAVY BLACK HEART}", "🚀", "✅")

_REQUIRED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("text", "link", "voice", "file", "chat"), ("text",)),
    **dict.fromkeys(("image", "video"), ("text", "image")),
    "report": ("text", "reason"),
}
_READ_ONLY_ROLES = ("observer", "relay")


class MessageCommands(CommandHandlerBase):
    """The commands for messages."""

    files_folder: str = ""
    file_limit: int = 1_073_741_824
    holds_uploads: bool = False

    def do_send(self, request: Request) -> JsonObject:
        """Create one item for each message, in order, and then mark them as sent."""
        ref, messages = request.text("ref"), request.json
        if not isinstance(messages, list) or not messages:
            raise unparsable_command()
        composed = [self._parse_message(message) for message in messages]
        quotes = sum("quotedItemId" in message for message in composed)
        if len(composed) > 1 and (request.is_on("live") or quotes > 1):
            raise chat_refusal("commandError", message="invalid multi send: live and more than one quote not supported")
        direction = self._direction(ref)
        for message in composed:
            self._validate(ref, message)
        items = [self._send_one(ref, direction, message, request) for message in composed]
        answer = self.reply("newChatItems", chatItems=[self.state.full_item(ref, item) for item in items])
        self._complete_send(ref, items)
        return answer

    def do_send_text(self, request: Request) -> JsonObject:
        """Send a message that is only a text."""
        content = {"type": "text", "text": request.text("rest")}
        return self.do_send(Request("send", request.texts, [{"msgContent": content, "mentions": {}}]))

    def _parse_message(self, message: Any) -> JsonObject:
        composed = require_object(message)
        if isinstance(composed.get("filePath"), str):
            # The spelling of older releases, which CLIs still accept.
            composed = {**composed, "fileSource": {"filePath": composed["filePath"]}}
            del composed["filePath"]
        content = require_object(composed.get("msgContent"), "type")
        if any(not isinstance(content.get(name), str) for name in _REQUIRED.get(content["type"], ())):
            raise unparsable_command()
        quoted = composed.get("quotedItemId")
        if quoted is not None and (isinstance(quoted, bool) or not isinstance(quoted, int)):
            raise unparsable_command()
        require_object(composed.get("mentions", {}))
        return {key: value for key, value in composed.items() if value is not None}

    def _direction(self, ref: str) -> JsonObject:
        """Return the direction of the bot's items in a chat.

        Raises :class:`CommandRefused` if it cannot write there.
        """
        info = self.state.chat_info(ref)
        if info["type"] == "direct":
            if info["contact"].get("activeConn", {}).get("connStatus", {}).get("type") != "ready":
                raise chat_refusal("contactNotReady", contact=info["contact"])
            return {"type": "directSnd"}
        group = info["groupInfo"]
        status = group["membership"]["memberStatus"]
        if status == "invited":
            raise chat_refusal("groupNotJoined", groupInfo=group)
        if status not in ("connected", "complete", "creator"):
            raise chat_refusal("groupMemberNotActive")
        if group["membership"]["memberRole"] in _READ_ONLY_ROLES:
            raise chat_refusal("groupUserRole", groupInfo=group, requiredRole="member")
        return {"type": "groupSnd"}

    def _validate(self, ref: str, message: JsonObject) -> None:
        if len(orjson.dumps(message["msgContent"])) > MAX_MESSAGE_BYTES:
            raise store_refusal("largeMsg")
        quoted = message.get("quotedItemId")
        if quoted is not None and all(item["meta"]["itemId"] != quoted for item in self.state.items(ref)):
            raise store_refusal("invalidQuote")
        members = self.state.group(_group_id(ref))["members"] if ref.startswith("#") else {}
        if any(str(member) not in members for member in message.get("mentions", {}).values()):
            raise store_refusal("invalidMention")
        if "fileSource" in message:
            outgoing_file(self.files_folder, message["fileSource"], self.file_limit)

    def _send_one(self, ref: str, direction: JsonObject, message: JsonObject, request: Request) -> JsonObject:
        item = self.state.add_item(ref, direction, message["msgContent"])
        if "quotedItemId" in message:
            item["quotedItem"] = api_objects.quote_of(self.state.item(ref, message["quotedItemId"]))
        if request.is_on("live"):
            item["meta"]["itemLive"] = True
        if request.text("ttl").isdigit():
            item["meta"]["itemTimed"] = {"ttl": request.number("ttl")}
        for name, number in message.get("mentions", {}).items():
            item["mentions"][name] = mention_of(self.state.member(_group_id(ref), number))
        if "fileSource" in message:
            item["file"] = outgoing_file(self.files_folder, message["fileSource"], self.file_limit)
            item["file"]["fileId"] = self.state.next_number("file")
        return item

    def _complete_send(self, ref: str, items: list[JsonObject]) -> None:
        for item in items:
            item["meta"]["itemStatus"] = {"type": "sndSent", "sndProgress": "complete"}
        whole = [self.state.full_item(ref, item) for item in items]
        self.state.emit_event("chatItemsStatusesUpdated", chatItems=whole)
        for item in items:
            if "file" in item and not self.holds_uploads:
                complete_upload(self.state, self.files_folder, ref, item)

    def do_update_item(self, request: Request) -> JsonObject:
        """Change the content of one of the bot's messages."""
        ref = request.text("ref")
        item = self.state.item(ref, request.number("id"))
        message = self._parse_message(request.json)
        if not item["meta"]["editable"] or "itemDeleted" in item["meta"]:
            raise chat_refusal("invalidChatItemUpdate")
        if len(orjson.dumps(message["msgContent"])) > MAX_MESSAGE_BYTES:
            raise store_refusal("largeMsg")
        was_live = item["meta"].pop("itemLive", False)
        if request.is_on("live") and was_live:
            item["meta"]["itemLive"] = True
        if item["content"]["msgContent"] == message["msgContent"] and not was_live:
            return self.reply("chatItemNotChanged", chatItem=self.state.full_item(ref, item))
        item["content"]["msgContent"] = message["msgContent"]
        item["meta"].update(itemText=str(message["msgContent"].get("text", "")), updatedAt=self.state.now())
        item["meta"]["itemEdited"] = item["meta"]["itemEdited"] or not was_live
        return self.reply("chatItemUpdated", chatItem=self.state.full_item(ref, item))

    def do_delete_item(self, request: Request) -> JsonObject:
        """Delete messages. Only the bot's own can be deleted for everybody."""
        ref, mode = request.text("ref"), request.text("mode")
        items = [self.state.item(ref, number) for number in request.numbers("ids")]
        if mode == "broadcast" and any(not item["meta"]["deletable"] for item in items):
            raise chat_refusal("invalidChatItemDelete")
        return self._delete(ref, items, {"type": "deleted", "chatType": "group" if ref[0] == "#" else "direct"})

    def do_delete_member_item(self, request: Request) -> JsonObject:
        """Delete other members' messages in a group as a moderator."""
        ref = f"#{request.text('group')}"
        items = [self.state.item(ref, number) for number in request.numbers("ids")]
        authors = [item["chatDir"].get("groupMember", {}).get("memberRole", "member") for item in items]
        info = self.require_role(request, "moderator", *authors)["info"]
        return self._delete(ref, items, {"type": "moderated", "byGroupMember": info["membership"]})

    def _delete(self, ref: str, items: list[JsonObject], deleted: JsonObject) -> JsonObject:
        pairs = []
        for item in items:
            before = self.state.full_item(ref, item)
            item["meta"].update(itemDeleted=deleted, deletable=False, editable=False)
            pairs.append({"deletedChatItem": before, "toChatItem": self.state.full_item(ref, item)})
        return self.reply("chatItemsDeleted", chatItemDeletions=pairs, byUser=True, timed=False)

    def do_reaction(self, request: Request) -> JsonObject:
        """Add the bot's reaction to a message, or remove it."""
        ref, reaction = request.text("ref"), require_object(request.json, "type")
        if reaction.get("emoji") not in REACTIONS:
            raise unparsable_command()
        item = self.state.item(ref, request.number("id"))
        added = request.is_on()
        if not set_reaction(item, reaction, by_bot=True, added=added):
            raise chat_refusal("commandError", message="reaction already added" if added else "reaction not added")
        direction = {"type": "directSnd" if ref[0] == "@" else "groupSnd"}
        change = reaction_of(self.state.full_item(ref, item), direction, reaction, self.state.now())
        return self.reply("chatItemReaction", added=added, reaction=change)


def mention_of(member: JsonObject) -> JsonObject:
    """Return a mention of a member in the API's format."""
    reference = {
        "groupMemberId": member["groupMemberId"],
        "displayName": member["memberProfile"]["displayName"],
        "memberRole": member["memberRole"],
    }
    return {"memberId": member["memberId"], "memberRef": reference}


def set_reaction(item: JsonObject, reaction: JsonObject, *, by_bot: bool, added: bool) -> bool:
    """Add or remove a reaction of the bot or of others, and return True if that changes the item."""
    entry = {"reaction": reaction, "userReacted": by_bot, "totalReacted": 1}
    is_changed = (entry not in item["reactions"]) == added
    item["reactions"] = [other for other in item["reactions"] if other != entry] + ([entry] if added else [])
    return is_changed


def reaction_of(whole: JsonObject, direction: JsonObject, reaction: JsonObject, at: str) -> JsonObject:
    """Return an ``ACIReaction``."""
    change = {"chatDir": direction, "chatItem": whole["chatItem"], "sentAt": at, "reaction": reaction}
    return {"chatInfo": whole["chatInfo"], "chatReaction": change}


def _group_id(ref: str) -> int:
    return int(ref[1:].partition("(")[0])
