"""Creates events from CometChat's payloads: bot callbacks, app webhooks and REST responses. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cometbot import events
from cometbot.channels.cometchat import payloads, raw_payloads, reports, schemas
from cometbot.channels.cometchat.payloads import ParsedPayload, find_entity
from cometbot.channels.cometchat.raw_payloads import MESSAGE_CATEGORIES, find_id
from cometbot.channels.cometchat.reports import Report
from cometbot.events import Event
from cometbot.messages import paragraphs
from cometbot.models import Attachment, Conversation, Group, Quote, User

CHANNEL = "cometchat"
_MODERATION_OUTCOMES = {"approved": "approved", "blocked": "disapproved"}


def parse(payload: Mapping[str, Any], *, conversation: Conversation, key: str) -> Event:
    """Return the event in ``payload``, which was received in ``conversation`` and is stored under ``key``."""
    parsed = payloads.parse_payload(payload)
    context = _EventContext(conversation, key, payload)
    if parsed.event_class is events.MessageEvent:
        return make_message(parsed.message, context)
    if parsed.event_class is events.ReactionEvent:
        return _make_reaction(parsed, context)
    if parsed.event_class is events.MembershipEvent:
        return _make_membership(parsed, context) if parsed.subject == "group" else _make_member_action(parsed, context)
    if parsed.event_class is events.GroupEvent:
        return _make_group_event(parsed, context)
    if parsed.event_class in (events.CallEvent, events.MeetingEvent):
        return _make_call(parsed, context)
    if parsed.event_class in (events.RecordingEvent, events.TranscriptionEvent):
        return _make_session_file(parsed, context)
    if parsed.event_class is events.ModerationEvent:
        return _make_moderation(parsed, context)
    if parsed.event_class is events.AgentMessageEvent:
        return _make_agent_message(parsed, context)
    if parsed.report is not None:
        return _make_report(parsed.report, context)
    if parsed.event_class in (events.EditEvent, events.DeleteEvent):
        return _make_change(parsed, context)
    return _make_unknown(parsed, context)


@dataclass(frozen=True, slots=True)
class _EventContext:
    """Values that all events of one payload share."""

    conversation: Conversation
    key: str
    raw: Mapping[str, Any]

    def common_fields(self, message: Mapping[str, Any], *, by: str = "") -> dict[str, Any]:
        sender, group = _find_sender_and_group(message, by)
        shared = self.fields_for(_with_scope(sender, group))
        return {**shared, "group": group or shared["group"], "sent_at": float(message["sentAt"])}

    def fields_for(self, sender: User) -> dict[str, Any]:
        """Return the fields that all events of ``sender`` share."""
        conversation = self.conversation
        group = Group(conversation.target) if conversation.is_group else None
        return {"key": self.key, "conversation": conversation, "sender": sender, "group": group, "raw": self.raw}


def make_message(message: Mapping[str, Any], context: _EventContext) -> events.MessageEvent:
    """Return the event of a loaded message object."""
    data = message["data"]
    data_field = {"custom": "customData", "interactive": "interactiveData", "card": "card"}.get(message["category"], "")
    return events.MessageEvent(
        id=message["id"],
        type=message["type"],
        category=message["category"],
        text=data.get("text", ""),
        attachments=_attachments(data, message["id"]),
        mentions=payloads.find_mentions(data),
        thread_id=message["parentId"],
        quote=_quote(message),
        tags=tuple(message.get("tags", ())),
        metadata=data.get("metadata", {}),
        data=data.get(data_field, {}) if data_field else {},
        moderation=_as_text(data.get("moderation", {}).get("status")),
        muid=message.get("muid", ""),
        **context.common_fields(message),
    )


def find_shown_text(interactive_data: Mapping[str, Any]) -> str:
    """Return the texts that an interactive message shows: that of a card, or the title and the fields of a form."""
    fields = interactive_data.get("formFields")
    labels = [item.get("label") for item in fields if isinstance(item, dict)] if isinstance(fields, list) else []
    shown = (_as_text(interactive_data.get("title")), _as_text(interactive_data.get("text")))
    return paragraphs(*shown, *(f"{label}:" for label in map(_as_text, labels) if label))


def make_history_context(conversation: Conversation, message: Mapping[str, Any]) -> _EventContext:
    """Return the context of a message in a REST response."""
    return _EventContext(conversation, f"message:{message.get('id', '')}", message)


def _make_reaction(parsed: ParsedPayload, context: _EventContext) -> events.ReactionEvent:
    reaction = parsed.extra
    return events.ReactionEvent(
        **context.fields_for(reaction["reactedBy"] or User(reaction["uid"])),
        sent_at=float(reaction["reactedAt"]),
        message_id=reaction["messageId"],
        reaction=reaction["reaction"],
        added=payloads.REACTION_TRIGGERS[parsed.kind],
    )


def _make_membership(parsed: ParsedPayload, context: _EventContext) -> events.MembershipEvent:
    group_change = parsed.extra
    group, members = group_change["group"], tuple(group_change.get("members", ()))
    if parsed.kind == "owner_transferred" and not members and group.owner:
        members = (User(group.owner),)
    return events.MembershipEvent(
        **{**context.fields_for(_with_scope(payloads.find_membership_sender(group_change), group)), "group": group},
        action=parsed.kind,
        members=members,
        scope=group_change["scope"],
        old_scope=group_change["oldScope"],
    )


def _make_member_action(parsed: ParsedPayload, context: _EventContext) -> events.MembershipEvent:
    message = parsed.message
    member = schemas.find_user(find_entity(message, "on"))
    extras = message["data"].get("extras")
    scope = extras.get("scope") if isinstance(extras, dict) else None
    scope = scope if isinstance(scope, dict) else {}
    return events.MembershipEvent(
        action=parsed.kind,
        members=(member,) if member else (),
        scope=_as_text(scope.get("new")),
        old_scope=_as_text(scope.get("old")),
        **context.common_fields(message, by=payloads.find_actor(message)),
    )


def _make_change(parsed: ParsedPayload, context: _EventContext) -> events.EditEvent | events.DeleteEvent:
    affected = parsed.affected
    common = context.common_fields(parsed.message, by=payloads.find_editor(parsed))
    changed_at = affected["editedAt" if parsed.kind == "edited" else "deletedAt"]
    common["sent_at"] = float(changed_at or parsed.message["sentAt"])
    inner = _EventContext(context.conversation, f"message:{affected['id']}", affected)
    message = make_message(affected, inner) if affected["category"] in MESSAGE_CATEGORIES else None
    if parsed.event_class is events.EditEvent and message is not None:
        return events.EditEvent(message=message, **common)
    return events.DeleteEvent(message_id=affected["id"], message=message, **common)


def _make_call(parsed: ParsedPayload, context: _EventContext) -> events.CallEvent:
    message, session = parsed.message, reports.read_session(parsed.extra)
    common = context.common_fields(message, by=payloads.find_actor(message))
    common["sent_at"] = float(common["sent_at"] or session["destroyed_at"] or session["created_at"])
    event_class = events.MeetingEvent if parsed.event_class is events.MeetingEvent else events.CallEvent
    return event_class(
        id=message["id"],
        action=parsed.kind,
        type=message["type"] if message["category"] == "call" else "",
        session_id=payloads.find_call_session(parsed),
        participants=session["participants"],
        started_at=float(session["created_at"]),
        ended_at=float(session["destroyed_at"]),
        **common,
    )


def _make_session_file(
    parsed: ParsedPayload, context: _EventContext
) -> events.RecordingEvent | events.TranscriptionEvent:
    session = reports.read_session(parsed.extra)
    common = {**context.common_fields(parsed.message), "session_id": payloads.find_call_session(parsed)}
    common["started_at"] = float(session["startTime"])
    if parsed.event_class is events.RecordingEvent:
        url = session["recording_url"] or session["transcript_url"]
        return events.RecordingEvent(url=url, duration=session["duration"], **common)
    url = session["transcript_url"] or session["recording_url"]
    return events.TranscriptionEvent(url=url, id=session["tid"], ended_at=float(session["endTime"]), **common)


def _make_group_event(parsed: ParsedPayload, context: _EventContext) -> events.GroupEvent:
    group_change = parsed.extra
    common = context.fields_for(payloads.find_membership_sender(group_change))
    members = tuple(group_change.get("members", ()))
    return events.GroupEvent(action=parsed.kind, members=members, **{**common, "group": group_change["group"]})


def _make_moderation(parsed: ParsedPayload, context: _EventContext) -> events.ModerationEvent:
    message, moderation = parsed.message, parsed.extra
    inner = _EventContext(context.conversation, f"message:{message['id']}", message)
    judged = make_message(message, inner)
    common = {**context.fields_for(User(payloads.SERVICE_UID)), "group": judged.group}
    return events.ModerationEvent(
        action=parsed.kind,
        message=judged,
        by_moderator=moderation["by_moderator"],
        outcome=moderation["outcome"] or _MODERATION_OUTCOMES.get(parsed.kind, ""),
        rules=tuple(moderation.get("moderation", ())),
        content_type=moderation["contentType"],
        failures=tuple(moderation.get("failures", ())),
        sent_at=float(moderation["completedAt"] or message["updatedAt"] or message["sentAt"]),
        **common,
    )


def _make_agent_message(parsed: ParsedPayload, context: _EventContext) -> events.AgentMessageEvent:
    message, data = parsed.message, reports.read_agent_data(parsed.message["data"])
    reported = raw_payloads.find_message(context.raw["data"])
    return events.AgentMessageEvent(
        id=message["id"],
        type=message["type"],
        text=data.get("text", ""),
        run_id=data["runId"],
        thread_id=data["threadId"],
        tool_calls=tuple(data.get("toolCalls", ())),
        tool_call_id=data["toolCallId"],
        data=reported.get("data", {}) if isinstance(reported, dict) and message["data"] else {},
        **context.common_fields(message),
    )


def _make_report(report: Report, context: _EventContext) -> Event:
    common = context.fields_for(report.sender or User(payloads.SERVICE_UID))
    return report.event_class(**report.values, sent_at=float(report.sent_at), **common)


def _make_unknown(parsed: ParsedPayload, context: _EventContext) -> events.UnknownEvent:
    if parsed.subject == "group":
        sender = payloads.find_membership_sender(parsed.extra)
        return events.UnknownEvent(kind=parsed.kind, **{**context.fields_for(sender), "group": parsed.extra["group"]})
    if parsed.subject == "reaction":
        sender = parsed.extra["reactedBy"] or User(parsed.extra["uid"] or payloads.SERVICE_UID)
        return events.UnknownEvent(
            kind=parsed.kind, sent_at=float(parsed.extra["reactedAt"]), **context.fields_for(sender)
        )
    return events.UnknownEvent(kind=parsed.kind, **context.common_fields(parsed.message))


def _find_sender_and_group(message: Mapping[str, Any], by: str) -> tuple[User, Group | None]:
    uid = by or message["sender"] or payloads.SERVICE_UID
    known = (schemas.find_user(find_entity(message, name)) for name in ("sender", "by", "on"))
    sender = next((user for user in known if user and user.uid.lower() == uid.lower()), User(uid))
    if message["receiverType"] != "group":
        return sender, None
    groups = (schemas.find_group(find_entity(message, name)) for name in ("receiver", "for"))
    return sender, next((group for group in groups if group), Group(message["receiver"]))


def _with_scope(sender: User, group: Group | None) -> User:
    """Return the sender with the scope, as far as it is certain: a group names its owner.

    ``scope`` of a group is that of the acting user, who is not always the sender, so handlers ask for it.
    """
    is_owner = group is not None and group.owner != "" and group.owner.lower() == sender.uid.lower()
    return replace(sender, scope="owner") if is_owner else sender


def _attachments(data: Mapping[str, Any], message_id: str) -> tuple[Attachment, ...]:
    url = data.get("url", "")
    attachments = data.get("attachments", ()) or ((Attachment(url),) if url else ())
    return tuple(replace(item, message_id=message_id) for item in attachments)


def _quote(message: Mapping[str, Any]) -> Quote | None:
    whole = message.get("quotedMessage") or message["data"].get("quotedMessage") or {}
    named = message["quotedMessageId"] or message["data"].get("quotedMessageId")
    quoted_id = named or find_id(whole.get("id"))
    if not quoted_id:
        return None
    inner = whole.get("data")
    text = inner.get("text") if isinstance(inner, dict) else whole.get("text")
    return Quote(id=quoted_id, text=_as_text(text), sender=_as_text(whole.get("sender")), raw=whole)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else ""
