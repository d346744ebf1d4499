"""Payloads as CometChat documents them: bot callbacks, and app webhooks of every group of triggers."""

from __future__ import annotations

from typing import Any

from tests.webhook_samples import load_samples

APP = "2248348660ad9bd4"
BOT = "helpdesk"
GUID = "hiking"

Payload = dict[str, Any]

_ANN = {"uid": "ann", "name": "Ann", "avatar": "https://files.example.org/ann.webp", "status": "available"}
_TOM = {"uid": "tom", "name": "Tom", "role": "default", "lastActiveAt": 1696934440}
_GROUP = {
    "guid": GUID,
    "name": "Hiking",
    "type": "public",
    "scope": "participant",
    "membersCount": 3,
    "conversationId": f"group_{GUID}",
    "owner": "ann",
}


def _entity(kind: str, value: Payload) -> Payload:
    return {"entityType": kind, "entity": value}


_BRIEF_ANN, _BRIEF_TOM, _BRIEF_GROUP = {"uid": "ann", "name": "Ann"}, {"uid": "tom", "name": "Tom"}, {"guid": GUID}
_HERE = {"sender": _entity("user", _BRIEF_ANN), "receiver": _entity("group", _BRIEF_GROUP)}
_WHOLE = {"sender": _entity("user", _ANN), "receiver": _entity("group", _GROUP)}


def message(**changes: Any) -> Payload:
    """Return a message of Ann's in the group; ``data`` replaces all but the entities of its inner data."""
    data = {"text": f"<@uid:{BOT}> where to?"} if "data" not in changes else changes.pop("data")
    return {
        "id": "5010",
        "conversationId": f"group_{GUID}",
        "sender": "ann",
        "receiverType": "group",
        "receiver": GUID,
        "category": "message",
        "type": "text",
        "data": {**data, "entities": _HERE} if "entities" not in data else data,
        "sentAt": 1696934912,
        "updatedAt": 1696934912,
        **changes,
    }


def direct(**changes: Any) -> Payload:
    """Return a message of Ann's to the bot."""
    entities = {"sender": _entity("user", _BRIEF_ANN), "receiver": _entity("user", {"uid": BOT, "name": "Helpdesk"})}
    where = {"conversationId": f"ann_user_{BOT}", "receiverType": "user", "receiver": BOT}
    return message(**{"data": {"text": "hello", "entities": entities}, **where, **changes})


def action(kind: str, name: str, on: Payload, **changes: Any) -> Payload:
    """Return an action message of the group."""
    entities = {"by": _entity("user", _BRIEF_ANN), "on": _entity(kind, on), "for": _entity("group", _BRIEF_GROUP)}
    return message(category="action", type=kind, data={"action": name, "entities": entities}, **changes)


def callback(data: Payload) -> Payload:
    """Return the bot callback around a message."""
    return {
        "trigger": "after_message",
        "data": data,
        "appId": APP,
        "region": "eu",
        "chatAPIVersion": "3.0",
        "origin": {"platform": "web", "language": "reactjs", "resource": "chat-widget"},
        "bot": BOT,
    }


def webhook(trigger: str, **data: Any) -> Payload:
    """Return the app webhook that reports ``data``."""
    return {"trigger": trigger, "data": data, "appId": APP, "region": "eu", "webhook": "w1"}


_FILE = {
    "url": "https://files.example.org/a.png",
    "name": "a.png",
    "mimeType": "image/png",
    "extension": "png",
    "size": 48,
}
_RICH = {
    "text": "look",
    "url": _FILE["url"],
    "attachments": [_FILE],
    "mentions": {"tom": _TOM},
    "reactions": [{"reaction": "👍", "count": 1}],
    "metadata": {"@injected": {"extensions": {"link-preview": {"links": []}}}},
    "moderation": {"status": "approved"},
    "resource": "WEB-4_1_10-0f6c-1767225600000",
}
_EDITED = message(id="5011", data={"text": "to the lake"}, editedAt=1696934985, editedBy="ann")
_IDS = {"id": "5012", "conversationId": f"group_{GUID}", "deletedAt": 1696935005, "deletedBy": "ann"}
_CALL = {"sessionid": "v1.eu.1", "status": "initiated", "type": "audio", "initiatedAt": 1696934199}
_CALLED = action("call", "initiated", _CALL, id="52") | {"category": "call", "type": "audio"}
_MEMBERS = {"group": _GROUP, "members": {BOT: {"uid": BOT, "name": "Helpdesk"}, "tom": _TOM}, "by": _ANN}
_SCOPED = {
    "group": _BRIEF_GROUP,
    "members": {"tom": {"uid": "tom", "scope": "admin", "oldScope": "participant"}},
    "by": _BRIEF_ANN,
}
_REACTION = {
    "id": "311",
    "messageId": "5010",
    "reaction": "👍",
    "uid": "ann",
    "reactedAt": 1700655536,
    "reactedBy": _BRIEF_ANN,
}
_REPORTS = (
    "message_read_receipt", "user_connection_status_changed", "user_blocked", "recording_generated",
    "transcription_generated", "moderation_manual_approved", "moderation_engine_blocked",
)  # fmt: skip

