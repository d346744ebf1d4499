"""Conversations and receipts: docs/protocols/cometchat.md, "Conversations and receipts"."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from cometbot.simulator import messaging, people
from cometbot.simulator.directory import check_joined
from cometbot.simulator.errors import Refusal
from cometbot.simulator.records import APP_SYSTEM, StoredMessage
from cometbot.simulator.rest.routes import ApiCall, RouteTable, confirmation, paginate
from cometbot.simulator.schemas import ReceiptSchema
from cometbot.simulator.world import conversation_id

routes = RouteTable()
_RECEIPT = ReceiptSchema()
_PEER = "/<any(users,groups):kind>/<id>"


@routes.add("GET", "/conversations")
def list_conversations(call: ApiCall) -> dict[str, Any]:
    """Return the user's conversations, newest first."""
    query = call.load_page_query()
    wanted = query["conversationType"]
    items = []
    for conversation in _conversations_of(call):
        last = call.world.message_store[call.world.message_store.numbers(conversation)[-1]]
        shown = _conversation_json(call, last)
        if (not wanted or last.receiver_type == wanted) and not (
            query["unread"] and shown["unreadMessageCount"] == "0"
        ):
            items.append((last.number, shown))
    newest_first = [shown for _, shown in sorted(items, key=lambda item: -item[0])]
    return paginate(newest_first, query, lambda shown: shown)


@routes.add("GET", f"{_PEER}/conversation", acting="must")
def get_conversation(call: ApiCall, kind: str, id: str) -> dict[str, Any]:
    """Return the conversation with one user, or of a group."""
    return _conversation_json(call, call.world.message_store[_numbers(call, kind, id)[-1]])


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


def _conversation_json(call: ApiCall, last: StoredMessage) -> dict[str, Any]:
    message_store, serializer = call.world.message_store, call.world.serializer
    numbers = message_store.numbers(last.conversation_id)
    mark = call.world.read_marks.get((call.acting_uid, last.conversation_id), 0)
    unread = sum(
        _is_unread(message_store[number], call.acting_uid) for number in numbers[bisect_right(numbers, mark) :]
    )
    if last.receiver_type == "group":
        other = serializer.group(last.receiver, viewer=call.acting_uid)
    else:
        other = serializer.user(last.receiver if call.acting_uid == last.sender else last.sender)
    return {
        "conversationId": last.conversation_id,
        "conversationType": last.receiver_type,
        "unreadMessageCount": str(unread),
        "createdAt": message_store[numbers[0]].sent_at,
        "updatedAt": last.updated_at,
        "lastMessage": serializer.message(last, viewer=call.acting_uid),
        "conversationWith": other,
    }


def _is_unread(message: StoredMessage, reader: str) -> bool:
    return message.sender != reader and not message.is_action


def _conversations_of(call: ApiCall) -> list[str]:
    world = call.world
    if call.acting_uid == APP_SYSTEM:
        return world.message_store.conversation_ids()
    joined = [f"group_{group.guid}" for group in world.directory.groups.values() if call.acting_uid in group.members]
    known = [*world.contacts.get(call.acting_uid, {}), *joined]
    return [conversation for conversation in known if world.message_store.numbers(conversation)]


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
    numbers = call.world.message_store.numbers(conversation)
    if not numbers:
        raise Refusal("ERR_CONVERSATION_NOT_ACCESSIBLE", f"The conversation {conversation} has no messages yet.")
    return numbers


def _set_mark(call: ApiCall, kind: str, id: str, receipt: people.Receipt) -> dict[str, Any]:
    numbers = _numbers(call, kind, id)
    named = call.load_body(_RECEIPT).get("messageId")
    if named is not None:
        messaging.get_accessible_message(call.world, str(named), call.acting_uid)
    people.mark(call.world, call.acting_uid, _conversation_id(call, kind, id), named or numbers[-1], receipt)
    return confirmation(f"Conversation has been marked as {receipt} successfully.")
