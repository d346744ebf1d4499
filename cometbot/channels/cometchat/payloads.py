"""Parses payloads, in the same way for the view that routes them and the worker that creates their events.

A field of a wrong type counts as absent. An absent value is taken from another place in the payload that repeats it,
such as the entities of a message. A payload that no more precise event fits becomes an :class:`UnknownEvent`. No I/O.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from cometbot import events
from cometbot.channels.cometchat import raw_payloads, reports, schemas
from cometbot.channels.cometchat.raw_payloads import MESSAGE_CATEGORIES, MODERATION_TRIGGERS, find_id
from cometbot.channels.cometchat.reports import (
    GROUP_ACTIONS,
    MANUAL_MODERATION_TRIGGER,
    MODERATION_ACTIONS,
    SESSION_FILE_TRIGGERS,
    Report,
)
from cometbot.events import Event
from cometbot.models import Group, Mention, User

SERVICE_UID = "app_system"
"""CometChat's service account: the sender of a payload that names no other."""

NEW_MESSAGE_TRIGGERS = frozenset({"after_message", "message_sent", "user_mentioned"})
REACTION_TRIGGERS = {"message_reaction_added": True, "message_reaction_removed": False}
CHANGE_TRIGGERS = {"message_edited": "edited", "message_deleted": "deleted"}
MEMBERSHIP_ACTIONS = {
    "group_member_added": "added",
    "group_member_joined": "joined",
    "group_member_left": "left",
    "group_member_kicked": "kicked",
    "group_member_removed": "kicked",
    "group_member_banned": "banned",
    "group_member_unbanned": "unbanned",
    "group_member_scope_changed": "scope_changed",
    "group_owner_transferred": "owner_transferred",
}
AGENT_CATEGORY = "agentic"
"""The category of the messages of agents, which are no messages to bots."""

_CALL_TRIGGER = re.compile(r"(call|meeting)_([a-z_]{1,60})")
_JOIN_ACTIONS = frozenset({"added", "joined", "created"})
_CALL_STATE_NAMES = frozenset({"initiated", "ongoing", "cancelled", "rejected", "unanswered", "busy", "ended"})
_CALL_STATE_ALIASES = {"canceled": "cancelled", "started": "ongoing"}
_TEXT_TYPES = frozenset({"text", "image", "file", "audio", "video"})
_MENTION = re.compile(r"<@uid:([^<>\s]{1,100})>")
_LOCATION_FIELDS = ("conversationId", "sender", "receiverType", "receiver")
_GROUP_PREFIX = "group_"
_USER_SEPARATOR = "_user_"


@dataclass(frozen=True, slots=True)
class ParsedPayload:
    """The parsed content of a payload, and the class of its event.

    ``subject`` is what the payload is about. ``kind`` is the platform's name for an :class:`UnknownEvent`, else the
    action: ``added``, ``edited``. ``message`` is the reported message, ``affected`` the one that was edited or deleted.
    ``extra`` is the content of a payload without a message, ``report`` that of one about users or campaigns.
    """

    event_class: type[Event]
    subject: Literal["message", "change", "call", "group", "reaction", "moderation", "report"]
    kind: str = ""
    message: Mapping[str, Any] = field(default_factory=dict)
    affected: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    report: Report | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """The facts of a payload that are needed before it is stored.

    ``key`` is the same in two payloads that report the same event. ``sender`` caused the event; ``author`` wrote the
    message concerned. They may differ, because a moderator may delete a message. ``conversation_id`` is empty if the
    payload does not contain it; ``message_id`` or ``call_key`` may then identify the conversation. ``is_new_message``
    distinguishes messages from reports about messages and members. ``joined`` are the uids that became members of the
    group. ``app_kind`` is set if the event counts even where it concerns no conversation of the bot: the kind of the
    app's conversation that it then belongs to. ``has_time`` is False if two events may have the same key.
    """

    key: str
    sender: str
    event: type[Event] = events.UnknownEvent
    author: str = ""
    receiver: str = ""
    conversation_id: str = ""
    is_group: bool = False
    is_new_message: bool = False
    message_id: str = ""
    call_key: str = ""
    mentioned: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()
    joined: frozenset[str] = frozenset()
    app_kind: str = ""
    has_time: bool = True

    @property
    def has_place(self) -> bool:
        """True if the payload identifies a conversation."""
        return bool(self.conversation_id or self.message_id or self.call_key)

    def target(self, uid: str) -> str:
        """Return the receiver of messages from ``uid`` in this conversation: the group, or the other user."""
        if self.is_group:
            return self.receiver.lower()
        is_own = self.author.lower() == uid.lower()
        return find_peer_uid(self.conversation_id, uid) or (self.receiver if is_own else self.author).lower()

    def is_direct_with(self, uid: str) -> bool:
        """Return whether this is a one-to-one conversation of ``uid``."""
        sides = (self.author.lower(), self.receiver.lower())
        return not self.is_group and (uid.lower() in sides or bool(find_peer_uid(self.conversation_id, uid)))


