"""Conversations and receipts: docs/protocols/cometchat.md, "Conversations and receipts"."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from cometbot.simulator import messaging
from cometbot.simulator.records import APP_SYSTEM, StoredMessage
from cometbot.simulator.refusals import Refusal
from cometbot.simulator.rest.routes import Answer, Call, Routes, answer, done, paged
from cometbot.simulator.schemas import ReceiptSchema
from cometbot.simulator.world import conversation_id

routes = Routes()
_RECEIPT = ReceiptSchema()


@routes.add("GET", "/conversations")
def list_conversations(call: Call) -> Answer:
    """The user's conversations, the newest first."""
    query = call.page()
    wanted = query["conversationType"]
    items = []
    for conversation in _conversations_of(call):
        last = call.world.archive[call.world.archive.numbers(conversation)[-1]]
        shown = _shown(call, last)
        if (not wanted or last.receiver_type == wanted) and not (
            query["unread"] and shown["unreadMessageCount"] == "0"
        ):
            items.append((last.number, shown))
    newest_first = [shown for _, shown in sorted(items, key=lambda item: -item[0])]
    return paged(newest_first, query, lambda shown: shown)


@routes.add("GET", "/users/<uid>/conversation", acting="must")
def get_user_conversation(call: Call, uid: str) -> Answer:
    """The conversation with one user."""
    return _one(call, conversation_id("user", call.acting, call.world.directory.user(uid).uid))


@routes.add("GET", "/groups/<guid>/conversation", acting="must")
def get_group_conversation(call: Call, guid: str) -> Answer:
    """The conversation of a group."""
    return _one(call, f"group_{_joined(call, guid)}")


@routes.add("POST", "/users/<uid>/conversation/read", acting="must")
def read_user_conversation(call: Call, uid: str) -> Answer:
    """A confirmation."""
    return _mark(call, call.world.read, _direct(call, uid), "read")


@routes.add("POST", "/groups/<guid>/conversation/read", acting="must")
def read_group_conversation(call: Call, guid: str) -> Answer:
    """A confirmation."""
    return _mark(call, call.world.read, f"group_{_joined(call, guid)}", "read")


@routes.add("DELETE", "/users/<uid>/conversation/read", acting="must")
def unread_user_conversation(call: Call, uid: str) -> Answer:
    """A confirmation."""
    return _unmark(call, _direct(call, uid))


@routes.add("DELETE", "/groups/<guid>/conversation/read", acting="must")
def unread_group_conversation(call: Call, guid: str) -> Answer:
    """A confirmation."""
    return _unmark(call, f"group_{_joined(call, guid)}")


@routes.add("POST", "/users/<uid>/conversation/delivered", acting="must")
def deliver_user_conversation(call: Call, uid: str) -> Answer:
    """A confirmation."""
    return _mark(call, call.world.delivered, _direct(call, uid), "delivered")


@routes.add("POST", "/groups/<guid>/conversation/delivered", acting="must")
def deliver_group_conversation(call: Call, guid: str) -> Answer:
    """A confirmation."""
    return _mark(call, call.world.delivered, f"group_{_joined(call, guid)}", "delivered")


def _one(call: Call, conversation: str) -> Answer:
    numbers = call.world.archive.numbers(conversation)
    if not numbers:
        raise Refusal("ERR_CONVERSATION_NOT_ACCESSIBLE", f"The conversation {conversation} has no messages yet.")
    return answer(_shown(call, call.world.archive[numbers[-1]]))


def _shown(call: Call, last: StoredMessage) -> dict[str, Any]:
    archive, shapes = call.world.archive, call.world.shapes
    numbers = archive.numbers(last.conversation_id)
    mark = call.world.read.get((call.acting, last.conversation_id), 0)
    unread = sum(_is_unread(archive[number], call.acting) for number in numbers[bisect_right(numbers, mark) :])
    if last.receiver_type == "group":
        other = shapes.group(last.receiver, viewer=call.acting)
    else:
        other = shapes.user(last.receiver if call.acting == last.sender else last.sender)
    return {
        "conversationId": last.conversation_id,
        "conversationType": last.receiver_type,
        "unreadMessageCount": str(unread),
        "createdAt": archive[numbers[0]].sent_at,
        "updatedAt": last.updated_at,
        "lastMessage": shapes.message(last, viewer=call.acting),
        "conversationWith": other,
    }


def _is_unread(message: StoredMessage, reader: str) -> bool:
    return message.sender != reader and not message.is_action


def _conversations_of(call: Call) -> list[str]:
    world = call.world
    if call.acting == APP_SYSTEM:
        return world.archive.conversation_ids()
    joined = [f"group_{group.guid}" for group in world.directory.groups.values() if call.acting in group.members]
    known = [*world.contacts.get(call.acting, {}), *joined]
    return [conversation for conversation in known if world.archive.numbers(conversation)]


def _direct(call: Call, uid: str) -> str:
    return conversation_id("user", call.acting, call.world.directory.user(uid).uid)


def _joined(call: Call, guid: str) -> str:
    group = call.world.directory.group(guid)
    if call.acting not in group.members:
        raise Refusal("ERR_GROUP_NOT_JOINED", f"The user {call.acting} is not a member of the group {group.guid}.")
    return group.guid


def _mark(call: Call, marks: dict[tuple[str, str], int], conversation: str, what: str) -> Answer:
    numbers = call.world.archive.numbers(conversation)
    if not numbers:
        raise Refusal("ERR_CONVERSATION_NOT_ACCESSIBLE", f"The conversation {conversation} has no messages yet.")
    named = call.read(_RECEIPT).get("messageId")
    if named is not None:
        messaging.accessible(call.world, str(named), call.acting)
    key = (call.acting, conversation)
    marks[key] = max(marks.get(key, 0), named or numbers[-1])
    return done(f"Conversation has been marked as {what} successfully.")


def _unmark(call: Call, conversation: str) -> Answer:
    named = call.read(_RECEIPT).get("messageId")
    call.world.read[(call.acting, conversation)] = (named or 1) - 1
    return done("Conversation has been marked as unread successfully.")
