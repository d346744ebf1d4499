"""Which event each payload becomes, and what is told of it before it is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cometbot.channels.cometchat import payloads
from cometbot.events import (
    CallEvent,
    DeleteEvent,
    EditEvent,
    GroupEvent,
    MembershipEvent,
    MessageEvent,
    ReactionEvent,
    RecordingEvent,
    UnknownEvent,
)
from cometbot.models import Attachment, Mention
from tests.unit.channels.cometchat.conftest import (
    GROUP,
    MARIA,
    make_action,
    make_callback,
    make_group_message,
    make_message,
    make_webhook,
)

Make = Callable[..., dict[str, Any]]
Parse = Callable[..., Any]
ReadNotification = Callable[[dict[str, Any]], payloads.Notification | None]


def test_the_sample_payload_becomes_its_message(parse: Parse, sample: dict[str, Any]) -> None:
    event = parse(sample, "message:712")
    assert isinstance(event, MessageEvent)
    assert (event.key, event.id, event.type, event.category, event.text) == (
        "message:712",
        "712",
        "text",
        "message",
        "hi",
    )
    assert (event.sender.uid, event.sender.name) == ("cometchat-uid-1", "Andrew Joseph")
    assert event.sender.avatar.startswith("https:__data-eu")
    assert event.sent_at == 1680125130
    assert event.group is None
    assert event.raw is sample


def test_sample_payload_notification_has_sender(read_notification: ReadNotification, sample: dict[str, Any]) -> None:
    notification = read_notification(sample)
    assert notification is not None
    assert notification.key == "message:712"
    assert notification.conversation_id == "cometchat-uid-1_user_cometchat-uid-2"
    assert notification.target("demo_bot") == "cometchat-uid-1"
    assert notification.is_new_message


def test_group_thread_message_has_all_fields(parse: Parse, callback_of: Make, group_message_of: Make) -> None:
    named = {"helpdesk-bot": {"uid": "helpdesk-bot", "name": "Helpdesk"}}
    event = parse(callback_of(group_message_of(parentId=90480, data={"mentions": named})))
    assert event.thread_id == "90480"
    assert (event.group.guid, event.group.name, event.group.members_count) == ("ops-room", "Ops", 9)
    assert event.mentions == (Mention("helpdesk-bot", "Helpdesk"),)


@pytest.mark.parametrize(("sender", "scope"), [("lead-1", "owner"), ("maria-k", "")])
def test_scope_of_a_sender_is_known_only_of_the_owner(
    parse: Parse, callback_of: Make, group_message_of: Make, sender: str, scope: str
) -> None:
    message = group_message_of(sender=sender)
    assert message["data"]["entities"]["receiver"]["entity"]["owner"] == "lead-1"
    assert parse(callback_of(message)).sender.scope == scope


def test_unresolved_mentions_are_read_from_text(parse: Parse, callback_of: Make, group_message_of: Make) -> None:
    event = parse(callback_of(group_message_of(data={"text": "<@uid:Tom> and <@uid:helpdesk-bot> <@uid:tom>"})))
    assert event.mentions == (Mention("Tom"), Mention("helpdesk-bot"))


@pytest.mark.parametrize("kind", ["image", "file", "audio", "video"])
def test_a_media_message_has_its_attachments_and_caption(
    parse: Parse, callback_of: Make, message_of: Make, kind: str
) -> None:
    files = [
        {"url": "https://x/a.png", "name": "a.png", "mimeType": "image/png", "extension": "png", "size": "48211"},
        {"url": "https://x/b.png"},
    ]
    event = parse(
        callback_of(message_of(type=kind, data={"attachments": files, "text": "look", "url": "https://x/a.png"}))
    )
    assert event.type == kind
    assert event.text == "look"
    assert event.attachments == (
        Attachment("https://x/a.png", "a.png", "image/png", "png", 48211),
        Attachment("https://x/b.png"),
    )


def test_a_media_message_with_only_a_url_has_that_attachment(parse: Parse, callback_of: Make, message_of: Make) -> None:
    message = message_of(type="image", data={"url": "https://x/a.png"})
    del message["data"]["text"]
    event = parse(callback_of(message))
    assert (event.attachments, event.text) == ((Attachment("https://x/a.png"),), "")


@pytest.mark.parametrize(
    ("category", "kind", "key"),
    [("custom", "location", "customData"), ("interactive", "form", "interactiveData"), ("card", "text", "card")],
)
def test_custom_interactive_and_card_messages_carry_their_data(
    parse: Parse, callback_of: Make, message_of: Make, category: str, kind: str, key: str
) -> None:
    event = parse(callback_of(message_of(category=category, type=kind, data={key: {"lat": 48.1}, "text": "preview"})))
    assert (event.category, event.type, event.data, event.text) == (category, kind, {"lat": 48.1}, "preview")


def test_tags_metadata_moderation_and_muid_are_kept(parse: Parse, callback_of: Make, message_of: Make) -> None:
    inner = {"metadata": {"@injected": {"extensions": {}}}, "moderation": {"status": "pending"}}
    event = parse(callback_of(message_of(tags=["vip"], data=inner)))
    assert event.tags == ("vip",)
    assert event.metadata == inner["metadata"]
    assert (event.moderation, event.muid) == ("pending", "_k2x81q")


def test_a_quote_is_read_from_either_place(parse: Parse, callback_of: Make, message_of: Make) -> None:
    quoted = {"id": 90400, "sender": "tom", "data": {"text": "before"}}
    outside = parse(callback_of(message_of(quotedMessageId="90400", quotedMessage=quoted)))
    inside = parse(callback_of(message_of(data={"quotedMessage": quoted})))
    for event in (outside, inside):
        assert (event.quote.id, event.quote.text, event.quote.sender) == ("90400", "before", "tom")
    assert parse(callback_of(message_of())).quote is None


@pytest.mark.parametrize("entities", [None, [], {}, {"sender": "maria-k"}, {"sender": {"entity": {"name": "M"}}}])
def test_a_message_without_usable_snapshots_still_has_its_sender(
    parse: Parse, callback_of: Make, message_of: Make, entities: Any
) -> None:
    event = parse(callback_of(message_of(data={"entities": entities})))
    assert (event.sender.uid, event.sender.name) == ("maria-k", "")


def test_a_group_message_without_a_snapshot_still_has_its_group(
    parse: Parse, callback_of: Make, group_message_of: Make
) -> None:
    assert parse(callback_of(group_message_of(data={"entities": {}}))).group.guid == "ops-room"


@pytest.mark.parametrize("trigger", ["message_sent", "user_mentioned", "after_message"])
def test_webhook_and_callback_messages_have_equal_keys(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, group_message_of: Make, trigger: str
) -> None:
    payload = webhook_of(trigger, message=group_message_of())
    notification = read_notification(payload)
    assert notification is not None
    assert notification.key == "message:90502"
    assert notification.mentioned == {"helpdesk-bot"}
    assert parse(payload).text == "<@uid:helpdesk-bot> who is on call?"


def test_an_edit_in_the_flat_shape_is_the_message_as_it_is_now(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, message_of: Make
) -> None:
    message = message_of(editedAt=1767225800, editedBy="maria-k", data={"text": "corrected"})
    payload = webhook_of("message_edited", message=message)
    notification, event = read_notification(payload), parse(payload)
    assert notification is not None
    assert (notification.key, notification.sender, notification.is_new_message) == (
        "edit:90430:1767225800",
        "maria-k",
        False,
    )
    assert isinstance(event, EditEvent)
    assert (event.message.id, event.message.text, event.sent_at) == ("90430", "corrected", 1767225800)


def test_an_edit_in_the_action_shape_is_unwrapped(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, action_of: Make, message_of: Make
) -> None:
    edited = message_of(editedAt=1767225800, editedBy="lead-1", data={"text": "corrected"})
    payload = webhook_of("message_edited", message=action_of("message", "edited", on=edited, by={"uid": "lead-1"}))
    notification, event = read_notification(payload), parse(payload)
    assert notification is not None
    assert (notification.key, notification.sender, notification.author) == (
        "edit:90430:1767225800",
        "lead-1",
        "maria-k",
    )
    assert (event.message.id, event.message.text, event.sender.uid) == ("90430", "corrected", "lead-1")


def test_an_edit_comes_by_callback_too(
    parse: Parse, read_notification: ReadNotification, callback_of: Make, action_of: Make, message_of: Make
) -> None:
    payload = callback_of(action_of("message", "edited", on=message_of(editedAt=5)))
    notification = read_notification(payload)
    assert notification is not None
    assert notification.key == "edit:90430:5"
    assert isinstance(parse(payload), EditEvent)


def test_edit_without_location_uses_outer_message(parse: Parse, webhook_of: Make, action_of: Make) -> None:
    edited = {"id": "7", "category": "message", "type": "text", "data": {"text": "corrected"}}
    event = parse(webhook_of("message_edited", message=action_of("message", "edited", on=edited)))
    assert (event.message.id, event.message.sender.uid) == ("7", "maria-k")


@pytest.mark.parametrize("shape", ["flat", "action"])
def test_a_deletion_names_its_message(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, action_of: Make, message_of: Make, shape: str
) -> None:
    deleted = message_of(deletedAt=1767225900, deletedBy="maria-k")
    message = deleted if shape == "flat" else action_of("message", "deleted", on=deleted)
    payload = webhook_of("message_deleted", message=message)
    notification, event = read_notification(payload), parse(payload)
    assert notification is not None
    assert notification.key == "delete:90430"
    assert isinstance(event, DeleteEvent)
    assert (event.message_id, event.sent_at, event.sender.uid) == ("90430", 1767225900, "maria-k")


def test_a_deletion_as_documented_has_ids_alone(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, action_of: Make
) -> None:
    deleted = {"id": "44", "conversationId": "group_ops-room", "deletedAt": 1767225900, "deletedBy": "lead-1"}
    payload = webhook_of("message_deleted", message=action_of("message", "deleted", on=deleted))
    notification, event = read_notification(payload), parse(payload)
    assert notification is not None
    assert (notification.key, notification.sender, notification.event) == ("delete:44", "lead-1", DeleteEvent)
    assert (notification.conversation_id, notification.target("helpdesk-bot")) == ("group_ops-room", "ops-room")
    assert isinstance(event, DeleteEvent)
    assert (event.message_id, event.message, event.sender.uid, event.sent_at) == ("44", None, "lead-1", 1767225900)


def test_dashboard_deletion_has_one_to_one_conversation(
    read_notification: ReadNotification, callback_of: Make, action_of: Make
) -> None:
    where = {"conversationId": "helpdesk-bot_user_maria-k", "receiverType": "user", "receiver": "helpdesk-bot"}
    notification = read_notification(
        callback_of(action_of("message", "deleted", on={"id": "44"}, sender="app_system", **where))
    )
    assert notification is not None
    assert notification.target("helpdesk-bot") == "maria-k"
    assert notification.is_direct_with("helpdesk-bot")


@pytest.mark.parametrize("on", [{}, None, {"text": "new"}, {"id": "7", "category": "call", "type": "audio"}])
def test_an_edit_of_what_nobody_wrote_is_an_unknown_event(
    parse: Parse, read_notification: ReadNotification, callback_of: Make, webhook_of: Make, action_of: Make, on: Any
) -> None:
    report = action_of("message", "edited", on=on)
    for payload, kind in (
        (callback_of(report), "action/message"),
        (webhook_of("message_edited", message=report), "message_edited"),
    ):
        notification, event = read_notification(payload), parse(payload)
        assert notification is not None
        assert notification.event is UnknownEvent
        assert (type(event), event.kind) == (UnknownEvent, kind)


def test_edits_without_time_have_distinct_keys(
    read_notification: ReadNotification, webhook_of: Make, message_of: Make
) -> None:
    texts = ("one", "two", "two")
    said = [message_of(sentAt=None, updatedAt=None, data={"text": text}) for text in texts]
    found = [read_notification(webhook_of("message_edited", message=message)) for message in said]
    keys = [notification.key for notification in found if notification]
    assert keys[0] != keys[1] == keys[2]


def test_a_message_deleted_before_it_came_is_a_deletion(
    parse: Parse, read_notification: ReadNotification, callback_of: Make, message_of: Make
) -> None:
    payload = callback_of(message_of(data={"action": "deleted"}, deletedAt=169, deletedBy="maria-k"))
    notification, event = read_notification(payload), parse(payload)
    assert notification is not None
    assert (notification.key, notification.event) == ("delete:90430", DeleteEvent)
    assert isinstance(event, DeleteEvent)


@pytest.mark.parametrize("name", ["sender", "receiver", "receiverType", "conversationId", "category", "type"])
@pytest.mark.parametrize("value", [None, 1.5, [], ""])
def test_what_a_message_says_twice_may_be_wrong_once(
    parse: Parse,
    read_notification: ReadNotification,
    callback_of: Make,
    message_of: Make,
    group_message_of: Make,
    name: str,
    value: Any,
) -> None:
    for make in (message_of, group_message_of):
        usual, payload = read_notification(callback_of(make())), callback_of(make(**{name: value}))
        assert read_notification(payload) == usual
        assert parse(payload).text == make()["data"]["text"]
        del payload["data"][name]
        assert read_notification(payload) == usual


@pytest.mark.parametrize("name", ["sender", "receiver"])
def test_missing_user_is_read_from_conversation_id(
    parse: Parse, callback_of: Make, message_of: Make, name: str
) -> None:
    payload = callback_of(message_of(data={"entities": []}))
    del payload["data"][name]
    assert parse(payload).sender.uid == "maria-k"


def test_a_message_without_an_id_has_its_key_from_its_body(
    parse: Parse, read_notification: ReadNotification, callback_of: Make, message_of: Make
) -> None:
    payloads = [callback_of(message_of(id=None, data={"text": text})) for text in ("a", "b", "b")]
    keys = [notification.key for notification in map(read_notification, payloads) if notification]
    assert keys[0] != keys[1] == keys[2]
    assert (parse(payloads[0]).id, parse(payloads[0]).text) == ("", "a")


@pytest.mark.parametrize("text", [None, 5, [], {}])
def test_a_text_of_another_type_is_empty(parse: Parse, callback_of: Make, message_of: Make, text: Any) -> None:
    assert parse(callback_of(message_of(data={"text": text}))).text == ""


def test_fractional_seconds_are_preserved(parse: Parse, callback_of: Make, message_of: Make) -> None:
    assert parse(callback_of(message_of(sentAt=1696934912.5))).sent_at == 1696934912.5


@pytest.mark.parametrize("category", ["message", "custom", "action"])
def test_empty_data_of_php_is_read_as_empty(
    parse: Parse, read_notification: ReadNotification, callback_of: Make, message_of: Make, category: str
) -> None:
    payload = callback_of(message_of(category=category, type="x") | {"data": []})
    assert read_notification(payload) is not None
    assert parse(payload).sender.uid == "maria-k"


def test_unknown_receiver_type_uses_conversation_id(
    parse: Parse, read_notification: ReadNotification, callback_of: Make, message_of: Make
) -> None:
    payload = callback_of(message_of(receiverType="assistant"))
    assert isinstance(parse(payload), MessageEvent)
    elsewhere = callback_of(message_of(receiverType="channel", conversationId="channel_1", data={"entities": {}}))
    notification = read_notification(elsewhere)
    assert notification is not None
    assert notification.event is UnknownEvent
    assert isinstance(parse(elsewhere), UnknownEvent)


@pytest.mark.parametrize("trigger", ["after_message", "user_mentioned"])
def test_a_callback_may_wrap_its_message(parse: Parse, callback_of: Make, message_of: Make, trigger: str) -> None:
    event = parse(callback_of({"message": message_of()}, trigger=trigger))
    assert isinstance(event, MessageEvent)
    assert event.text == "status of ticket 4711?"


def test_a_message_that_holds_another_is_read_itself(parse: Parse, callback_of: Make, message_of: Make) -> None:
    assert parse(callback_of({**message_of(), "message": message_of(id="1")})).id == "90430"


@pytest.mark.parametrize(("trigger", "added"), [("message_reaction_added", True), ("message_reaction_removed", False)])
def test_a_reaction_names_message_emoji_and_user(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, trigger: str, added: bool
) -> None:
    reaction = {
        "id": "311", "messageId": "90431", "reaction": "👍", "uid": "maria-k", "reactedAt": 1767226100,
        "reactedBy": {"uid": "maria-k", "name": "Maria K"},
    }  # fmt: skip
    payload = webhook_of(trigger, reaction=reaction)
    notification, event = read_notification(payload), parse(payload)
    word = "added" if added else "removed"
    key = f"reaction:90431:maria-k:👍:{word}:1767226100"
    assert notification == payloads.Notification(key, "maria-k", ReactionEvent, message_id="90431")
    assert isinstance(event, ReactionEvent)
    assert (event.message_id, event.reaction, event.added, event.sender.name) == ("90431", "👍", added, "Maria K")
    assert event.sent_at == 1767226100


def test_reaction_without_time_or_user_is_accepted(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make
) -> None:
    payload = webhook_of("message_reaction_added", reaction={"messageId": 9, "reaction": "x", "uid": "Tom"})
    notification = read_notification(payload)
    assert notification is not None
    assert notification.key == "reaction:9:tom:x:added"
    assert parse(payload).sender.uid == "Tom"


def test_reaction_of_any_length_is_accepted(parse: Parse, webhook_of: Make) -> None:
    reaction = {"messageId": "5", "reaction": ":x" * 300, "uid": "maria-k"}
    assert parse(webhook_of("message_reaction_added", reaction=reaction)).reaction == ":x" * 300


@pytest.mark.parametrize("name", ["reaction", "uid"])
def test_a_reaction_that_lacks_something_is_an_unknown_event(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, name: str
) -> None:
    reaction = {"messageId": "5", "reaction": "x", "uid": "maria-k"} | {name: None}
    payload = webhook_of("message_reaction_added", reaction=reaction)
    notification, event = read_notification(payload), parse(payload)
    assert notification is not None
    assert (notification.event, notification.message_id) == (UnknownEvent, "5")
    assert (type(event), event.kind) == (UnknownEvent, "message_reaction_added")


def test_unknown_reaction_shape_is_an_unknown_event(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, message_of: Make
) -> None:
    payload = webhook_of("message_reaction_added", message=message_of(category="action", type="message"))
    notification = read_notification(payload)
    assert notification is not None
    assert notification.conversation_id == "helpdesk-bot_user_maria-k"
    assert parse(payload).kind == "message_reaction_added"


@pytest.mark.parametrize("trigger", ["group_created", "group_updated", "group_deleted"])
def test_group_change_is_a_group_event(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, trigger: str
) -> None:
    payload = webhook_of(trigger, group={"guid": "Ops", "updatedBy": "lead-1"}, members={"lead-1": {}, "tom": {}})
    notification, event = read_notification(payload), parse(payload)
    assert notification is not None
    assert (notification.conversation_id, notification.sender) == ("group_ops", "lead-1")
    assert notification.joined == ({"lead-1", "tom"} if trigger == "group_created" else set())
    assert f"group_{event.action}" == trigger
    assert (type(event), event.group.guid, event.sender.uid) == (GroupEvent, "Ops", "lead-1")


@pytest.mark.parametrize("data", [{"guid": "hiking", "uid": "a"}, {"guid": "hiking", "members": []}])
def test_a_membership_report_may_name_its_group_alone(parse: Parse, webhook_of: Make, data: dict[str, Any]) -> None:
    event = parse(webhook_of("group_member_left", **data))
    assert isinstance(event, MembershipEvent)
    assert (event.group.guid if event.group else "", event.action) == ("hiking", "left")


def test_a_membership_report_without_a_group_concerns_nobody(
    read_notification: ReadNotification, webhook_of: Make
) -> None:
    assert read_notification(webhook_of("group_member_left", members={"tom": {}})) is None


def test_a_scope_change_stands_with_its_member(parse: Parse, webhook_of: Make) -> None:
    members = {"tom": {"uid": "tom", "scope": "admin", "oldScope": "participant"}}
    event = parse(webhook_of("group_member_scope_changed", group={"guid": "ops"}, members=members))
    assert (event.scope, event.old_scope) == ("admin", "participant")


@pytest.mark.parametrize(("trigger", "action"), sorted(payloads.MEMBERSHIP_ACTIONS.items()))
def test_each_membership_webhook_is_a_membership_event(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, trigger: str, action: str
) -> None:
    members = {"tom": {"uid": "tom", "name": "Tom"}, "ann": {"name": "Ann"}}
    by = {"uid": "lead-1", "name": "Lead"}
    payload = webhook_of(trigger, group={"guid": "Ops-Room", "name": "Ops"}, members=members, by=by)
    notification, event = read_notification(payload), parse(payload)
    assert notification is not None
    assert notification.key.startswith(f"member:ops-room:{action}:ann,tom:")
    assert (notification.conversation_id, notification.is_group, notification.members) == (
        "group_ops-room",
        True,
        {"ann", "tom"},
    )
    assert isinstance(event, MembershipEvent)
    assert (event.action, event.sender.uid, [user.uid for user in event.members]) == (action, "lead-1", ["tom", "ann"])
    assert event.group is not None
    assert event.group.guid == "Ops-Room"


def test_membership_key_depends_on_body(read_notification: ReadNotification, webhook_of: Make) -> None:
    first = webhook_of("group_member_joined", group={"guid": "ops"}, members={"tom": {"joinedAt": 1}})
    again = webhook_of("group_member_joined", group={"guid": "ops"}, members={"tom": {"joinedAt": 2}})
    keys = [
        notification.key
        for notification in (read_notification(first), read_notification(first), read_notification(again))
        if notification
    ]
    assert keys[0] == keys[1] != keys[2]


def test_who_joins_alone_is_the_sender(parse: Parse, webhook_of: Make) -> None:
    event = parse(webhook_of("group_member_joined", group={"guid": "ops"}, members={"tom": {"uid": "tom"}}))
    assert event.sender.uid == "tom"


def test_scope_change_has_old_and_new_scope(parse: Parse, webhook_of: Make) -> None:
    data = {"group": {"guid": "ops"}, "members": {"tom": {}}, "scope": "admin", "oldScope": "participant"}
    event = parse(webhook_of("group_member_scope_changed", **data))
    assert (event.scope, event.old_scope) == ("admin", "participant")


def test_an_owner_hands_over_to_the_new_owner(parse: Parse, webhook_of: Make) -> None:
    event = parse(webhook_of("group_owner_transferred", group={"guid": "ops", "owner": "ann", "oldOwner": "tom"}))
    assert (event.sender.uid, [user.uid for user in event.members]) == ("tom", ["ann"])


@pytest.mark.parametrize(
    ("spelled", "action"), [("joined", "joined"), ("added", "added"), ("scopeChanged", "scope_changed")]
)
def test_a_group_member_action_message_is_a_membership_event(
    parse: Parse, read_notification: ReadNotification, callback_of: Make, action_of: Make, spelled: str, action: str
) -> None:
    extras = {"extras": {"scope": {"new": "admin", "old": "participant"}}}
    payload = callback_of(action_of("groupMember", spelled, on={"uid": "Tom"}, by={"uid": "lead-1"}, data=extras))
    notification, event = read_notification(payload), parse(payload)
    assert notification is not None
    assert (notification.key, notification.sender) == (f"member:ops-room:{action}:tom:90600", "lead-1")
    assert isinstance(event, MembershipEvent)
    assert (event.action, event.members[0].uid, event.sender.uid) == (action, "Tom", "lead-1")
    assert (event.scope, event.old_scope) == ("admin", "participant")


@pytest.mark.parametrize(
    ("spelled", "action"),
    [("initiated", "initiated"), ("canceled", "cancelled"), ("cancelled", "cancelled"), ("started", "ongoing")],
)
def test_a_call_message_is_a_call_event(
    parse: Parse, read_notification: ReadNotification, callback_of: Make, action_of: Make, spelled: str, action: str
) -> None:
    message = action_of("call", spelled, on={"sessionid": "s-1"}) | {"category": "call", "type": "video"}
    notification, event = read_notification(callback_of(message)), parse(callback_of(message))
    assert notification is not None
    assert notification.key == f"call:s-1:{action}"
    assert isinstance(event, CallEvent)
    assert (event.id, event.action, event.type, event.session_id) == ("90600", action, "video", "s-1")


def test_a_call_webhook_holds_its_message_in_call(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, action_of: Make
) -> None:
    message = action_of("call", "initiated", on={}) | {"category": "call", "type": "audio"}
    payload = webhook_of("call_initiated", call=message)
    notification = read_notification(payload)
    assert notification is not None
    assert (notification.conversation_id, notification.event) == ("group_ops-room", CallEvent)
    event = parse(payload)
    assert isinstance(event, CallEvent)
    assert (event.action, event.type) == ("initiated", "audio")


@pytest.mark.parametrize(
    ("trigger", "action"),
    [
        ("call_started", "ongoing"), ("call_ended", "ended"), ("call_rejected", "rejected"), ("call_busy", "busy"),
        ("call_participant_joined", "participant_joined"), ("meeting_ended", "ended"),
    ],
)  # fmt: skip
def test_call_webhook_is_found_by_session(
    parse: Parse, read_notification: ReadNotification, webhook_of: Make, trigger: str, action: str
) -> None:
    payload = webhook_of(trigger, sessionId="s-1", created_at=1696934572)
    notification, event = read_notification(payload), parse(payload)
    assert notification is not None
    assert (notification.conversation_id, notification.call_key) == ("", "call:s-1:initiated")
    assert isinstance(event, CallEvent)
    assert (event.action, event.session_id) == (action, "s-1")


def test_each_participant_of_a_call_is_an_event_of_its_own(
    read_notification: ReadNotification, webhook_of: Make
) -> None:
    payloads = [webhook_of("call_participant_joined", sessionId="s", occupant={"name": name}) for name in ("a", "b")]
    assert len({notification.key for notification in map(read_notification, payloads) if notification}) == 2


def test_a_recording_belongs_to_its_call(parse: Parse, read_notification: ReadNotification, webhook_of: Make) -> None:
    payload = webhook_of("recording_generated", sessionId="s-1", recording_url="https://files.example.org/r")
    notification = read_notification(payload)
    assert notification is not None
    assert notification.call_key == "call:s-1:initiated"
    event = parse(payload)
    assert (type(event), event.url, event.session_id) == (RecordingEvent, "https://files.example.org/r", "s-1")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"category": "wave"}, "wave"), ({"category": "action", "type": "poll"}, "action/poll")],
)
def test_unknown_category_is_an_unknown_event(
    parse: Parse,
    read_notification: ReadNotification,
    callback_of: Make,
    message_of: Make,
    changes: dict[str, Any],
    kind: str,
) -> None:
    payload = callback_of(message_of(**changes))
    event = parse(payload)
    assert isinstance(event, UnknownEvent)
    assert (event.kind, event.sender.uid, event.raw) == (kind, "maria-k", payload)
    assert read_notification(payload) is not None


def test_an_unknown_trigger_with_a_message_is_an_unknown_event(
    parse: Parse, read_notification: ReadNotification, callback_of: Make, webhook_of: Make, message_of: Make
) -> None:
    for payload in (callback_of(trigger="after_wave"), webhook_of("after_wave", message=message_of())):
        notification = read_notification(payload)
        assert notification is not None
        assert notification.key.startswith("after_wave:")
        assert not notification.is_new_message
        assert parse(payload) == UnknownEvent(
            key="some:key", conversation=parse(payload).conversation, sender=parse(payload).sender,
            sent_at=1767225690, kind="after_wave",
        )  # fmt: skip


def test_moderation_webhook_is_not_its_message(
    read_notification: ReadNotification, webhook_of: Make, message_of: Make
) -> None:
    notification = read_notification(webhook_of("moderation_engine_approved", message=message_of(), moderation=[]))
    assert notification is not None
    assert notification.key == "moderation_engine_approved:90430"


@pytest.mark.parametrize(
    "data", [{}, {"message": "hi"}, {"sessionId": "s"}, {"body": {"action": "read", "messageId": "1"}}]
)
def test_what_concerns_no_conversation_is_described_as_nothing(
    read_notification: ReadNotification, webhook_of: Make, data: Any
) -> None:
    assert read_notification(webhook_of("message_read_receipt", **data)) is None


def test_the_other_side_is_found_from_either_sides_message(
    message_of: Make, read_notification: ReadNotification, callback_of: Make
) -> None:
    from_maria = read_notification(callback_of())
    from_bot = read_notification(callback_of(message_of(sender="Helpdesk-Bot", receiver="Maria-K")))
    assert from_maria is not None
    assert from_bot is not None
    assert from_maria.target("helpdesk-bot") == from_bot.target("helpdesk-bot") == "maria-k"
    assert from_bot.is_direct_with("HELPDESK-BOT")
    assert not from_bot.is_direct_with("tom")


STAFF = {**MARIA, "role": "agent", "tags": ["vip", "berlin"], "metadata": {"floor": 2}, "status": "available"}
_SENDER = {"entities": {"sender": {"entityType": "user", "entity": STAFF}}}


@pytest.mark.parametrize(
    "payload",
    [
        make_callback(make_message(data=_SENDER)),
        make_callback(make_message(sender="MARIA-K", data=_SENDER)),
        make_callback(make_group_message(data=_SENDER)),
        make_callback(make_message(category="custom", type="location", data={"customData": {}, **_SENDER})),
        make_webhook("message_sent", message=make_message(data=_SENDER)),
        make_webhook("message_edited", message=make_message(editedAt=1, editedBy="maria-k", data=_SENDER)),
        make_webhook("message_edited", message=make_action("message", "edited", on=make_message(), by=STAFF)),
        make_webhook("message_deleted", message=make_action("message", "deleted", on=make_message(), by=STAFF)),
        make_webhook(
            "message_reaction_added",
            reaction={"messageId": "5", "reaction": "👍", "uid": "maria-k", "reactedAt": 1, "reactedBy": STAFF},
        ),
        make_webhook("group_member_joined", group=GROUP, members={"maria-k": STAFF}),
        make_webhook("group_member_kicked", group=GROUP, members={"tom": {"uid": "tom", "name": "Tom"}}, by=STAFF),
        make_callback(make_action("groupMember", "joined", on=STAFF, by=STAFF)),
        make_webhook("call_initiated", call=make_action("call", "initiated", on={}, by=STAFF) | {"category": "call"}),
        make_callback(make_message(category="agentic", data=_SENDER)),
    ],
)
def test_each_payload_describes_its_sender_with_role_tags_and_metadata(parse: Parse, payload: dict[str, Any]) -> None:
    sender = parse(payload).sender
    assert (sender.role, sender.tags, sender.metadata) == ("agent", ("vip", "berlin"), {"floor": 2})
    assert sender.raw == STAFF
