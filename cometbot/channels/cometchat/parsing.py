"""Makes events of what CometChat sends: one reading for bot callbacks, app webhooks and REST answers. No I/O."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from cometbot.channels.cometchat import schemas
from cometbot.errors import PayloadError
from cometbot.events import (
    CallEvent,
    DeleteEvent,
    EditEvent,
    Event,
    MembershipEvent,
    MessageEvent,
    ReactionEvent,
    UnknownEvent,
)
from cometbot.models import Attachment, Conversation, Group, Mention, Quote, User

CHANNEL = "cometchat"
SAID = frozenset({"message", "custom", "interactive", "card"})
"""Categories of messages that somebody wrote; ``action`` and ``call`` report what happened."""

SENT = frozenset({"after_message", "message_sent", "user_mentioned"})
MODERATED = frozenset(
    {
        "moderation_engine_approved",
        "moderation_engine_blocked",
        "moderation_engine_failed",
        "moderation_manual_approved",
    }
)
REACTED = {"message_reaction_added": True, "message_reaction_removed": False}
MEMBERSHIP = {
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
_CALL_STATES = {"canceled": "cancelled", "started": "ongoing"}
_MENTION = re.compile(r"<@uid:([^<>\s]{1,100})>")


@dataclass(frozen=True, slots=True)
class Happening:
    """What a payload reports, as far as it must be known before it is stored.

    ``key`` makes two reports of one happening the same. ``sender`` did it, ``author`` wrote the message that it is
    about: not always the same, a moderator may delete. ``conversation_id`` is empty where the payload does not say it.
    ``is_new_message`` tells messages from reports about messages and members.
    """

    key: str
    sender: str
    author: str = ""
    receiver: str = ""
    conversation_id: str = ""
    is_group: bool = False
    is_new_message: bool = False
    message_id: str = ""
    mentioned: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()

    def target(self, uid: str) -> str:
        """Whom ``uid`` writes to so that it arrives there: the group, or the other side one-to-one."""
        is_own = self.author.lower() == uid.lower()
        return (self.receiver if self.is_group or is_own else self.author).lower()

    def is_direct_with(self, uid: str) -> bool:
        """Whether this is a one-to-one conversation of ``uid``."""
        return not self.is_group and uid.lower() in (self.author.lower(), self.receiver.lower())


def read_json(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``. Raises :class:`PayloadError` for anything else, NaN and lone surrogates included."""
    try:
        payload = orjson.loads(body)
    except ValueError as error:
        raise PayloadError(f"the body is not JSON: {error}", details={"body": [f"Not JSON: {error}"]}) from None
    if not isinstance(payload, dict):
        raise PayloadError("the body is JSON, but no object", details={"body": ["Must be an object."]})
    return payload


def find_duplicate_key(body: bytes, names: frozenset[str]) -> str:
    """The first of ``names`` that occurs twice in one of the objects in ``body``; empty if none does."""
    found: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, value in pairs:
            if name in result and name in names:
                found.append(name)
            result[name] = value
        return result

    try:
        json.loads(body, object_pairs_hook=collect)
    except (RecursionError, ValueError):  # nested or numbers larger than this reader takes; the other one took them
        return ""
    return found[0] if found else ""


def describe(payload: Mapping[str, Any], body: bytes) -> Happening | None:
    """What ``payload`` reports; None for what concerns no conversation (presence, receipts, campaigns …).

    Raises :class:`PayloadError` if a report that is known lacks something that it must have.
    """
    envelope = schemas.load(schemas.ENVELOPE, payload)
    trigger, data = envelope["trigger"], envelope["data"]
    if trigger in REACTED:
        return _describe_reaction(data, is_added=REACTED[trigger])
    if trigger in MEMBERSHIP:
        return _describe_membership(data, MEMBERSHIP[trigger], body)
    holder = _holder(data)
    if trigger in SENT:
        return _describe_message(schemas.load(schemas.MESSAGE, data[holder] if holder else data, _path(holder)), body)
    if trigger in ("message_edited", "message_deleted"):
        message = schemas.load(schemas.AFFECTED_MESSAGE, data.get("message"), "data.message")
        return _describe_change(message, is_edit=trigger == "message_edited")
    return _describe_unknown(data[holder] if holder else data, trigger, body)


