"""Which event each payload becomes, and what is told of it before it is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from cometbot.channels.cometchat import parsing
from cometbot.errors import PayloadError
from cometbot.events import (
    CallEvent,
    DeleteEvent,
    EditEvent,
    MembershipEvent,
    MessageEvent,
    ReactionEvent,
    UnknownEvent,
)
from cometbot.models import Attachment, Mention

Make = Callable[..., dict[str, Any]]
Parse = Callable[..., Any]
Describe = Callable[[dict[str, Any]], parsing.Happening | None]


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


def test_the_sample_payload_is_described_by_its_sender_and_not_its_receiver(
    describe: Describe, sample: dict[str, Any]
) -> None:
    happening = describe(sample)
    assert happening is not None
    assert happening.key == "message:712"
    assert happening.conversation_id == "cometchat-uid-1_user_cometchat-uid-2"
    assert happening.target("demo_bot") == "cometchat-uid-1"
    assert happening.is_new_message


def test_a_group_message_in_a_thread_keeps_group_thread_and_mentions(
    parse: Parse, callback_of: Make, group_message_of: Make
) -> None:
    named = {"helpdesk-bot": {"uid": "helpdesk-bot", "name": "Helpdesk"}}
    event = parse(callback_of(group_message_of(parentId=90480, data={"mentions": named})))
    assert event.thread_id == "90480"
    assert (event.group.guid, event.group.name, event.group.members_count) == ("ops-room", "Ops", 9)
    assert event.mentions == (Mention("helpdesk-bot", "Helpdesk"),)


def test_mentions_are_read_from_the_text_where_the_platform_resolved_none(
    parse: Parse, callback_of: Make, group_message_of: Make
) -> None:
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
def test_webhooks_report_a_message_under_the_same_key_as_the_callback(
    parse: Parse, describe: Describe, webhook_of: Make, group_message_of: Make, trigger: str
) -> None:
    payload = webhook_of(trigger, message=group_message_of())
    happening = describe(payload)
    assert happening is not None
    assert happening.key == "message:90502"
    assert happening.mentioned == {"helpdesk-bot"}
    assert parse(payload).text == "<@uid:helpdesk-bot> who is on call?"


def test_an_edit_in_the_flat_shape_is_the_message_as_it_is_now(
    parse: Parse, describe: Describe, webhook_of: Make, message_of: Make
) -> None:
    message = message_of(editedAt=1767225800, editedBy="maria-k", data={"text": "corrected"})
    payload = webhook_of("message_edited", message=message)
    happening, event = describe(payload), parse(payload)
    assert happening is not None
    assert (happening.key, happening.sender, happening.is_new_message) == ("edit:90430:1767225800", "maria-k", False)
    assert isinstance(event, EditEvent)
    assert (event.message.id, event.message.text, event.sent_at) == ("90430", "corrected", 1767225800)


def test_an_edit_in_the_action_shape_is_unwrapped(
    parse: Parse, describe: Describe, webhook_of: Make, action_of: Make, message_of: Make
) -> None:
    edited = message_of(editedAt=1767225800, editedBy="lead-1", data={"text": "corrected"})
    payload = webhook_of("message_edited", message=action_of("message", "edited", on=edited, by={"uid": "lead-1"}))
    happening, event = describe(payload), parse(payload)
    assert happening is not None
    assert (happening.key, happening.sender, happening.author) == ("edit:90430:1767225800", "lead-1", "maria-k")
    assert (event.message.id, event.message.text, event.sender.uid) == ("90430", "corrected", "lead-1")


def test_an_edit_comes_by_callback_too(
    parse: Parse, describe: Describe, callback_of: Make, action_of: Make, message_of: Make
) -> None:
    payload = callback_of(action_of("message", "edited", on=message_of(editedAt=5)))
    happening = describe(payload)
    assert happening is not None
    assert happening.key == "edit:90430:5"
    assert isinstance(parse(payload), EditEvent)


def test_an_edit_of_a_message_that_leaves_out_where_it_stands_takes_it_from_the_report(
    parse: Parse, webhook_of: Make, action_of: Make
) -> None:
    edited = {"id": "7", "category": "message", "type": "text", "data": {"text": "corrected"}}
    event = parse(webhook_of("message_edited", message=action_of("message", "edited", on=edited)))
    assert (event.message.id, event.message.sender.uid) == ("7", "maria-k")


@pytest.mark.parametrize("shape", ["flat", "action"])
def test_a_deletion_names_its_message(
    parse: Parse, describe: Describe, webhook_of: Make, action_of: Make, message_of: Make, shape: str
) -> None:
    deleted = message_of(deletedAt=1767225900, deletedBy="maria-k")
    message = deleted if shape == "flat" else action_of("message", "deleted", on=deleted)
    payload = webhook_of("message_deleted", message=message)
    happening, event = describe(payload), parse(payload)
    assert happening is not None
    assert happening.key == "delete:90430"
    assert isinstance(event, DeleteEvent)
    assert (event.message_id, event.sent_at, event.sender.uid) == ("90430", 1767225900, "maria-k")


def test_an_edit_without_its_message_is_refused_by_path(describe: Describe, webhook_of: Make, action_of: Make) -> None:
    with pytest.raises(PayloadError) as caught:
        describe(webhook_of("message_edited", message=action_of("message", "edited", on={})))
    assert "data.message.data.entities.on.entity.id" in caught.value.details
    with pytest.raises(PayloadError):
        describe(webhook_of("message_edited"))


def test_an_edited_report_is_refused_before_it_is_stored(
    describe: Describe, webhook_of: Make, message_of: Make
) -> None:
    with pytest.raises(PayloadError, match="somebody wrote"):
        describe(webhook_of("message_edited", message=message_of(category="call", type="audio")))


@pytest.mark.parametrize(("trigger", "added"), [("message_reaction_added", True), ("message_reaction_removed", False)])
def test_a_reaction_names_message_emoji_and_user(
    parse: Parse, describe: Describe, webhook_of: Make, trigger: str, added: bool
) -> None:
    reaction = {
        "id": "311", "messageId": "90431", "reaction": "👍", "uid": "maria-k", "reactedAt": 1767226100,
        "reactedBy": {"uid": "maria-k", "name": "Maria K"},
    }  # fmt: skip
    payload = webhook_of(trigger, reaction=reaction)
    happening, event = describe(payload), parse(payload)
    word = "added" if added else "removed"
    assert happening == parsing.Happening(f"reaction:90431:maria-k:👍:{word}:1767226100", "maria-k", message_id="90431")
    assert isinstance(event, ReactionEvent)
    assert (event.message_id, event.reaction, event.added, event.sender.name) == ("90431", "👍", added, "Maria K")
    assert event.sent_at == 1767226100


def test_a_reaction_without_a_time_or_user_snapshot_is_taken(
    parse: Parse, describe: Describe, webhook_of: Make
) -> None:
    payload = webhook_of("message_reaction_added", reaction={"messageId": 9, "reaction": "x", "uid": "Tom"})
    happening = describe(payload)
    assert happening is not None
    assert happening.key == "reaction:9:tom:x:added"
    assert parse(payload).sender.uid == "Tom"


@pytest.mark.parametrize(("trigger", "action"), sorted(parsing.MEMBERSHIP.items()))
def test_each_membership_webhook_is_a_membership_event(
    parse: Parse, describe: Describe, webhook_of: Make, trigger: str, action: str
) -> None:
    members = {"tom": {"uid": "tom", "name": "Tom"}, "ann": {"name": "Ann"}}
    by = {"uid": "lead-1", "name": "Lead"}
    payload = webhook_of(trigger, group={"guid": "Ops-Room", "name": "Ops"}, members=members, by=by)
    happening, event = describe(payload), parse(payload)
    assert happening is not None
    assert happening.key.startswith(f"member:ops-room:{action}:ann,tom:")
    assert (happening.conversation_id, happening.is_group, happening.members) == (
        "group_ops-room",
        True,
        {"ann", "tom"},
    )
    assert isinstance(event, MembershipEvent)
    assert (event.action, event.sender.uid, [user.uid for user in event.members]) == (action, "lead-1", ["tom", "ann"])
    assert event.group is not None
    assert event.group.guid == "Ops-Room"


def test_the_same_membership_report_has_the_same_key_and_another_body_another(
    describe: Describe, webhook_of: Make
) -> None:
    first = webhook_of("group_member_joined", group={"guid": "ops"}, members={"tom": {"joinedAt": 1}})
    again = webhook_of("group_member_joined", group={"guid": "ops"}, members={"tom": {"joinedAt": 2}})
    keys = [happening.key for happening in (describe(first), describe(first), describe(again)) if happening]
    assert keys[0] == keys[1] != keys[2]


def test_who_joins_alone_is_the_sender(parse: Parse, webhook_of: Make) -> None:
    event = parse(webhook_of("group_member_joined", group={"guid": "ops"}, members={"tom": {"uid": "tom"}}))
    assert event.sender.uid == "tom"


def test_a_scope_change_says_from_what_to_what(parse: Parse, webhook_of: Make) -> None:
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
    parse: Parse, describe: Describe, callback_of: Make, action_of: Make, spelled: str, action: str
) -> None:
    extras = {"extras": {"scope": {"new": "admin", "old": "participant"}}}
    payload = callback_of(action_of("groupMember", spelled, on={"uid": "Tom"}, by={"uid": "lead-1"}, data=extras))
    happening, event = describe(payload), parse(payload)
    assert happening is not None
    assert (happening.key, happening.sender) == (f"member:ops-room:{action}:tom:90600", "lead-1")
    assert isinstance(event, MembershipEvent)
    assert (event.action, event.members[0].uid, event.sender.uid) == (action, "Tom", "lead-1")
    assert (event.scope, event.old_scope) == ("admin", "participant")


@pytest.mark.parametrize(
    ("spelled", "action"),
    [("initiated", "initiated"), ("canceled", "cancelled"), ("cancelled", "cancelled"), ("started", "ongoing")],
)
def test_a_call_message_is_a_call_event(
    parse: Parse, describe: Describe, callback_of: Make, action_of: Make, spelled: str, action: str
) -> None:
    message = action_of("call", spelled, on={"sessionid": "s-1"}) | {"category": "call", "type": "video"}
    happening, event = describe(callback_of(message)), parse(callback_of(message))
    assert happening is not None
    assert happening.key == f"call:s-1:{action}"
    assert isinstance(event, CallEvent)
    assert (event.id, event.action, event.type, event.session_id) == ("90600", action, "video", "s-1")


def test_a_call_webhook_holds_its_message_in_call(
    parse: Parse, describe: Describe, webhook_of: Make, action_of: Make
) -> None:
    message = action_of("call", "initiated", on={}) | {"category": "call", "type": "audio"}
    payload = webhook_of("call_initiated", call=message)
    happening = describe(payload)
    assert happening is not None
    assert happening.conversation_id == "group_ops-room"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [({"category": "agentic"}, "agentic"), ({"category": "action", "type": "poll"}, "action/poll")],
)
def test_an_unknown_category_is_an_unknown_event_with_everything_in_raw(
    parse: Parse, describe: Describe, callback_of: Make, message_of: Make, changes: dict[str, Any], kind: str
) -> None:
    payload = callback_of(message_of(**changes))
    event = parse(payload)
    assert isinstance(event, UnknownEvent)
    assert (event.kind, event.sender.uid, event.raw) == (kind, "maria-k", payload)
    assert describe(payload) is not None


def test_an_unknown_trigger_with_a_message_is_an_unknown_event(
    parse: Parse, describe: Describe, callback_of: Make, webhook_of: Make, message_of: Make
) -> None:
    for payload in (callback_of(trigger="after_wave"), webhook_of("after_wave", message=message_of())):
        happening = describe(payload)
        assert happening is not None
        assert happening.key.startswith("after_wave:")
        assert not happening.is_new_message
        assert parse(payload) == UnknownEvent(
            key="some:key", conversation=parse(payload).conversation, sender=parse(payload).sender,
            sent_at=1767225690, kind="after_wave",
        )  # fmt: skip


def test_a_moderation_report_is_not_taken_for_its_message(
    describe: Describe, webhook_of: Make, message_of: Make
) -> None:
    happening = describe(webhook_of("moderation_engine_approved", message=message_of(), moderation=[]))
    assert happening is not None
    assert happening.key == "moderation_engine_approved:90430"


@pytest.mark.parametrize(
    "data", [{}, {"message": "hi"}, {"sessionId": "s"}, {"body": {"action": "read", "messageId": "1"}}]
)
def test_what_concerns_no_conversation_is_described_as_nothing(describe: Describe, webhook_of: Make, data: Any) -> None:
    assert describe(webhook_of("message_read_receipt", **data)) is None


def test_the_other_side_is_found_from_either_sides_message(
    message_of: Make, describe: Describe, callback_of: Make
) -> None:
    from_maria = describe(callback_of())
    from_bot = describe(callback_of(message_of(sender="Helpdesk-Bot", receiver="Maria-K")))
    assert from_maria is not None
    assert from_bot is not None
    assert from_maria.target("helpdesk-bot") == from_bot.target("helpdesk-bot") == "maria-k"
    assert from_bot.is_direct_with("HELPDESK-BOT")
    assert not from_bot.is_direct_with("tom")


@pytest.mark.parametrize(
    "body",
    [b"", b"   ", b"hi", b"[]", b'"text"', b"{", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e999}', b'{"a":"\\ud800"}',
     b'{"a":"\xff"}', b'{"a":"\x00"}', b"\xef\xbb\xbf{}", b'{"a":' * 5000 + b"1" + b"}" * 5000, b"null", b"{}{}"],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        parsing.read_json(body)


def test_a_duplicate_key_is_found_in_whatever_object_and_spelling() -> None:
    names = frozenset({"bot", "id"})
    assert parsing.find_duplicate_key(b'{"bot":"a","bot":"b"}', names) == "bot"
    assert parsing.find_duplicate_key(b'{"data":{"id":1,"\\u0069d":2}}', names) == "id"
    assert parsing.find_duplicate_key(b'{"bot":"a","data":{"bot":"b"},"x":1,"x":2}', names) == ""


def test_the_search_for_duplicates_survives_what_only_the_other_reader_can_read() -> None:
    deep = b'{"a":' * 1000 + b"1" + b"}" * 1000
    assert parsing.find_duplicate_key(deep, frozenset({"a"})) == ""
    huge = orjson.dumps({"a": 1}).replace(b"1", b"1" * 5000)
    assert parsing.find_duplicate_key(huge, frozenset({"a"})) == ""
