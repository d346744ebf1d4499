"""Conversations and receipts: docs/protocols/cometchat.md, "Conversations and receipts"."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from cometbot.simulator import messaging, people
from cometbot.simulator.conversation_views import Peer
from cometbot.simulator.directory import check_joined
from cometbot.simulator.errors import Refusal, bad_request
from cometbot.simulator.records import APP_SYSTEM, StoredMessage
from cometbot.simulator.rest.routes import ApiCall, RouteTable, confirmation, paginate
from cometbot.simulator.schemas import ConversationSchema, PinnedConversationsSchema, ReceiptSchema
from cometbot.simulator.world import conversation_id

routes = RouteTable()
_RECEIPT = ReceiptSchema()
_CONVERSATION = ConversationSchema()
_PINNED = PinnedConversationsSchema()
_PEER = "/<any(users,groups):kind>/<id>"


@routes.add("GET", "/conversations")
def list_conversations(call: ApiCall) -> dict[str, Any]:
    """Return the user's conversations: those that the app pins, the user's own pins, then the others, newest first."""
    query = call.load_page_query()
    items = []
    for conversation in _conversations_of(call):
        last = call.world.message_store[_visible_numbers(call, conversation)[-1]]
        shown = _conversation_json(call, last, with_tags=query["withTags"])
        if _matches_query(call, shown, query):
            items.append((_place(call, last), shown))
    return paginate([shown for _, shown in sorted(items, key=lambda item: item[0])], query, lambda shown: shown)


@routes.add("GET", "/conversations/pinned", acting="no")
def list_pinned_conversations(call: ApiCall) -> dict[str, Any]:
    """Return the conversations that the app pins for all users, in their order."""
    pins = call.world.conversation_views.app_pins
    return paginate(list(pins), call.load_page_query(), lambda peer: _app_pin_json(call, peer))


@routes.add("PUT", "/conversations/pinned", acting="no")
def replace_pinned_conversations(call: ApiCall) -> dict[str, Any]:
    """Replace the conversations that the app pins for all users, and return them."""
    directory = call.world.directory
    peers: list[Peer] = []
    for entry in call.load_body(_PINNED)["pinnedConversations"]:
        peers.append(
            ("group", directory.group(entry["guid"]).guid)
            if "guid" in entry
            else ("user", directory.user(entry["uid"]).uid)
        )
    call.world.conversation_views.replace_app_pins(peers, call.world.now())
    shown: dict[str, Any] = list_pinned_conversations(call)
    return shown


@routes.add("GET", f"{_PEER}/conversation", acting="must")
def get_conversation(call: ApiCall, kind: str, id: str) -> dict[str, Any]:
    """Return the conversation with one user, or of a group."""
    return _shown_conversation(call, kind, id)


@routes.add("PUT", f"{_PEER}/conversation", acting="must")
def update_conversation(call: ApiCall, kind: str, id: str) -> dict[str, Any]:
    """Replace the tags of a conversation for the acting user and return the conversation."""
    numbers = _numbers(call, kind, id)
    key = (call.acting_uid, call.world.message_store[numbers[-1]].conversation_id)
    body = call.load_body(_CONVERSATION)
    if "tags" in body:
        call.world.conversation_views.tags[key] = body["tags"]
    return _shown_conversation(call, kind, id)


@routes.add("DELETE", f"{_PEER}/conversation", acting="must")
def reset_conversation(call: ApiCall, kind: str, id: str) -> dict[str, Any]:
    """Delete a conversation for the acting user, or its messages for both users, and return a confirmation."""
    numbers, body = list(_numbers(call, kind, id)), call.load_body(_CONVERSATION)
    conversation = _conversation_id(call, kind, id)
    if body.get("conversationWith", id).lower() != id.lower():
        raise bad_request("conversationWith", "It must be the user of the path.")
    call.world.conversation_views.delete(call.acting_uid, conversation, numbers[-1])
    if body["deleteMessagesPermanently"] and kind == "users":
        for number in list(call.world.message_store.numbers(conversation)):
            call.world.message_store.remove(call.world.message_store[number])
    return confirmation(f"The conversation {conversation} has been deleted successfully for UID {call.acting_uid}.")


@routes.add("POST", f"{_PEER}/conversation/pin", acting="must")
def pin_conversation(call: ApiCall, kind: str, id: str) -> dict[str, Any]:
    """Pin a conversation for the acting user and return it."""
    numbers = _numbers(call, kind, id)
    conversation = call.world.message_store[numbers[-1]].conversation_id
    call.world.conversation_views.pin(call.acting_uid, conversation, call.world.now())
    return _shown_conversation(call, kind, id)


@routes.add("DELETE", f"{_PEER}/conversation/pin", acting="must")
def unpin_conversation(call: ApiCall, kind: str, id: str) -> dict[str, Any]:
    """Remove the acting user's pin and return the conversation. A pin of the app cannot be removed."""
    last = call.world.message_store[_numbers(call, kind, id)[-1]]
    if _peer(call, last) in call.world.conversation_views.app_pins:
        raise Refusal("ERR_SYSTEM_PINNED_CONVERSATION", "The app has pinned this conversation for all users.")
    call.world.conversation_views.unpin(call.acting_uid, last.conversation_id)
    return _shown_conversation(call, kind, id)


