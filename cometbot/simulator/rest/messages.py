"""Messages, threads and reactions: docs/protocols/cometchat.md, "Threads", "Messages", "Reactions"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cometbot.simulator import messaging
from cometbot.simulator.directory import check_joined
from cometbot.simulator.history import select_page
from cometbot.simulator.records import APP_SYSTEM, StoredMessage
from cometbot.simulator.rest.routes import ApiCall, Envelope, RouteTable, paginate
from cometbot.simulator.schemas import HistoryQuery
from cometbot.simulator.world import conversation_id

routes = RouteTable()
_HISTORY = HistoryQuery()


@routes.add("POST", "/messages")
def send_message(call: ApiCall) -> dict[str, Any]:
    """Send a message as the user in ``onBehalfOf``, or as the service account, and return it."""
    return _message_json(call, messaging.send(call.world, call.acting_uid, call.body))


@routes.add("GET", "/messages")
def list_messages(call: ApiCall) -> dict[str, Any]:
    """Return a page of all messages that the acting user may see."""
    return _history(call, call.world.message_store.numbers(), involving=call.acting_uid)


@routes.add("GET", "/messages/<id>")
def get_message(call: ApiCall, id: str) -> dict[str, Any]:
    """Return one message with its tags."""
    return _message_json(call, messaging.get_accessible_message(call.world, id, call.acting_uid), with_tags=True)


@routes.add("PUT", "/messages/<id>")
def edit_message(call: ApiCall, id: str) -> dict[str, Any]:
    """Edit a message and return the action message that records it."""
    return _message_json(call, messaging.edit(call.world, call.acting_uid, id, call.body))


@routes.add("DELETE", "/messages/<id>")
def delete_message(call: ApiCall, id: str) -> dict[str, Any]:
    """Delete a message and return the action message that records it."""
    return _message_json(call, messaging.delete(call.world, call.acting_uid, id, permanent=call.get_flag("permanent")))


@routes.add("POST", "/messages/<id>/thread", acting="must")
def send_thread_reply(call: ApiCall, id: str) -> dict[str, Any]:
    """Send a message into a thread and return it."""
    return _message_json(call, messaging.send(call.world, call.acting_uid, call.body, parent_id=id))


@routes.add("GET", "/messages/<id>/thread")
def list_thread(call: ApiCall, id: str) -> dict[str, Any]:
    """Return the replies of a thread, by page or by cursor."""
    root = messaging.get_accessible_message(call.world, id, call.acting_uid)
    numbers = call.world.message_store.numbers(parent_id=root.id)
    if "affix" in call.query or "limit" in call.query:
        return _history(call, numbers)
    replies = [call.world.message_store[number] for number in numbers]
    return paginate(replies, call.load_page_query(), lambda message: _message_json(call, message))


@routes.add("GET", "/users/<uid>/messages")
def user_history(call: ApiCall, uid: str) -> dict[str, Any]:
    """Return a page of the messages between two users."""
    user = call.world.directory.user(uid)
    if call.acting_uid == APP_SYSTEM:
        return _history(call, call.world.message_store.numbers(), involving=user.uid)
    conversation = conversation_id("user", call.acting_uid, user.uid)
    return _history(call, call.world.visible_numbers(conversation, call.acting_uid))


@routes.add("GET", "/groups/<guid>/messages")
def group_history(call: ApiCall, guid: str) -> dict[str, Any]:
    """Return a page of a group's messages."""
    group = call.world.directory.group(guid)
    if call.acting_uid != APP_SYSTEM:
        check_joined(group, call.acting_uid)
    return _history(call, call.world.visible_numbers(f"group_{group.guid}", call.acting_uid))


@routes.add("POST", "/messages/<id>/reactions/<path:reaction>", acting="must")
def add_reaction(call: ApiCall, id: str, reaction: str) -> dict[str, Any]:
    """Add a reaction and return the message."""
    return _message_json(call, messaging.react(call.world, call.acting_uid, id, reaction))


@routes.add("DELETE", "/messages/<id>/reactions/<path:reaction>", acting="must")
def remove_reaction(call: ApiCall, id: str, reaction: str) -> dict[str, Any]:
    """Remove a reaction and return the message."""
    return _message_json(call, messaging.unreact(call.world, call.acting_uid, id, reaction))


@routes.add("GET", "/messages/<id>/reactions")
@routes.add("GET", "/messages/<id>/reactions/<path:reaction>")
def list_reactions(call: ApiCall, id: str, reaction: str = "") -> dict[str, Any]:
    """Return the reactions to a message, or those with one emoji."""
    message = messaging.get_accessible_message(call.world, id, call.acting_uid)
    chosen = [item for item in message.reactions if not reaction or item.reaction == reaction]
    shown = [call.world.serializer.reaction(message, item) for item in chosen]
    return Envelope(data=shown, meta={"current": {"limit": len(shown), "count": len(shown)}})


def _history(call: ApiCall, numbers: Sequence[int], involving: str = APP_SYSTEM) -> dict[str, Any]:
    query = call.load_query(_HISTORY)
    page = select_page(call.world, numbers, query, viewer=call.acting_uid, involving=involving)
    shown = [_message_json(call, message, with_tags=query["withTags"]) for message in page.messages]
    return Envelope(data=shown, meta=page.meta())


def _message_json(call: ApiCall, message: StoredMessage, *, with_tags: bool = False) -> dict[str, Any]:
    return call.world.serializer.message(message, viewer=call.acting_uid, with_tags=with_tags)