def parse_payload(payload: Mapping[str, Any]) -> ParsedPayload:
    """Return the parsed content of ``payload``; malformed content raises no error."""
    trigger, data = _read_envelope(payload)
    if trigger in REACTION_TRIGGERS:
        reaction = _read_reaction(data)
        if reaction["messageId"]:
            is_complete = reaction["reaction"] and reaction["uid"]
            return ParsedPayload(
                events.ReactionEvent if is_complete else events.UnknownEvent, "reaction", trigger, extra=reaction
            )
    group_change = _read_group(data, trigger) if trigger.startswith(_GROUP_PREFIX) else {}
    if group_change.get("group") is not None:
        if trigger in MEMBERSHIP_ACTIONS:
            return ParsedPayload(events.MembershipEvent, "group", MEMBERSHIP_ACTIONS[trigger], extra=group_change)
        if trigger in GROUP_ACTIONS:
            return ParsedPayload(events.GroupEvent, "group", GROUP_ACTIONS[trigger], extra=group_change)
        return ParsedPayload(events.UnknownEvent, "group", trigger, extra=group_change)
    if trigger in MODERATION_ACTIONS:
        return _read_moderation(data, trigger)
    if (report := reports.read_report(trigger, data)) is not None:
        return ParsedPayload(report.event_class, "report", trigger, report=report)
    message = load_message(raw_payloads.find_message(data))
    if call_match := _CALL_TRIGGER.fullmatch(trigger):
        call_class = events.MeetingEvent if call_match[1] == "meeting" else events.CallEvent
        return ParsedPayload(call_class, "call", normalize_call_state(call_match[2]), message, extra=data)
    if trigger in SESSION_FILE_TRIGGERS:
        session = reports.read_session(data)
        is_complete = session["recording_url"] or session["transcript_url"]
        event_class = SESSION_FILE_TRIGGERS[trigger] if is_complete else events.UnknownEvent
        return ParsedPayload(event_class, "call", trigger, message, extra=data)
    if trigger in CHANGE_TRIGGERS:
        return _read_change(message, CHANGE_TRIGGERS[trigger], trigger)
    return (
        _read_message(message)
        if trigger in NEW_MESSAGE_TRIGGERS
        else ParsedPayload(events.UnknownEvent, "message", trigger, message)
    )


def read_notification(payload: Mapping[str, Any], body: bytes) -> Notification | None:
    """Return the notification in ``payload``, or None if it concerns neither a conversation nor the whole app.

    ``body`` is the body that ``payload`` was read from; its hash identifies events without an id.
    """
    parsed = parse_payload(payload)
    trigger = _read_envelope(payload)[0]
    digest = hashlib.sha256(body).hexdigest()[:32]
    notification = _NOTIFICATION_BUILDERS[parsed.subject](parsed, digest)
    if parsed.subject == "message" and parsed.event_class in _MESSAGE_CLASSES:
        notification = _add_trigger_details(notification, parsed, trigger, digest)
    is_of_agent = parsed.event_class is events.AgentMessageEvent
    app_kind = "agents" if is_of_agent else reports.find_app_kind(trigger)
    if not notification.has_place and not app_kind:
        return None
    return replace(notification, event=parsed.event_class, app_kind=app_kind)


