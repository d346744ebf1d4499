"""Reads the app webhooks that report no message: receipts, presence, blocks, sessions of calls, campaigns. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cometbot import events
from cometbot.channels.cometchat import report_schemas, schemas
from cometbot.events import Event
from cometbot.models import User

MODERATION_ACTIONS = {
    "moderation_engine_approved": "approved",
    "moderation_engine_blocked": "blocked",
    "moderation_engine_failed": "failed",
    "moderation_manual_approved": "approved",
}
MANUAL_MODERATION_TRIGGER = "moderation_manual_approved"
GROUP_ACTIONS = {"group_created": "created", "group_updated": "updated", "group_deleted": "deleted"}
SESSION_FILE_TRIGGERS: dict[str, type[Event]] = {
    "recording_generated": events.RecordingEvent,
    "transcription_generated": events.TranscriptionEvent,
}
_PRESENCE_TRIGGERS = frozenset(
    {"user_connection_status_changed", "after_connection_status_changed", "user_connection_status_change"}
)
_BLOCK_TRIGGERS = {"user_blocked": True, "user_unblocked": False}
_RECEIPT_TRIGGERS = frozenset(
    {"message_delivery_receipt", "message_read_receipt", "message_delivered_to_all", "message_read_by_all"}
)
_RECEIPT_ACTIONS = {
    "delivered": "delivered",
    "read": "read",
    "deliveredToAll": "delivered_to_all",
    "readByAll": "read_by_all",
}
_CAMPAIGN_TRIGGER = re.compile(r"after_(campaign|notification|feed_item|push_notification)_([a-z_]{1,60})")
_CAMPAIGN_ID_FIELDS = {
    "campaign": "campaignId",
    "notification": "notificationId",
    "feed_item": "id",
    "push_notification": "pushNotificationId",
}
_CAMPAIGN_TIME_FIELDS = {
    "completed": "completedAt",
    "failed": "completedAt",
    "created": "createdAt",
    "sent": "sentAt",
    "delivered": "deliveredAt",
    "read": "readAt",
    "interacted": "interactedAt",
    "clicked": "clickedAt",
}
_APP_KINDS = {
    **dict.fromkeys(MODERATION_ACTIONS, "moderation"),
    **dict.fromkeys(GROUP_ACTIONS, "groups"),
    **dict.fromkeys(_PRESENCE_TRIGGERS, "presence"),
    **dict.fromkeys(_BLOCK_TRIGGERS, "blocks"),
    "recording_generated": "recordings",
    "transcription_generated": "transcriptions",
}
_APP_KIND_PATTERNS = (
    (re.compile("call_[a-z_]+"), "calls"),
    (re.compile("meeting_[a-z_]+"), "meetings"),
    (_CAMPAIGN_TRIGGER, "campaigns"),
    (re.compile("(message|group_member|group_owner)_.*|user_mentioned|after_message|before_message|"), ""),
)


@dataclass(frozen=True, slots=True)
class Report:
    """The content of a report without a message: the class of its event and the fields that only this class has.

    ``sender`` is the user who caused it, None if that was the platform. ``key`` identifies it; it is empty if only the
    hash of the body does, and ``has_time`` is False if that may be the same for two events. ``conversation_id`` is
    empty if it concerns no conversation.
    """

    event_class: type[Event]
    values: Mapping[str, Any]
    sender: User | None = None
    sent_at: float = 0
    key: str = ""
    has_time: bool = True
    conversation_id: str = ""
    receiver: str = ""
    is_group: bool = False


def read_report(trigger: str, data: Mapping[str, Any]) -> Report | None:
    """Return the content of a receipt or of a report about users or campaigns.

    None for every other trigger, and if the content is incomplete.
    """
    if trigger in _RECEIPT_TRIGGERS:
        return _read_receipt(data)
    if trigger in _PRESENCE_TRIGGERS:
        return _read_presence(data)
    if trigger in _BLOCK_TRIGGERS:
        return _read_block(data, blocked=_BLOCK_TRIGGERS[trigger])
    campaign = _CAMPAIGN_TRIGGER.fullmatch(trigger)
    return _read_campaign(data, campaign[1], campaign[2]) if campaign is not None else None


def find_app_kind(trigger: str) -> str:
    """Return the kind of the app's conversation for the reports with this trigger.

    It is empty for triggers whose events belong to conversations of the bot alone; those that are not known have a kind
    of their own.
    """
    if trigger in _APP_KINDS:
        return _APP_KINDS[trigger]
    return next((kind for pattern, kind in _APP_KIND_PATTERNS if pattern.fullmatch(trigger)), trigger)


def read_session(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the loaded report of the session of a call or meeting."""
    session = schemas.load(report_schemas.SESSION, data)
    named = [session["occupant"]] if "occupant" in session else session.get("all_occupants", ())
    return {**session, "participants": tuple(named)}


