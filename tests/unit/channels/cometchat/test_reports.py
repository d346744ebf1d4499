"""What the webhooks without a message say, and what is read from incomplete ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cometbot.channels.cometchat import payloads
from cometbot.channels.cometchat.reports import find_app_kind, read_report
from cometbot.events import CampaignEvent, ModerationEvent, PresenceEvent, ReceiptEvent, UnknownEvent

Make = Callable[..., dict[str, Any]]
Parse = Callable[..., Any]
ReadNotification = Callable[[dict[str, Any]], payloads.Notification | None]

RECEIPT = {
    "receiver": "helpdesk-bot",
    "receiverType": "user",
    "sender": "maria-k",
    "messageSender": "helpdesk-bot",
    "body": {"action": "read", "messageId": "57", "user": {"uid": "maria-k", "name": "Maria"}, "timestamp": 1696934950},
}
PRESENCE = {"timestamp": 1696935103114, "user": {"uid": "maria-k"}, "status": "online"}


def test_receipt_names_reader_and_author(parse: Parse, read_notification: ReadNotification, webhook_of: Make) -> None:
    payload = webhook_of("message_read_receipt", **RECEIPT)
    event, notification = parse(payload), read_notification(payload)
    assert isinstance(event, ReceiptEvent)
    assert (event.sender.name, event.author, event.message_id, event.action) == ("Maria", "helpdesk-bot", "57", "read")
    assert notification is not None
    assert notification.key == "receipt:57:maria-k:read:1696934950"
    assert (notification.conversation_id, notification.app_kind) == ("helpdesk-bot_user_maria-k", "")
    assert notification.is_direct_with("Helpdesk-Bot")
    assert notification.target("helpdesk-bot") == "maria-k"


def test_group_receipt_of_all_has_no_reader(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make
) -> None:
    body = {"action": "readByAll", "messageId": "57", "timestamp": 5}
    data = {"receiver": "Ops", "receiverType": "group", "messageSender": "helpdesk-bot", "body": body}
    payload = webhook_of("message_read_by_all", **data)
    event, notification = parse(payload), read_notification(payload)
    assert (type(event), event.action, event.sender.uid) == (ReceiptEvent, "read_by_all", payloads.SERVICE_UID)
    assert notification is not None
    assert (notification.conversation_id, notification.is_group) == ("group_ops", True)


@pytest.mark.parametrize("missing", ["receiver", "sender", "action", "messageId"])
def test_incomplete_receipt_is_no_receipt(missing: str) -> None:
    data: dict[str, Any] = {**RECEIPT, "body": {**RECEIPT["body"]}}  # type: ignore[dict-item]
    (data if missing in data else data["body"]).pop(missing)
    data["body"].pop("user")
    assert read_report("message_read_receipt", data) is None


@pytest.mark.parametrize("changes", [{"user": None}, {"user": {}}, {"status": None}, {"status": 5}])
def test_incomplete_presence_is_unknown(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, changes: dict[str, Any]
) -> None:
    payload = webhook_of("user_connection_status_changed", **{**PRESENCE, **changes})
    notification = read_notification(payload)
    assert notification is not None
    assert (notification.event, notification.app_kind) == (UnknownEvent, "presence")
    event = parse(payload)
    assert (type(event), event.kind) == (UnknownEvent, "user_connection_status_changed")


@pytest.mark.parametrize(("value", "has_changed"), [(True, True), (False, False), ("false", False), (None, True)])
def test_presence_says_if_the_status_changed(parse: Parse, webhook_of: Make, value: Any, has_changed: bool) -> None:
    event = parse(webhook_of("user_connection_status_changed", **PRESENCE, userPresenceChanged=value))
    assert isinstance(event, PresenceEvent)
    assert event.has_changed is has_changed


def test_blocks_without_uids_get_them_from_keys(parse: Parse, webhook_of: Make) -> None:
    event = parse(webhook_of("user_blocked", users={"tom": {}, "ann": {"uid": "ann"}, "x": 5}, by={"uid": "maria-k"}))
    assert [user.uid for user in event.users] == ["tom", "ann"]
    assert event.sender.uid == "maria-k"


def test_moderation_counts_for_each_edit(
    read_notification: ReadNotification, webhook_of: Make, message_of: Make
) -> None:
    keys = [
        getattr(read_notification(webhook_of("moderation_engine_blocked", message=message)), "key", "")
        for message in (message_of(), message_of(editedAt=5), message_of(editedAt=6))
    ]
    assert keys == [f"moderation_engine_blocked:90430{edit}" for edit in ("", ":5", ":6")]


def test_each_kind_of_content_fails_by_itself(
    read_notification: ReadNotification, webhook_of: Make, message_of: Make
) -> None:
    reports = [
        webhook_of("moderation_engine_failed", resource=message_of(), contentType=kind, failures=[])
        for kind in ("text", "image")
    ]
    keys = [getattr(read_notification(report), "key", "") for report in reports]
    assert keys == ["moderation_engine_failed:90430:text", "moderation_engine_failed:90430:image"]


def test_moderation_of_own_message_is_not_its_own_event(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, message_of: Make
) -> None:
    own = message_of(sender="helpdesk-bot", receiver="maria-k", data={"entities": {}})
    payload = webhook_of("moderation_engine_blocked", message=own)
    notification, event = read_notification(payload), parse(payload)
    assert notification is not None
    assert notification.sender == event.sender.uid == payloads.SERVICE_UID
    assert isinstance(event, ModerationEvent)
    assert event.message.sender.uid == "helpdesk-bot"


@pytest.mark.parametrize(
    "failures", [None, 5, [5, {}, {"category": 5}], [{"category": "timeout", "context": 5, "httpStatus": "x"}]]
)
def test_odd_failures_are_omitted(parse: Parse, webhook_of: Make, message_of: Make, failures: Any) -> None:
    event = parse(webhook_of("moderation_engine_failed", resource=message_of(), failures=failures))
    assert isinstance(event, ModerationEvent)
    assert [failure.category for failure in event.failures] in ([], ["timeout"])


def test_campaign_without_id_is_unknown(parse: Parse, webhook_of: Make) -> None:
    assert parse(webhook_of("after_push_notification_sent", receiver="tom")).kind == "after_push_notification_sent"
    event = parse(webhook_of("after_push_notification_dismissed", pushNotificationId="p", receiver="tom"))
    assert isinstance(event, CampaignEvent)
    assert (event.subject, event.action, event.sent_at) == ("push_notification", "dismissed", 0)


@pytest.mark.parametrize(
    ("trigger", "kind"),
    [
        ("user_blocked", "blocks"),
        ("group_created", "groups"),
        ("group_member_added", ""),
        ("group_owner_transferred", ""),
        ("call_started", "calls"),
        ("meeting_ended", "meetings"),
        ("recording_generated", "recordings"),
        ("moderation_engine_failed", "moderation"),
        ("after_feed_item_read", "campaigns"),
        ("message_sent", ""),
        ("message_pinned", ""),
        ("after_message", ""),
        ("", ""),
        ("conversation_pinned", "conversation_pinned"),
    ],
)
def test_only_reports_about_the_app_have_a_kind(trigger: str, kind: str) -> None:
    assert find_app_kind(trigger) == kind