def load_message(value: object) -> dict[str, Any]:
    """Return a message object whose absent fields are derived from its other fields."""
    message = schemas.load(schemas.MESSAGE, value)
    by = find_entity(message, "sender") or find_entity(message, "by")
    to = find_entity(message, "receiver") or find_entity(message, "for")
    message["sender"] = message["sender"] or find_id(by.get("uid"))
    message["receiver"] = message["receiver"] or find_id(to.get("guid")) or find_id(to.get("uid"))
    message["conversationId"] = message["conversationId"] or find_id(to.get("conversationId"))
    message["receiverType"] = message["receiverType"] or _find_receiver_type(message["conversationId"], to)
    _fill_in_participants(message)
    _fill_in_type(message)
    return message


def find_peer_uid(conversation_id: str, uid: str) -> str:
    """Return the other user of a one-to-one conversation of ``uid``, or "" if the conversation's id names none."""
    conversation_id, uid = conversation_id.lower(), uid.lower()
    if uid and conversation_id.startswith(uid + _USER_SEPARATOR):
        return conversation_id.removeprefix(uid + _USER_SEPARATOR)
    return (
        conversation_id.removesuffix(_USER_SEPARATOR + uid)
        if uid and conversation_id.endswith(_USER_SEPARATOR + uid)
        else ""
    )