def read_moderation(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the loaded report of a moderation."""
    return schemas.load(report_schemas.MODERATION, data)


def read_agent_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the loaded content of an agent's message."""
    return schemas.load(report_schemas.AGENT_DATA, data)


def _read_receipt(data: Mapping[str, Any]) -> Report | None:
    receipt = schemas.load(report_schemas.RECEIPT, data)
    body = schemas.load(report_schemas.RECEIPT_BODY, receipt["body"])
    uid = receipt["sender"] or receipt["receiptSender"] or (body["user"].uid if body["user"] else "")
    receiver = receipt["receiver"] or receipt["receiptReceiver"]
    action = _RECEIPT_ACTIONS.get(body["action"] or receipt["receiptType"])
    message_id = body["messageId"] or receipt["messageId"]
    is_group = receipt["receiverType"] == "group"
    if not (uid or is_group) or not receiver or not action or not message_id:
        return None
    at = body["timestamp"] or receipt["readAt"] or receipt["deliveredAt"]
    sides = sorted((uid.lower(), receiver.lower()))
    return Report(
        events.ReceiptEvent,
        {"message_id": message_id, "action": action, "author": receipt["messageSender"]},
        sender=_find_user(body["user"], uid) if uid else None,
        sent_at=at,
        key=f"receipt:{message_id}:{uid.lower()}:{action}:{at}",
        conversation_id=f"group_{receiver.lower()}" if is_group else "_user_".join(sides),
        receiver=receiver,
        is_group=is_group,
    )


def _read_presence(data: Mapping[str, Any]) -> Report | None:
    presence = schemas.load(report_schemas.PRESENCE, data)
    connection = schemas.load(report_schemas.CONNECTION, presence["currentConnection"])
    event = schemas.load(report_schemas.CONNECTION, presence["event"])
    device = schemas.load(report_schemas.CONNECTION, event["event_for"])
    user: User | None = presence["user"]
    status = presence["status"] or (user.status if user is not None else "")
    if user is None or not status:
        return None
    values = {
        "status": status,
        "action": connection["action"] or event["type"],
        "platform": connection["platform"] or device["platform"],
        "has_changed": presence["userPresenceChanged"],
    }
    return Report(events.PresenceEvent, values, sender=user, sent_at=presence["timestamp"] or event["at"])


def _read_block(data: Mapping[str, Any], *, blocked: bool) -> Report | None:
    block = schemas.load(report_schemas.BLOCK, data)
    if not block["users"]:
        return None
    values = {"users": block["users"], "blocked": blocked}
    return Report(events.BlockEvent, values, sender=block["by"], has_time=False)


def _read_campaign(data: Mapping[str, Any], subject: str, action: str) -> Report | None:
    campaign = schemas.load(report_schemas.CAMPAIGN, data)
    subject_id = campaign[_CAMPAIGN_ID_FIELDS[subject]]
    if not subject_id:
        return None
    values = {
        "subject": subject,
        "action": action,
        "id": subject_id,
        "campaign_id": campaign["campaignId"],
        "data": data,
    }
    sender = User(campaign["receiver"]) if campaign["receiver"] else None
    sent_at = campaign.get(_CAMPAIGN_TIME_FIELDS.get(action, ""), 0)
    return Report(events.CampaignEvent, values, sender=sender, sent_at=sent_at)


def _find_user(user: User | None, uid: str) -> User:
    return user if user is not None and user.uid.lower() == uid.lower() else User(uid)
