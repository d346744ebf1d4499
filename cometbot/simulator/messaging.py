"""Sending, editing, deleting and reacting, with the permission rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cometbot.simulator.directory import check_joined
from cometbot.simulator.errors import Refusal, bad_request
from cometbot.simulator.message_validation import check_content, find_mentions, parse_draft
from cometbot.simulator.records import APP_SYSTEM, Reaction, StoredMessage
from cometbot.simulator.schemas import EditSchema, load
from cometbot.simulator.world import World, conversation_id

MAX_REACTIONS = 25
MAX_REACTION_LENGTH = 45
_EDITABLE = (("message", "text"), ("custom", ""))
_EDIT = EditSchema()


def send(
    world: World,
    sender: str,
    body: Mapping[str, Any],
    *,
    parent_id: str = "",
    resource: str = "",
    origin: Mapping[str, str] | None = None,
) -> StoredMessage:
    """Send a message as ``sender`` and return it as stored. Its callbacks are queued for bots and webhooks.

    If a rule of the moderation applies to it, its callbacks are queued only when it is approved.
    ``parent_id`` puts it into a thread. ``resource`` identifies the sending app; it is empty for the REST API.
    """
    draft = parse_draft(body, categories=world.behaviour.categories)
    parent_id = parent_id or (draft.parent_id if world.behaviour.parent_id_in_body else "")
    _check_receiver(world, sender, draft)
    conversation = conversation_id(draft.receiver_type, sender, draft.receiver)
    if parent_id:
        _check_thread(world, parent_id, conversation)
    if draft.muid and world.behaviour.repeated_muid == "same":
        earlier = world.message_store.find_by_muid(sender, draft.muid)
        if earlier is not None:
            return earlier
    message = world.message_store.add(_make_message(world, draft, sender, conversation, parent_id, resource))
    if parent_id:
        root = world.message_store.get(parent_id)
        world.message_store.update(replace(root, reply_count=root.reply_count + 1))
    if message.receiver_type == "user":
        _add_contact(world, message)
    if not world.hold_message(message, origin):
        emit_sent(world, message, origin)
    return world.message_store.get(message.id)


def send_as_agent(world: World, agent: str, receiver: str, text: str, *, muid: str = "") -> StoredMessage:
    """Store a text that an agent has streamed to a user, of any length, and return it."""
    draft = StoredMessage(
        receiver_type="user", receiver=receiver, category="message", type="text", data={"text": text}, muid=muid
    )
    conversation = conversation_id("user", agent, receiver)
    message = world.message_store.add(_make_message(world, draft, agent, conversation, "", ""))
    _add_contact(world, message)
    emit_sent(world, message, None)
    return message


def edit(world: World, by: str, message_id: str, body: Mapping[str, Any]) -> StoredMessage:
    """Edit a message and return the action message that records it.

    Only one's own text and custom messages can be edited.
    """
    changes = load(_EDIT, body)
    message = get_accessible_message(world, message_id, by)
    kind = (message.category, "" if message.category == "custom" else message.type)
    if kind not in _EDITABLE or message.deleted_at:
        raise Refusal("ERR_MESSAGE_ACTION_NOT_ALLOWED", "Only text and custom messages can be edited.")
    _check_sender(message, by)
    if "data" not in changes and "tags" not in changes:
        raise bad_request("data", "There is nothing to change.")
    data = {**message.data, **changes.get("data", {})}
    check_content(message.category, message.type, data)
    now = world.now()
    tags = tuple(changes["tags"]) if "tags" in changes else message.tags
    edited = replace(message, data=data, tags=tags, edited_at=now, edited_by=by, updated_at=now)
    world.message_store.update(replace(edited, mentions=_known_mentions(world, edited)))
    return _record_action(world, "edited", by, world.message_store.get(message.id))


def delete(world: World, by: str, message_id: str, *, permanent: bool = False) -> StoredMessage:
    """Delete a message and return the action message that records it.

    Admins and moderators of a group may delete the messages of others.
    """
    message = get_accessible_message(world, message_id, by)
    if message.is_action or message.deleted_at:
        raise Refusal("ERR_MESSAGE_ACTION_NOT_ALLOWED", "This message cannot be deleted.")
    if not _may_moderate(world, message, by):
        _check_sender(message, by)
    now = world.now()
    gone = world.message_store.update(replace(message, deleted_at=now, deleted_by=by, updated_at=now))
    if permanent:
        world.message_store.remove(gone)
    return _record_action(world, "deleted", by, gone)


def react(world: World, by: str, message_id: str, reaction: str) -> StoredMessage:
    """Add a reaction of ``by`` and return the message. Repeating the same reaction changes nothing."""
    message = get_accessible_message(world, message_id, by)
    if not reaction or len(reaction) > MAX_REACTION_LENGTH:
        raise bad_request("reaction", f"A reaction has 1 to {MAX_REACTION_LENGTH} characters.")
    if message.is_action or message.deleted_at:
        raise Refusal("ERR_MESSAGE_ACTION_NOT_ALLOWED", "This message cannot be reacted to.")
    if _find_reaction(message, by, reaction) is not None:
        return message
    distinct = {item.reaction for item in message.reactions} | {reaction}
    if len(distinct) > MAX_REACTIONS:
        raise bad_request("reaction", f"A message can have at most {MAX_REACTIONS} different reactions.")
    added = Reaction(world.message_store.next_id(), reaction, by, world.now())
    message = world.message_store.update(replace(message, reactions=(*message.reactions, added)))
    data = {"reaction": world.serializer.reaction(message, added)}
    world.emit("message_reaction_added", data, message=message)
    return message


def unreact(world: World, by: str, message_id: str, reaction: str) -> StoredMessage:
    """Remove a reaction of ``by`` and return the message. Does nothing if there is no such reaction."""
    message = get_accessible_message(world, message_id, by)
    found = _find_reaction(message, by, reaction)
    if found is None:
        return message
    rest = tuple(item for item in message.reactions if item != found)
    message = world.message_store.update(replace(message, reactions=rest))
    world.emit("message_reaction_removed", {"reaction": world.serializer.reaction(message, found)}, message=message)
    return message


def get_accessible_message(world: World, message_id: str, uid: str) -> StoredMessage:
    """Return the message if ``uid`` takes part in its conversation or is the service account.

    Raises ``ERR_MESSAGE_ID_NOT_FOUND`` or ``ERR_MESSAGE_NO_ACCESS``.
    """
    message = world.message_store.get(message_id)
    if uid != APP_SYSTEM and not world.is_participant(message, uid):
        raise Refusal("ERR_MESSAGE_NO_ACCESS", f"The user {uid} has no access to the message {message_id}.")
    return message


def _check_receiver(world: World, sender: str, draft: StoredMessage) -> None:
    if draft.receiver_type == "user":
        receiver = world.directory.user(draft.receiver)
        if sender in receiver.blocked:
            raise Refusal("ERR_BLOCKED_RECEIVER", f"The user {receiver.uid} has blocked {sender}.")
        if sender != APP_SYSTEM and receiver.uid in world.directory.user(sender).blocked:
            raise Refusal("ERR_BLOCKED_SENDER", f"The user {sender} has blocked {receiver.uid}.")
        return
    group = world.directory.group(draft.receiver)
    if sender != APP_SYSTEM and world.behaviour.send_needs_membership:
        check_joined(group, sender)


def _check_thread(world: World, parent_id: str, conversation: str) -> None:
    parent = world.message_store.get(parent_id)
    if parent.conversation_id != conversation:
        raise Refusal("ERR_WRONG_MESSAGE_THREAD", f"The message {parent_id} belongs to another conversation.")
    if parent.parent_id:
        raise Refusal("ERR_MESSAGE_THREAD_NESTING", f"The message {parent_id} is itself a reply in a thread.")
    if parent.is_action:
        raise Refusal("ERR_WRONG_MESSAGE_THREAD_CATEGORY", f"The message {parent_id} cannot have a thread.")


def _make_message(
    world: World, draft: StoredMessage, sender: str, conversation: str, parent_id: str, resource: str
) -> StoredMessage:
    now = world.now()
    return replace(
        draft,
        id=world.message_store.next_id(),
        conversation_id=conversation,
        sender=sender,
        data={**draft.data, "resource": resource} if resource else draft.data,
        sent_at=now,
        updated_at=now,
        parent_id=parent_id,
        mentions=_known_mentions(world, draft),
    )


def _known_mentions(world: World, message: StoredMessage) -> tuple[str, ...]:
    return tuple(uid for uid in find_mentions(message.data) if world.directory.find_user(uid) is not None)


def emit_sent(world: World, message: StoredMessage, origin: Mapping[str, str] | None) -> None:
    """Report a new message to bots and webhooks."""
    data = {"message": world.serializer.message(message, with_tags=True)}
    world.emit("message_sent", data, message=message, origin=origin)
    if message.mentions:
        world.emit("user_mentioned", data, message=message, origin=origin)


def _add_contact(world: World, message: StoredMessage) -> None:
    for uid, other in ((message.sender, message.receiver), (message.receiver, message.sender)):
        world.contacts.setdefault(uid, {})[message.conversation_id] = other


def _record_action(world: World, name: str, by: str, message: StoredMessage) -> StoredMessage:
    serializer = world.serializer
    affected = serializer.message(message, with_tags=True)
    entities = {
        "by": serializer.actor(by),
        "on": serializer.entity("message", serializer.deletion(message) if name == "deleted" else affected),
        "for": serializer.receiver(message),
    }
    action = world.record_action(
        by,
        "message",
        {"action": name, "entities": entities},
        conversation=message.conversation_id,
        receiver_type=message.receiver_type,
        receiver=message.receiver,
    )
    world.emit(f"message_{name}", {"message": affected}, message=message, action=action)
    return action


def _check_sender(message: StoredMessage, by: str) -> None:
    if by not in (message.sender, APP_SYSTEM):
        raise Refusal("ERR_MESSAGE_NOT_A_SENDER", f"The user {by} did not send the message {message.id}.")


def _may_moderate(world: World, message: StoredMessage, by: str) -> bool:
    group = world.directory.groups.get(message.receiver) if message.receiver_type == "group" else None
    member = group.members.get(by) if group else None
    return member is not None and member.scope != "participant"


def _find_reaction(message: StoredMessage, uid: str, reaction: str) -> Reaction | None:
    return next((item for item in message.reactions if item.uid == uid and item.reaction == reaction), None)