def find_entity(message: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return one of the entities of a message, or an empty dict if it is absent."""
    holder = message["data"]["entities"].get(name)
    entity = holder.get("entity") if isinstance(holder, dict) else None
    return entity if isinstance(entity, dict) else {}


def find_mentions(data: Mapping[str, Any]) -> tuple[Mention, ...]:
    """Return the users that a message mentions, including those that CometChat did not resolve."""
    resolved = {mention.uid.lower(): mention for mention in data.get("mentions", ())}
    for uid in _MENTION.findall(data.get("text", "")):
        resolved.setdefault(uid.lower(), Mention(uid))
    return tuple(resolved.values())


def find_actor(message: Mapping[str, Any]) -> str:
    """Return the uid of the user who caused the event of an ``action`` or ``call`` message."""
    user = schemas.find_user(find_entity(message, "by"))
    return user.uid if user else str(message["sender"])


def find_editor(parsed: ParsedPayload) -> str:
    """Return the uid of the user who edited or deleted the affected message."""
    message, affected = parsed.message, parsed.affected
    by = affected["editedBy" if parsed.kind == "edited" else "deletedBy"]
    return str(by or (find_actor(message) if message["category"] == "action" else message["sender"]))


def find_membership_sender(group_change: Mapping[str, Any]) -> User:
    """Return the user who changed a group.

    If the payload names none, it is the member who joined or left, or the old owner.
    """
    members = group_change.get("members", ())
    by: User | None = group_change.get("by")
    group: Group = group_change["group"]
    owner = group_change.get("oldOwner") or next(
        filter(None, (find_id(group.raw.get(name)) for name in ("oldOwner", "updatedBy"))), ""
    )
    return by or (members[0] if members else User(owner or SERVICE_UID))


def find_call_session(parsed: ParsedPayload) -> str:
    """Return the id of a call's session, or "" if it is absent."""
    data, entity = parsed.extra, find_entity(parsed.message, "on") if parsed.message else {}
    found = (entity.get("sessionid"), entity.get("sessionId"), data.get("sessionId"), data.get("sessionid"))
    return next((value for value in found if isinstance(value, str) and value), "")


def make_call_key(session: str) -> str:
    """Return the key of the event that started a call."""
    return f"call:{session}:initiated"


def normalize_call_state(action: str) -> str:
    """Return cometbot's name for the state of a call."""
    return _CALL_STATE_ALIASES.get(action, action)


def to_snake_case(action: str) -> str:
    """Return ``scopeChanged`` as ``scope_changed``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()


def _read_envelope(payload: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return trigger and ``data``. A bot callback without a trigger counts as ``after_message``."""
    envelope = schemas.load(schemas.ENVELOPE, payload)
    return envelope["trigger"] or ("" if "webhook" in payload else "after_message"), envelope["data"]


def _find_receiver_type(conversation_id: str, to: Mapping[str, Any]) -> str:
    if conversation_id.lower().startswith(_GROUP_PREFIX) or find_id(to.get("guid")):
        return "group"
    return "user" if _USER_SEPARATOR in conversation_id.lower() or find_id(to.get("uid")) else ""


def _fill_in_participants(message: dict[str, Any]) -> None:
    """Set absent sender and receiver of a message from the id of its conversation, or that id from them."""
    conversation_id = message["conversationId"]
    if message["receiverType"] == "group":
        message["receiver"] = message["receiver"] or conversation_id[len(_GROUP_PREFIX) :]
        message["conversationId"] = conversation_id or (
            _GROUP_PREFIX + message["receiver"] if message["receiver"] else ""
        )
    elif message["receiverType"] == "user":
        message["sender"] = message["sender"] or find_peer_uid(conversation_id, message["receiver"])
        message["receiver"] = message["receiver"] or find_peer_uid(conversation_id, message["sender"])
        if not conversation_id and message["sender"] and message["receiver"]:
            message["conversationId"] = _USER_SEPARATOR.join(
                sorted((message["sender"].lower(), message["receiver"].lower()))
            )


def _fill_in_type(message: dict[str, Any]) -> None:
    """Set an absent category and type if the other fields fit only one."""
    data, kind, on = message["data"], message["type"], find_entity(message, "on")
    if not message["category"] and on:
        message["category"] = "call" if "sessionid" in on else "action"
    elif not message["category"] and "action" not in data and (kind in _TEXT_TYPES or "text" in data):
        message["category"] = "message"
    if message["category"] == "message" and not kind:
        message["type"] = "file" if data.get("attachments") else "text"
    elif message["category"] == "action" and not kind:
        message["type"] = "groupMember" if "uid" in on else "message"


def _read_reaction(data: Mapping[str, Any]) -> dict[str, Any]:
    reaction: dict[str, Any] = (
        schemas.load(schemas.REACTION, data)["reaction"] or schemas.load(schemas.REACTION, {"reaction": {}})["reaction"]
    )
    by = reaction["reactedBy"]
    return {**reaction, "uid": reaction["uid"] or (by.uid if by else "")}


def _read_group(data: Mapping[str, Any], trigger: str) -> dict[str, Any]:
    """Return the loaded ``data`` of a group's webhook; its ``group`` is None if the payload names none."""
    group_change = schemas.load(schemas.MEMBERSHIP, data)
    if group_change["group"] is None and trigger in MEMBERSHIP_ACTIONS:
        group_change["group"] = schemas.find_group(data)
    members = group_change.get("members", ())
    for name in ("scope", "oldScope"):
        # A change of scope is reported in the member's own object.
        inner = members[0].raw.get(name) if members else None
        group_change[name] = group_change.get(name) or (inner if isinstance(inner, str) else "")
    return group_change


def _read_message(message: dict[str, Any]) -> ParsedPayload:
    category, kind, action = message["category"], message["type"], message["data"].get("action", "")
    if category in MESSAGE_CATEGORIES:
        if message["deletedAt"] and message["id"]:
            return ParsedPayload(events.DeleteEvent, "change", "deleted", message, message)
        is_complete = message["sender"] and message["receiverType"]
        return ParsedPayload(events.MessageEvent if is_complete else events.UnknownEvent, "message", category, message)
    if category == AGENT_CATEGORY and message["id"] and kind:
        return ParsedPayload(events.AgentMessageEvent, "message", category, message)
    if category == "call":
        return ParsedPayload(events.CallEvent, "call", normalize_call_state(action), message)
    if category == "action" and kind == "groupMember" and action and message["receiverType"] == "group":
        return ParsedPayload(events.MembershipEvent, "message", to_snake_case(action), message)
    if category == "action" and kind == "message" and action in CHANGE_TRIGGERS.values():
        return _read_change(message, action, "action/message")
    return ParsedPayload(
        events.UnknownEvent, "message", f"action/{kind}" if category == "action" else category, message
    )


def _read_moderation(data: Mapping[str, Any], trigger: str) -> ParsedPayload:
    """Return the content of a moderation's webhook; that of a failed one reports the message as ``resource``."""
    resource = data.get("resource")
    message = load_message(resource if isinstance(resource, dict) else raw_payloads.find_message(data))
    if not message["id"] or not message["sender"]:
        return ParsedPayload(events.UnknownEvent, "message", trigger, message)
    moderation = reports.read_moderation(data)
    moderation["by_moderator"] = trigger == MANUAL_MODERATION_TRIGGER
    return ParsedPayload(events.ModerationEvent, "moderation", MODERATION_ACTIONS[trigger], message, extra=moderation)


def _read_change(message: dict[str, Any], action: str, kind: str) -> ParsedPayload:
    affected = message
    if message["category"] == "action" or find_entity(message, "on"):
        affected = load_message(find_entity(message, "on"))
        affected |= {name: message[name] for name in _LOCATION_FIELDS if not affected[name]}
    if affected["id"] and action == "deleted":
        return ParsedPayload(events.DeleteEvent, "change", action, message, affected)
    if affected["id"] and affected["category"] in MESSAGE_CATEGORIES and affected["sender"]:
        return ParsedPayload(events.EditEvent, "change", action, message, affected)
    return ParsedPayload(events.UnknownEvent, "message", kind, message)


def _make_reaction_notification(parsed: ParsedPayload, digest: str) -> Notification:
    reaction = parsed.extra
    if parsed.event_class is events.UnknownEvent:
        key = f"{parsed.kind}:{digest}"
    else:
        what = f"{reaction['messageId']}:{reaction['uid'].lower()}:{reaction['reaction']}"
        # A user may remove a reaction and add it again within a week; the time distinguishes the two.
        at = map(str, filter(None, [reaction["reactedAt"]]))
        key = ":".join(["reaction", what, "added" if REACTION_TRIGGERS[parsed.kind] else "removed", *at])
    return Notification(key, reaction["uid"] or SERVICE_UID, message_id=reaction["messageId"])


def _make_group_notification(parsed: ParsedPayload, digest: str) -> Notification:
    group_change = parsed.extra
    guid = group_change["group"].guid.lower()
    members = sorted(member.uid.lower() for member in group_change.get("members", ()))
    key = f"{parsed.kind}:{digest}"  # The payload has no time of its own; the same body is the same event.
    if parsed.event_class is events.MembershipEvent:
        key = f"member:{guid}:{parsed.kind}:{','.join(members[:3])}:{digest}"
    elif parsed.event_class is events.GroupEvent:
        key = f"group:{guid}:{key}"
    return Notification(
        key,
        find_membership_sender(group_change).uid,
        receiver=guid,
        conversation_id=f"{_GROUP_PREFIX}{guid}",
        is_group=True,
        members=frozenset(members),
        joined=frozenset(members) if parsed.kind in _JOIN_ACTIONS else frozenset(),
    )


def _make_call_notification(parsed: ParsedPayload, digest: str) -> Notification:
    session = find_call_session(parsed)
    parts = ["call", session or parsed.message["id"] or digest, parsed.kind]
    key = ":".join(parts if parsed.kind in _CALL_STATE_NAMES and parts[1] != digest else [*parts, digest])
    notification = replace(
        _make_base_notification(parsed.message, key), sender=find_actor(parsed.message) or SERVICE_UID
    )
    # Later payloads of a call contain only its session.
    return (
        notification
        if notification.conversation_id or not session
        else replace(notification, call_key=make_call_key(session))
    )


def _make_moderation_notification(parsed: ParsedPayload, digest: str) -> Notification:
    message, moderation = parsed.message, parsed.extra
    trigger = MANUAL_MODERATION_TRIGGER if moderation["by_moderator"] else f"moderation_engine_{parsed.kind}"
    # A message is judged again when it is edited, and each kind of its content by itself.
    judged = [moderation["contentType"] if parsed.kind == "failed" else "", str(message["editedAt"] or "")]
    key = ":".join([trigger, message["id"], *filter(None, judged)])
    return replace(_make_base_notification(message, key), sender=SERVICE_UID)


def _make_report_notification(parsed: ParsedPayload, digest: str) -> Notification:
    report = parsed.report
    assert report is not None
    sender = report.sender.uid if report.sender is not None else SERVICE_UID
    return Notification(
        report.key or f"{parsed.kind}:{digest}",
        sender,
        author=sender,
        receiver=report.receiver,
        conversation_id=report.conversation_id,
        is_group=report.is_group,
        has_time=report.has_time,
    )


def _make_change_notification(parsed: ParsedPayload, digest: str) -> Notification:
    affected = parsed.affected
    key = f"delete:{affected['id']}"
    if parsed.kind == "edited":
        edited_at = affected["editedAt"] or affected["updatedAt"] or parsed.message["sentAt"]
        key = f"edit:{affected['id']}:{edited_at or digest}"
    sender = find_editor(parsed) or SERVICE_UID
    return replace(_make_base_notification(affected, key), sender=sender, message_id=affected["id"])


def _make_message_notification(parsed: ParsedPayload, digest: str) -> Notification:
    message = parsed.message
    notification = _make_base_notification(message, f"message:{message['id'] or digest}")
    if parsed.event_class is not events.MembershipEvent:
        return notification
    uid = find_entity(message, "on").get("uid", "")
    members = frozenset(filter(None, [find_id(uid).lower()]))
    key = f"member:{message['receiver'].lower()}:{parsed.kind}:{str(uid).lower()}:{message['id'] or digest}"
    joined = members if parsed.kind in _JOIN_ACTIONS else frozenset()
    return replace(notification, key=key, sender=find_actor(message) or SERVICE_UID, members=members, joined=joined)


def _add_trigger_details(notification: Notification, parsed: ParsedPayload, trigger: str, digest: str) -> Notification:
    """Return the notification of a message with the fields that depend on the trigger."""
    if trigger in NEW_MESSAGE_TRIGGERS:
        mentioned = frozenset(mention.uid.lower() for mention in find_mentions(parsed.message["data"]))
        return replace(notification, is_new_message=True, mentioned=mentioned)
    named = parsed.message["id"] if trigger in MODERATION_TRIGGERS else ""
    return replace(notification, key=f"{trigger or 'unknown'}:{named or digest}")


_MESSAGE_CLASSES = (events.MessageEvent, events.AgentMessageEvent, events.UnknownEvent)


def _make_base_notification(message: Mapping[str, Any], key: str) -> Notification:
    return Notification(
        key=key,
        sender=message["sender"] or SERVICE_UID,
        author=message["sender"],
        receiver=message["receiver"],
        conversation_id=message["conversationId"].lower(),
        is_group=message["receiverType"] == "group",
    )


_NOTIFICATION_BUILDERS: dict[str, Callable[[ParsedPayload, str], Notification]] = {
    "message": _make_message_notification,
    "change": _make_change_notification,
    "call": _make_call_notification,
    "group": _make_group_notification,
    "reaction": _make_reaction_notification,
    "moderation": _make_moderation_notification,
    "report": _make_report_notification,
}