@routes.add("POST", f"{_PEER}/conversation/read", acting="must")
def mark_read(call: ApiCall, kind: str, id: str) -> dict[str, Any]:
    """Mark a conversation as read."""
    return _set_mark(call, kind, id, "read")


@routes.add("DELETE", f"{_PEER}/conversation/read", acting="must")
def mark_unread(call: ApiCall, kind: str, id: str) -> dict[str, Any]:
    """Mark a conversation as unread."""
    conversation = _conversation_id(call, kind, id)
    named = call.load_body(_RECEIPT).get("messageId")
    call.world.read_marks[(call.acting_uid, conversation)] = (named or 1) - 1
    return confirmation("Conversation has been marked as unread successfully.")


@routes.add("POST", f"{_PEER}/conversation/delivered", acting="must")
def mark_delivered(call: ApiCall, kind: str, id: str) -> dict[str, Any]:
    """Mark a conversation as delivered."""
    return _set_mark(call, kind, id, "delivered")


def _shown_conversation(call: ApiCall, kind: str, id: str) -> dict[str, Any]:
    return _conversation_json(call, call.world.message_store[_numbers(call, kind, id)[-1]], with_tags=True)


def _conversation_json(call: ApiCall, last: StoredMessage, *, with_tags: bool = False) -> dict[str, Any]:
    message_store, serializer = call.world.message_store, call.world.serializer
    numbers = _visible_numbers(call, last.conversation_id)
    mark = call.world.read_marks.get((call.acting_uid, last.conversation_id), 0)
    unread = sum(
        _is_unread(message_store[number], call.acting_uid) for number in numbers[bisect_right(numbers, mark) :]
    )
    kind, id = _peer(call, last)
    tags = call.world.conversation_views.tags.get((call.acting_uid, last.conversation_id), [])
    return {
        "conversationId": last.conversation_id,
        "conversationType": last.receiver_type,
        "unreadMessageCount": str(unread),
        "createdAt": message_store[numbers[0]].sent_at,
        "updatedAt": last.updated_at,
        **({} if last.deleted_at else {"lastMessage": serializer.message(last, viewer=call.acting_uid)}),
        "conversationWith": serializer.group(id, viewer=call.acting_uid) if kind == "group" else serializer.user(id),
        **({"tags": list(tags)} if with_tags and tags else {}),
        **_pin_json(call, last),
    }


def _peer(call: ApiCall, last: StoredMessage) -> Peer:
    if last.receiver_type == "group":
        return "group", last.receiver
    return "user", last.receiver if call.acting_uid == last.sender else last.sender