def parse(payload: Mapping[str, Any], *, conversation: Conversation, key: str) -> Event:
    """The event that ``payload`` reports in ``conversation``. Raises :class:`PayloadError` as :func:`describe` does."""
    envelope = schemas.load(schemas.ENVELOPE, payload)
    trigger, data = envelope["trigger"], envelope["data"]
    if trigger in REACTED:
        return _make_reaction(data, _Place(conversation, key, payload), is_added=REACTED[trigger])
    if trigger in MEMBERSHIP:
        return _make_membership(data, MEMBERSHIP[trigger], _Place(conversation, key, payload))
    place = _Place(conversation, key, payload)
    holder = _holder(data)
    if trigger in SENT:
        return make_event(schemas.load(schemas.MESSAGE, data[holder] if holder else data, _path(holder)), place)
    if trigger in ("message_edited", "message_deleted"):
        message = schemas.load(schemas.AFFECTED_MESSAGE, data.get("message"), "data.message")
        return _make_change(message, place, is_edit=trigger == "message_edited")
    message = schemas.load(schemas.MESSAGE, data[holder] if holder else data, _path(holder))
    return UnknownEvent(kind=trigger, **place.common(message))


@dataclass(frozen=True, slots=True)
class _Place:
    """What all events of one payload share."""

    conversation: Conversation
    key: str
    raw: Mapping[str, Any]

    def common(self, message: Mapping[str, Any], *, by: str = "") -> dict[str, Any]:
        sender, group = _people(message, by)
        return {
            "key": self.key,
            "conversation": self.conversation,
            "sender": sender,
            "group": group,
            "sent_at": float(message["sentAt"]),
            "raw": self.raw,
        }


def make_event(message: Mapping[str, Any], place: _Place) -> Event:
    """The event in a loaded message object, whatever its category."""
    category, kind = message["category"], message["type"]
    if category in SAID:
        return make_message(message, place)
    if category == "call":
        return _make_call(message, place)
    if category == "action" and kind == "groupMember":
        return _make_member_action(message, place)
    if category == "action" and kind == "message" and message["data"].get("action") in ("edited", "deleted"):
        return _make_change(message, place, is_edit=message["data"]["action"] == "edited")
    return UnknownEvent(kind=category if category != "action" else f"action/{kind}", **place.common(message))


def make_message(message: Mapping[str, Any], place: _Place) -> MessageEvent:
    """What somebody wrote, in a loaded message object."""
    data = message["data"]
    carried = {"custom": "customData", "interactive": "interactiveData", "card": "card"}.get(message["category"], "")
    return MessageEvent(
        id=message["id"],
        type=message["type"],
        category=message["category"],
        text=data.get("text", ""),
        attachments=_attachments(data),
        mentions=_mentions(data),
        thread_id=message.get("parentId", ""),
        quote=_quote(message),
        tags=tuple(message.get("tags", ())),
        metadata=data.get("metadata", {}),
        data=data.get(carried, {}) if carried else {},
        moderation=data["moderation"]["status"] if "moderation" in data else "",
        muid=message.get("muid", ""),
        **place.common(message),
    )


def place_of(conversation: Conversation, message: Mapping[str, Any]) -> _Place:
    """Where a message of a REST answer stands."""
    return _Place(conversation, f"message:{message.get('id', '')}", message)


def _holder(data: Mapping[str, Any]) -> str:
    return next((name for name in ("message", "call") if isinstance(data.get(name), dict)), "")


def _path(holder: str) -> str:
    return f"data.{holder}" if holder else "data"


def _describe_message(message: Mapping[str, Any], body: bytes) -> Happening:
    event_type = (message["category"], message["type"])
    if event_type == ("action", "message") and message["data"].get("action") in ("edited", "deleted"):
        return _describe_change(message, is_edit=message["data"]["action"] == "edited")
    happening = _located(message, f"message:{message['id']}")
    if event_type == ("action", "groupMember"):
        member = _entity(message, "on").get("uid", "")
        action = _snake(message["data"].get("action", ""))
        key = f"member:{message['receiver'].lower()}:{action}:{str(member).lower()}:{message['id']}"
        return replace(happening, key=key, sender=_by(message), members=frozenset({str(member).lower()}))
    if message["category"] == "call":
        call = _entity(message, "on")
        action = _call_state(message["data"].get("action", ""))
        return replace(happening, key=f"call:{call.get('sessionid') or message['id']}:{action}", sender=_by(message))
    mentioned = frozenset(mention.uid.lower() for mention in _mentions(message["data"]))
    return replace(happening, is_new_message=True, mentioned=mentioned)


