"""Makes events of what CometChat sends: bot callbacks, app webhooks and REST answers. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cometbot.channels.cometchat import reports, schemas
from cometbot.channels.cometchat.reports import Report, find_entity
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
from cometbot.models import Attachment, Conversation, Group, Quote, User

CHANNEL = "cometchat"


def parse(payload: Mapping[str, Any], *, conversation: Conversation, key: str) -> Event:
    """Return the event that ``payload`` reports in ``conversation``."""
    report = reports.read_report(payload)
    place = _Place(conversation, key, payload)
    if report.event is MessageEvent:
        return make_message(report.message, place)
    if report.event is ReactionEvent:
        return _make_reaction(report, place)
    if report.event is MembershipEvent:
        return _make_membership(report, place) if report.subject == "group" else _make_member_action(report, place)
    if report.event is CallEvent:
        return _make_call(report, place)
    if report.event in (EditEvent, DeleteEvent):
        return _make_change(report, place)
    return _make_unknown(report, place)


@dataclass(frozen=True, slots=True)
class _Place:
    """Values that all events of one payload share."""

    conversation: Conversation
    key: str
    raw: Mapping[str, Any]

    def common(self, message: Mapping[str, Any], *, by: str = "") -> dict[str, Any]:
        sender, group = _people(message, by)
        shared = self.of(sender)
        return {**shared, "group": group or shared["group"], "sent_at": float(message["sentAt"])}

    def of(self, sender: User) -> dict[str, Any]:
        """Return what an event of ``sender`` shares with all others."""
        here = self.conversation
        group = Group(here.target) if here.is_group else None
        return {"key": self.key, "conversation": here, "sender": sender, "group": group, "raw": self.raw}


def make_message(message: Mapping[str, Any], place: _Place) -> MessageEvent:
    """Return the message in a loaded message object."""
    data = message["data"]
    carried = {"custom": "customData", "interactive": "interactiveData", "card": "card"}.get(message["category"], "")
    return MessageEvent(
        id=message["id"],
        type=message["type"],
        category=message["category"],
        text=data.get("text", ""),
        attachments=_attachments(data),
        mentions=reports.find_mentions(data),
        thread_id=message["parentId"],
        quote=_quote(message),
        tags=tuple(message.get("tags", ())),
        metadata=data.get("metadata", {}),
        data=data.get(carried, {}) if carried else {},
        moderation=_text(data.get("moderation", {}).get("status")),
        muid=message.get("muid", ""),
        **place.common(message),
    )


def place_of(conversation: Conversation, message: Mapping[str, Any]) -> _Place:
    """Return where a message of a REST answer stands."""
    return _Place(conversation, f"message:{message.get('id', '')}", message)


def _make_reaction(report: Report, place: _Place) -> ReactionEvent:
    reaction = report.extra
    return ReactionEvent(
        **place.of(reaction["reactedBy"] or User(reaction["uid"])),
        sent_at=float(reaction["reactedAt"]),
        message_id=reaction["messageId"],
        reaction=reaction["reaction"],
        added=reports.REACTED[report.kind],
    )


def _make_membership(report: Report, place: _Place) -> MembershipEvent:
    about_group = report.extra
    group, members = about_group["group"], tuple(about_group.get("members", ()))
    if report.kind == "owner_transferred" and not members and group.owner:
        members = (User(group.owner),)
    return MembershipEvent(
        **{**place.of(reports.find_membership_sender(about_group)), "group": group},
        action=report.kind,
        members=members,
        scope=about_group["scope"],
        old_scope=about_group["oldScope"],
    )


def _make_member_action(report: Report, place: _Place) -> MembershipEvent:
    message = report.message
    member = schemas.find_user(find_entity(message, "on"))
    extras = message["data"].get("extras")
    scope = extras.get("scope") if isinstance(extras, dict) else None
    scope = scope if isinstance(scope, dict) else {}
    return MembershipEvent(
        action=report.kind,
        members=(member,) if member else (),
        scope=_text(scope.get("new")),
        old_scope=_text(scope.get("old")),
        **place.common(message, by=reports.find_actor(message)),
    )


def _make_change(report: Report, place: _Place) -> EditEvent | DeleteEvent:
    affected = report.affected
    common = place.common(report.message, by=reports.find_changer(report))
    changed_at = affected["editedAt" if report.kind == "edited" else "deletedAt"]
    common["sent_at"] = float(changed_at or report.message["sentAt"])
    inner = _Place(place.conversation, f"message:{affected['id']}", affected)
    said = make_message(affected, inner) if affected["category"] in reports.SAID else None
    if report.event is EditEvent and said is not None:
        return EditEvent(message=said, **common)
    return DeleteEvent(message_id=affected["id"], message=said, **common)


def _make_call(report: Report, place: _Place) -> CallEvent:
    message = report.message
    return CallEvent(
        id=message["id"],
        action=report.kind,
        type=message["type"] if message["category"] == "call" else "",
        session_id=reports.find_session(report),
        **place.common(message, by=reports.find_actor(message)),
    )


def _make_unknown(report: Report, place: _Place) -> UnknownEvent:
    if report.subject == "group":
        sender = reports.find_membership_sender(report.extra)
        return UnknownEvent(kind=report.kind, **{**place.of(sender), "group": report.extra["group"]})
    if report.subject == "reaction":
        sender = report.extra["reactedBy"] or User(report.extra["uid"] or reports.SERVICE_UID)
        return UnknownEvent(kind=report.kind, sent_at=float(report.extra["reactedAt"]), **place.of(sender))
    return UnknownEvent(kind=report.kind, **place.common(report.message))


def _people(message: Mapping[str, Any], by: str) -> tuple[User, Group | None]:
    uid = by or message["sender"] or reports.SERVICE_UID
    known = (schemas.find_user(find_entity(message, name)) for name in ("sender", "by", "on"))
    sender = next((user for user in known if user and user.uid.lower() == uid.lower()), User(uid))
    if message["receiverType"] != "group":
        return sender, None
    groups = (schemas.find_group(find_entity(message, name)) for name in ("receiver", "for"))
    return sender, next((group for group in groups if group), Group(message["receiver"]))


def _attachments(data: Mapping[str, Any]) -> tuple[Attachment, ...]:
    attachments = tuple(data.get("attachments", ()))
    url = data.get("url", "")
    return attachments or ((Attachment(url),) if url else ())


def _quote(message: Mapping[str, Any]) -> Quote | None:
    whole = message.get("quotedMessage") or message["data"].get("quotedMessage") or {}
    named = message["quotedMessageId"] or message["data"].get("quotedMessageId")
    quoted_id = named or schemas.find_id(whole.get("id"))
    if not quoted_id:
        return None
    inner = whole.get("data")
    text = inner.get("text") if isinstance(inner, dict) else whole.get("text")
    return Quote(id=quoted_id, text=_text(text), sender=_text(whole.get("sender")), raw=whole)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
