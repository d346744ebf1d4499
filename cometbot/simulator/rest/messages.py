"""Messages, threads and reactions: docs/protocols/cometchat.md, "Threads", "Messages", "Reactions"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cometbot.simulator import messaging
from cometbot.simulator.history import select
from cometbot.simulator.records import APP_SYSTEM, StoredMessage
from cometbot.simulator.refusals import Refusal
from cometbot.simulator.rest.routes import Answer, Call, Routes, answer, paged
from cometbot.simulator.schemas import HistoryQuery
from cometbot.simulator.world import conversation_id

routes = Routes()
_HISTORY = HistoryQuery()


@routes.add("POST", "/messages")
def send_message(call: Call) -> Answer:
    """The message as sent by the user it is on behalf of, or by the system."""
    return answer(_shown(call, messaging.send(call.world, call.acting, call.body)))


@routes.add("GET", "/messages")
def list_messages(call: Call) -> Answer:
    """A page of all messages that the user may see."""
    return _history(call, call.world.archive.numbers(), involving=call.acting)


@routes.add("GET", "/messages/<id>")
def get_message(call: Call, id: str) -> Answer:
    """One message with its tags."""
    return answer(_shown(call, messaging.accessible(call.world, id, call.acting), with_tags=True))


@routes.add("PUT", "/messages/<id>")
def edit_message(call: Call, id: str) -> Answer:
    """The action message that records the edit."""
    return answer(_shown(call, messaging.edit(call.world, call.acting, id, call.body)))


@routes.add("DELETE", "/messages/<id>")
def delete_message(call: Call, id: str) -> Answer:
    """The action message that records the deletion."""
    return answer(_shown(call, messaging.delete(call.world, call.acting, id, permanent=call.switch("permanent"))))


@routes.add("POST", "/messages/<id>/thread", acting="must")
def send_thread_reply(call: Call, id: str) -> Answer:
    """The message as sent into the thread."""
    return answer(_shown(call, messaging.send(call.world, call.acting, call.body, parent_id=id)))


@routes.add("GET", "/messages/<id>/thread")
def list_thread(call: Call, id: str) -> Answer:
    """The replies of a thread, by page or by cursor."""
    root = messaging.accessible(call.world, id, call.acting)
    numbers = call.world.archive.numbers(parent_id=root.id)
    if "affix" in call.query or "limit" in call.query:
        return _history(call, numbers)
    replies = [call.world.archive[number] for number in numbers]
    return paged(replies, call.page(), lambda message: _shown(call, message))


@routes.add("GET", "/users/<uid>/messages")
def user_history(call: Call, uid: str) -> Answer:
    """A page of what two users wrote to each other."""
    user = call.world.directory.user(uid)
    if call.acting == APP_SYSTEM:
        return _history(call, call.world.archive.numbers(), involving=user.uid)
    return _history(call, call.world.archive.numbers(conversation_id("user", call.acting, user.uid)))


@routes.add("GET", "/groups/<guid>/messages")
def group_history(call: Call, guid: str) -> Answer:
    """A page of what was written in a group."""
    group = call.world.directory.group(guid)
    if call.acting != APP_SYSTEM and call.acting not in group.members:
        raise Refusal("ERR_GROUP_NOT_JOINED", f"The user {call.acting} is not a member of the group {group.guid}.")
    return _history(call, call.world.archive.numbers(f"group_{group.guid}"))


@routes.add("POST", "/messages/<id>/reactions/<path:reaction>", acting="must")
def add_reaction(call: Call, id: str, reaction: str) -> Answer:
    """The message with the reaction."""
    return answer(_shown(call, messaging.react(call.world, call.acting, id, reaction)))


@routes.add("DELETE", "/messages/<id>/reactions/<path:reaction>", acting="must")
def remove_reaction(call: Call, id: str, reaction: str) -> Answer:
    """The message without the reaction."""
    return answer(_shown(call, messaging.unreact(call.world, call.acting, id, reaction)))


@routes.add("GET", "/messages/<id>/reactions")
@routes.add("GET", "/messages/<id>/reactions/<path:reaction>")
def list_reactions(call: Call, id: str, reaction: str = "") -> Answer:
    """Who reacted to a message, with anything or with one emoji."""
    message = messaging.accessible(call.world, id, call.acting)
    chosen = [item for item in message.reactions if not reaction or item.reaction == reaction]
    shown = [call.world.shapes.reaction(message, item) for item in chosen]
    return {"data": shown, "meta": {"current": {"limit": len(shown), "count": len(shown)}}}


def _history(call: Call, numbers: Sequence[int], involving: str = APP_SYSTEM) -> Answer:
    query = call.filters(_HISTORY)
    page = select(call.world, numbers, query, viewer=call.acting, involving=involving)
    shown = [_shown(call, message, with_tags=query["withTags"]) for message in page.messages]
    return {"data": shown, "meta": page.meta()}


def _shown(call: Call, message: StoredMessage, *, with_tags: bool = False) -> dict[str, Any]:
    return call.world.shapes.message(message, viewer=call.acting, with_tags=with_tags)