def _located(message: Mapping[str, Any], key: str) -> Happening:
    return Happening(
        key=key,
        sender=message["sender"],
        author=message["sender"],
        receiver=message["receiver"],
        conversation_id=message["conversationId"].lower(),
        is_group=message["receiverType"] == "group",
        message_id=message["id"],
    )


def _describe_change(report: Mapping[str, Any], *, is_edit: bool) -> Happening:
    message = _affected(report, is_edit=is_edit)
    if is_edit:
        key = f"edit:{message['id']}:{message.get('editedAt') or message['updatedAt'] or report['sentAt']}"
    else:
        key = f"delete:{message['id']}"
    return replace(_located(message, key), sender=_changed_by(report, message, is_edit=is_edit))


def _describe_reaction(data: Mapping[str, Any], *, is_added: bool) -> Happening:
    reaction = schemas.load(schemas.REACTION, data, "data")["reaction"]
    what = f"{reaction['messageId']}:{reaction['uid'].lower()}:{reaction['reaction']}"
    # Somebody may take a reaction away and put it there again within a week: the time tells the two apart.
    parts = ["reaction", what, "added" if is_added else "removed", *map(str, filter(None, [reaction.get("reactedAt")]))]
    return Happening(key=":".join(parts), sender=reaction["uid"], message_id=reaction["messageId"])


def _describe_membership(data: Mapping[str, Any], action: str, body: bytes) -> Happening:
    loaded = schemas.load(schemas.MEMBERSHIP, data, "data")
    guid = loaded["group"].guid.lower()
    members = sorted(member.uid.lower() for member in loaded.get("members", ()))
    return Happening(
        # The report carries no time of its own; the same body is the same happening.
        key=f"member:{guid}:{action}:{','.join(members[:3])}:{_digest(body)}",
        sender=_membership_sender(loaded).uid,
        receiver=guid,
        conversation_id=f"group_{guid}",
        is_group=True,
        members=frozenset(members),
    )


def _describe_unknown(message: object, trigger: str, body: bytes) -> Happening | None:
    try:
        loaded = schemas.load(schemas.MESSAGE, message)
    except PayloadError:
        return None
    key = f"{trigger}:{loaded['id']}" if trigger in MODERATED else f"{trigger}:{_digest(body)}"
    return _located(loaded, key)


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:32]


def _make_reaction(data: Mapping[str, Any], place: _Place, *, is_added: bool) -> ReactionEvent:
    reaction = schemas.load(schemas.REACTION, data, "data")["reaction"]
    return ReactionEvent(
        key=place.key,
        conversation=place.conversation,
        sender=reaction.get("reactedBy") or User(reaction["uid"]),
        sent_at=float(reaction.get("reactedAt", 0)),
        raw=place.raw,
        message_id=reaction["messageId"],
        reaction=reaction["reaction"],
        added=is_added,
    )


def _make_membership(data: Mapping[str, Any], action: str, place: _Place) -> MembershipEvent:
    loaded = schemas.load(schemas.MEMBERSHIP, data, "data")
    return MembershipEvent(
        key=place.key,
        conversation=place.conversation,
        sender=_membership_sender(loaded),
        group=loaded["group"],
        raw=place.raw,
        action=action,
        members=_transferred_to(loaded) if action == "owner_transferred" else tuple(loaded.get("members", ())),
        scope=loaded.get("scope", ""),
        old_scope=loaded.get("oldScope", ""),
    )


def _membership_sender(loaded: Mapping[str, Any]) -> User:
    """Who did it; those who joined or left did it themselves, and an owner hands a group over himself."""
    members = loaded.get("members", ())
    by: User | None = loaded.get("by")
    owner = loaded.get("oldOwner") or schemas.find_id(loaded["group"].raw.get("oldOwner"))
    return by or (members[0] if members else User(owner or "app_system"))


def _transferred_to(loaded: Mapping[str, Any]) -> tuple[User, ...]:
    members: tuple[User, ...] = tuple(loaded.get("members", ()))
    owner = loaded["group"].owner
    return members or ((User(owner),) if owner else ())


def _make_member_action(message: Mapping[str, Any], place: _Place) -> MembershipEvent:
    data = message["data"]
    member = schemas.find_user(_entity(message, "on"))
    extras = data.get("extras")
    scope = extras.get("scope") if isinstance(extras, dict) else None
    scope = scope if isinstance(scope, dict) else {}
    return MembershipEvent(
        action=_snake(data.get("action", "")),
        members=(member,) if member else (),
        scope=_text(scope.get("new")),
        old_scope=_text(scope.get("old")),
        **place.common(message, by=_by(message)),
    )