CALLBACKS: dict[str, Payload] = {
    "direct text": callback(direct(muid="_9s0dk2")),
    "text in a thread": callback(
        message(
            data={"text": "hello", "entities": _WHOLE},
            parentId="5001",
            tags=["a"],
            quotedMessageId="5002",
            quotedMessage={"id": "5002", "data": {"text": "q"}},
        )
    ),
    "image": callback(message(type="image", data=_RICH)),
    "custom": callback(direct(category="custom", type="location", data={"customData": {"lat": 48.1}})),
    "interactive": callback(
        direct(category="interactive", type="form", data={"interactiveData": {"title": "t"}, "interactionGoal": {}})
    ),
    "card": callback(direct(category="card", data={"text": "preview", "card": {"version": "1.0"}})),
    "edited": callback(action("message", "edited", _EDITED)),
    "deleted": callback(action("message", "deleted", _IDS)),
    "joined": callback(action("groupMember", "joined", _BRIEF_TOM)),
    "call": callback(_CALLED),
    "agentic": callback(direct(category="agentic", type="assistant", data={"text": "x"})),
    "before_message": callback(direct()) | {"trigger": "before_message"},
}
WEBHOOKS: dict[str, Payload] = {
    "message_sent": webhook("message_sent", message=message()),
    "user_mentioned": webhook("user_mentioned", message=message(data={"text": "Hi", "mentions": {BOT: {"uid": BOT}}})),
    "message_edited": webhook("message_edited", message=_EDITED),
    "message_deleted": webhook("message_deleted", message=action("message", "deleted", _IDS)),
    "message_reaction_added": webhook("message_reaction_added", reaction=_REACTION),
    "message_reaction_removed": webhook("message_reaction_removed", reaction=_REACTION),
    "message_pinned": webhook("message_pinned", message=message(id="5013")),
    "group_created": webhook("group_created", group=_BRIEF_GROUP, members={"ann": _BRIEF_ANN}),
    "group_updated": webhook("group_updated", group=_GROUP | {"updatedBy": "ann"}),
    "group_owner_transferred": webhook("group_owner_transferred", group=_BRIEF_GROUP | {"oldOwner": "tom"}),
    "group_member_added": webhook("group_member_added", **_MEMBERS),
    "group_member_left": webhook("group_member_left", group=_BRIEF_GROUP, members={"tom": _BRIEF_TOM}),
    "group_member_scope_changed": webhook("group_member_scope_changed", **_SCOPED),
    "call_initiated": webhook("call_initiated", call=_CALLED),
    "call_ended": webhook("call_ended", sessionId="v1.eu.1", created_at=1, all_occupants=[{"name": "Ann"}])
    | {"type": "call"},
    "meeting_started": webhook("meeting_started", sessionId="v1.eu.2", created_at=1696934692) | {"type": "meet"},
    "recording without a URL": webhook("recording_generated", sessionId="v1.eu.1", duration="21.433000"),
    "moderation_engine_approved": webhook("moderation_engine_approved", message=direct(id="13"), moderation=[]),
    "moderation_engine_failed": webhook("moderation_engine_failed", resource={}, contentType="text", failures=[]),
    **{name: dict(load_samples()[name].payload) for name in _REPORTS},
    "after_campaign_completed": webhook("after_campaign_completed", campaign={"id": "c1", "sent": 3}),
}