def _pin_json(call: ApiCall, last: StoredMessage) -> dict[str, Any]:
    views = call.world.conversation_views
    if pinned_at := views.app_pins.get(_peer(call, last), 0):
        return {"pinnedAt": pinned_at, "pinnedBy": APP_SYSTEM}
    pinned_at = views.pinned_at(call.acting_uid, last.conversation_id)
    return {"pinnedAt": pinned_at, "pinnedBy": call.acting_uid} if pinned_at else {}


def _place(call: ApiCall, last: StoredMessage) -> tuple[int, int]:
    """Return the sort key of a conversation in the list."""
    views, peer = call.world.conversation_views, _peer(call, last)
    if peer in views.app_pins:
        return 0, list(views.app_pins).index(peer)
    pinned_at = views.pinned_at(call.acting_uid, last.conversation_id)
    return (1, -pinned_at) if pinned_at else (2, -last.number)


def _app_pin_json(call: ApiCall, peer: Peer) -> dict[str, Any]:
    (kind, id), serializer = peer, call.world.serializer
    return {
        "conversationType": kind,
        "conversationWith": serializer.group(id) if kind == "group" else serializer.user(id),
        "pinnedAt": call.world.conversation_views.app_pins[peer],
        "pinnedBy": APP_SYSTEM,
    }


def _is_unread(message: StoredMessage, reader: str) -> bool:
    return message.sender != reader and not message.is_action


def _matches_query(call: ApiCall, shown: dict[str, Any], query: dict[str, Any]) -> bool:
    other = shown["conversationWith"]
    is_group = shown["conversationType"] == "group"
    key = (call.acting_uid, shown["conversationId"])
    tags = call.world.conversation_views.tags.get(key, [])
    directory = call.world.directory
    record = directory.groups.get(other.get("guid", "")) if is_group else directory.find_user(other["uid"])
    other_tags = query["groupTags" if is_group else "userTags"]
    return (
        query["conversationType"] in ("", shown["conversationType"])
        and not (query["unread"] and shown["unreadMessageCount"] == "0")
        and query["searchKey"].lower() in other["name"].lower()
        and (not query["tags"] or not set(query["tags"]).isdisjoint(tags))
        and (not other_tags or not set(other_tags).isdisjoint(record.tags if record else ()))
    )


def _conversations_of(call: ApiCall) -> list[str]:
    world = call.world
    if call.acting_uid == APP_SYSTEM:
        return world.message_store.conversation_ids()
    joined = [f"group_{group.guid}" for group in world.directory.groups.values() if call.acting_uid in group.members]
    known = [*world.contacts.get(call.acting_uid, {}), *joined]
    return [conversation for conversation in known if _visible_numbers(call, conversation)]


def _visible_numbers(call: ApiCall, conversation: str) -> Sequence[int]:
    return call.world.visible_numbers(conversation, call.acting_uid)


def _conversation_id(call: ApiCall, kind: str, id: str) -> str:
    """Return the id of the conversation with a user, or of a group, of which the acting user must be a member."""
    if kind == "users":
        return conversation_id("user", call.acting_uid, call.world.directory.user(id).uid)
    group = call.world.directory.group(id)
    check_joined(group, call.acting_uid)
    return f"group_{group.guid}"


def _numbers(call: ApiCall, kind: str, id: str) -> Sequence[int]:
    """Return the ids of the messages of a conversation, which must have some."""
    conversation = _conversation_id(call, kind, id)
    numbers = _visible_numbers(call, conversation)
    if not numbers:
        raise Refusal("ERR_CONVERSATION_NOT_ACCESSIBLE", f"The conversation {conversation} has no messages yet.")
    return numbers


def _set_mark(call: ApiCall, kind: str, id: str, receipt: people.Receipt) -> dict[str, Any]:
    numbers = _numbers(call, kind, id)
    named = call.load_body(_RECEIPT).get("messageId")
    if named is not None:
        messaging.get_accessible_message(call.world, str(named), call.acting_uid)
    people.mark(call.world, call.acting_uid, _conversation_id(call, kind, id), named or numbers[-1], receipt)
    # CometChat spells the key of this answer for users with a capital letter.
    return {"success": True, "Message" if kind == "users" else "message": f"The conversation is marked as {receipt}."}