def _make_change(report: Mapping[str, Any], place: _Place, *, is_edit: bool) -> EditEvent | DeleteEvent:
    message = _affected(report, is_edit=is_edit)
    by = _changed_by(report, message, is_edit=is_edit)
    common = place.common(report, by=by)
    common["sent_at"] = float(message.get("editedAt" if is_edit else "deletedAt") or report["sentAt"])
    inner = _Place(place.conversation, f"message:{message['id']}", message)
    said = make_message(message, inner) if message["category"] in SAID else None
    if is_edit and said is not None:
        return EditEvent(message=said, **common)
    return DeleteEvent(message_id=message["id"], message=said, **common)


def _make_call(message: Mapping[str, Any], place: _Place) -> CallEvent:
    return CallEvent(
        id=message["id"],
        action=_call_state(message["data"].get("action", "")),
        type=message["type"],
        session_id=_text(_entity(message, "on").get("sessionid")),
        **place.common(message, by=_by(message)),
    )


def _affected(report: Mapping[str, Any], *, is_edit: bool) -> Mapping[str, Any]:
    """The message that was changed: inside an ``action`` message, else the reported message itself."""
    path = "data.message"
    message = report
    if report["category"] == "action":
        path += ".data.entities.on.entity"
        whole = {name: report[name] for name in ("conversationId", "sender", "receiverType", "receiver")}
        message = schemas.load(schemas.AFFECTED_MESSAGE, {**whole, **_entity(report, "on")}, path)
    if is_edit and message["category"] not in SAID:
        details = {f"{path}.category": [f"Must be one of: {', '.join(sorted(SAID))}."]}
        raise PayloadError("an edited message must be one that somebody wrote", details=details)
    return message


def _changed_by(report: Mapping[str, Any], message: Mapping[str, Any], *, is_edit: bool) -> str:
    by = message.get("editedBy" if is_edit else "deletedBy")
    return str(by or (_by(report) if report["category"] == "action" else report["sender"]))


def _by(message: Mapping[str, Any]) -> str:
    """The uid of who did what an ``action`` or ``call`` message reports."""
    user = schemas.find_user(_entity(message, "by"))
    return user.uid if user else str(message["sender"])


def _people(message: Mapping[str, Any], by: str) -> tuple[User, Group | None]:
    uid = by or message["sender"]
    known = (schemas.find_user(_entity(message, name)) for name in ("sender", "by", "on"))
    sender = next((user for user in known if user and user.uid.lower() == uid.lower()), User(uid))
    if message["receiverType"] != "group":
        return sender, None
    groups = (schemas.find_group(_entity(message, name)) for name in ("receiver", "for"))
    return sender, next((group for group in groups if group), Group(message["receiver"]))


def _entity(message: Mapping[str, Any], name: str) -> dict[str, Any]:
    holder = message["data"].get("entities", {}).get(name)
    entity = holder.get("entity") if isinstance(holder, dict) else None
    return entity if isinstance(entity, dict) else {}


def _attachments(data: Mapping[str, Any]) -> tuple[Attachment, ...]:
    attachments = tuple(data.get("attachments", ()))
    url = data.get("url", "")
    return attachments or ((Attachment(url),) if url else ())


def _mentions(data: Mapping[str, Any]) -> tuple[Mention, ...]:
    resolved = {mention.uid.lower(): mention for mention in data.get("mentions", ())}
    for uid in _MENTION.findall(data.get("text", "")):
        resolved.setdefault(uid.lower(), Mention(uid))
    return tuple(resolved.values())


def _quote(message: Mapping[str, Any]) -> Quote | None:
    whole = message.get("quotedMessage") or message["data"].get("quotedMessage") or {}
    quoted_id = message.get("quotedMessageId") or message["data"].get("quotedMessageId") or whole.get("id")
    if not quoted_id:
        return None
    inner = whole.get("data")
    text = inner.get("text") if isinstance(inner, dict) else whole.get("text")
    return Quote(id=str(quoted_id), text=_text(text), sender=_text(whole.get("sender")), raw=whole)


def _call_state(action: str) -> str:
    return _CALL_STATES.get(action, action)


def _snake(action: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
