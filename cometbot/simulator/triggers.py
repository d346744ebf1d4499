"""The triggers of CometChat's app webhooks: docs/protocols/cometchat.md, "App webhooks"."""

from __future__ import annotations

MESSAGE_TRIGGERS = (
    "message_sent", "message_edited", "message_deleted", "message_reaction_added", "message_reaction_removed",
    "user_mentioned",
)  # fmt: skip
RECEIPT_TRIGGERS = ("message_delivery_receipt", "message_read_receipt")
USER_TRIGGERS = ("user_blocked", "user_unblocked", "user_connection_status_changed")
GROUP_TRIGGERS = (
    "group_created", "group_updated", "group_deleted", "group_member_added", "group_member_joined",
    "group_member_left", "group_member_kicked", "group_member_banned", "group_member_unbanned",
    "group_member_scope_changed", "group_owner_transferred",
)  # fmt: skip
CALL_TRIGGERS = (
    "call_initiated", "call_started", "call_participant_joined", "call_participant_left", "call_ended",
    "call_busy", "call_cancelled", "call_rejected", "call_unanswered",
    "meeting_started", "meeting_participant_joined", "meeting_participant_left", "meeting_ended",
    "recording_generated", "transcription_generated",
)  # fmt: skip
MODERATION_TRIGGERS = (
    "moderation_engine_approved", "moderation_engine_blocked", "moderation_engine_failed",
    "moderation_manual_approved",
)  # fmt: skip
CAMPAIGN_TRIGGERS = (
    "after_campaign_completed", "after_campaign_failed", "after_notification_created", "after_feed_item_sent",
    "after_feed_item_delivered", "after_feed_item_read", "after_feed_item_interacted",
    "after_push_notification_sent", "after_push_notification_delivered", "after_push_notification_clicked",
)  # fmt: skip
TRIGGERS = (
    *MESSAGE_TRIGGERS,
    *RECEIPT_TRIGGERS,
    *USER_TRIGGERS,
    *GROUP_TRIGGERS,
    *CALL_TRIGGERS,
    *MODERATION_TRIGGERS,
    *CAMPAIGN_TRIGGERS,
)
"""All triggers. Those of calls and campaigns are sent by ``simulator.report`` alone."""


def session_kind(trigger: str) -> str:
    """Return the ``type`` that CometChat puts beside the data of a call or meeting, empty for other triggers."""
    if trigger.startswith("call_") and trigger != "call_initiated":
        return "call"
    return "meet" if trigger.startswith("meeting_") else ""
