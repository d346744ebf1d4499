"""What a stored event of the CLI is to a handler."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cometbot.channels.simplex.ids import make_direct_conversation, make_group_conversation
from cometbot.channels.simplex.parsing import EventContext, parse, read_record
from cometbot.channels.simplex.protocol import Record
from cometbot.errors import PayloadError
from cometbot.events import (
    ContactEvent,
    DeleteEvent,
    EditEvent,
    Event,
    MembershipEvent,
    MessageEvent,
    ReactionEvent,
    UnknownEvent,
)
from cometbot.models import Attachment, Mention

from .event_factory import EventFactory

DIRECT_CONTEXT = EventContext(make_direct_conversation("default", "shop", "4"), "message:1", "shop")
GROUP_CONTEXT = EventContext(make_group_conversation("default", "shop", "31"), "message:1", "shop")


@pytest.fixture
def event_factory() -> EventFactory:
    event_factory = EventFactory()
    event_factory.perform("connect", name="alice")
    event_factory.perform("add_group", name="Team", members=["alice", "bob"])
    return event_factory


def message(event_factory: EventFactory, chat: str = "@4", **arguments: Any) -> MessageEvent:
    event_factory.perform("say", chat=chat, **arguments)
    event = parse(event_factory.latest("newChatItems"), DIRECT_CONTEXT if chat == "@4" else GROUP_CONTEXT)
    assert isinstance(event, MessageEvent)
    return event


def with_item(record: Record, **changes: Any) -> Record:
    """The record of a message with another item."""
    whole = record.raw["chatItems"][0]
    item = {**whole["chatItem"], **changes}
    return Record(record.type, {**record.raw, "chatItems": [{**whole, "chatItem": item}]})


def test_a_text_from_a_contact(event_factory: EventFactory) -> None:
    event = message(event_factory, text="hello")

    assert (event.type, event.category, event.text, event.id) == ("text", "message", "hello", "2001")
    assert (event.sender.uid, event.sender.name, event.group) == ("4", "alice", None)
    assert event.sent_at > 1_700_000_000
    assert event.metadata["shared_id"]
    assert event.raw["type"] == "newChatItems"


def test_text_from_member_with_and_without_contact(event_factory: EventFactory) -> None:
    alice, bob = (
        message(event_factory, "#31", name="alice", text="hi"),
        message(event_factory, "#31", name="bob", text="hi"),
    )

    assert alice.sender.uid == "4"
    assert bob.sender.uid == f"member-{bob.sender.metadata['member_id']}"
    assert alice.group is not None
    assert (alice.group.guid, alice.group.name, alice.sender.role) == ("31", "Team", "owner")


def test_a_mention_of_the_bot_is_spelled_with_the_bots_name(event_factory: EventFactory) -> None:
    event = message(event_factory, "#31", name="bob", text="status?", mention=True)

    assert event.text == "<@uid:shop> status?"
    assert event.mentions == (Mention("shop", "Echo bot"),)


@pytest.mark.parametrize(
    ("text", "formatted", "expected"),
    [
        ("ask @bob now", None, "ask <@uid:member-Ym9i> now"),
        ("ask @'bob', now", None, "ask <@uid:member-Ym9i>, now"),
        ("ask @bobby now", None, "ask @bobby now"),
        ("ask @bob now", [{"text": "ask "}, {"format": {"type": "mention", "memberName": "bob"}, "text": "@bob"},
                          {"text": " now"}], "ask <@uid:member-Ym9i> now"),
        ("ask @bob now", [{"text": "something else"}], "ask <@uid:member-Ym9i> now"),
        ("ask @bob now", [{"format": {"type": "mention", "memberName": "bob"}, "text": "ask @bob now"}],
         "ask <@uid:member-Ym9i> now"),
        ("ask @bob now", [{"format": {"type": "later"}, "text": "ask @bob now"}], "ask @bob now"),
        ("ask @bob now", [{"format": 5, "text": "ask @bob now"}], "ask @bob now"),
    ],
)  # fmt: skip
def test_mentions_of_others_are_spelled_with_their_uid(
    event_factory: EventFactory, text: str, formatted: Any, expected: str
) -> None:
    record = event_factory.emit("say", chat="#31", name="alice", text=text)
    mentions = {"bob": {"memberId": "Ym9i"}}
    event = parse(
        with_item(record, mentions=mentions, **({"formattedText": formatted} if formatted else {})), GROUP_CONTEXT
    )

    assert isinstance(event, MessageEvent)
    assert event.text == expected
    assert event.mentions == (Mention("member-Ym9i", "bob"),)


def test_quote_has_message_and_sender(event_factory: EventFactory) -> None:
    own = event_factory.state.add_item("@4", {"type": "directSnd"}, {"type": "text", "text": "All good"})["meta"][
        "itemId"
    ]
    event = message(event_factory, text="really?", quote_id=own)
    theirs = message(event_factory, text="I mean this", quote_id=int(event.id))

    assert event.quote is not None
    assert (event.quote.id, event.quote.text, event.quote.sender) == (str(own), "All good", "shop")
    assert theirs.quote is not None
    assert theirs.quote.sender == "4"


@pytest.mark.parametrize(
    ("name", "kind", "mime_type"),
    [("cat.JPG", "image", "image/jpeg"), ("v.mp4", "video", "video/mp4"), ("a.pdf", "file", "application/pdf"),
     ("what", "file", "")],
)  # fmt: skip
def test_a_file_comes_with_all_that_is_needed_to_fetch_it(
    event_factory: EventFactory, name: str, kind: str, mime_type: str
) -> None:
    event = message(event_factory, text="look", file_name=name, file_content="AAAA")
    extension = name.rpartition(".")[2].lower() if "." in name else ""

    assert (event.type, event.text) == (kind, "look")
    assert event.attachments == (
        Attachment(f"simplex-file:501?size=3&name={name}&chat=%404&item=2001", name, mime_type, extension, 3),
    )  # fmt: skip


def test_voice_message_is_audio_with_duration(event_factory: EventFactory) -> None:
    event = message(event_factory, text="", file_name="v.mp3", file_content="AAAA")

    assert (event.type, event.data["seconds"]) == ("audio", 5)


def test_the_preview_of_a_link_goes_along(event_factory: EventFactory) -> None:
    preview = {"uri": "https://example.org", "title": "Example", "description": "", "image": ""}
    event = message(event_factory, text="", content={"type": "link", "text": "https://example.org", "preview": preview})

    assert (event.type, event.data["preview"]) == ("text", preview)


@pytest.mark.parametrize(
    ("content", "kind", "text"),
    [
        ({"type": "poll", "text": "Tea?", "options": ["yes"]}, "poll", "Tea?"),
        ({"type": "poll"}, "poll", ""),
        ({"type": "unknown", "tag": "poll", "text": "Tea?", "json": {}}, "poll", "Tea?"),
        ({"type": "report", "text": "ads", "reason": "spam"}, "report", "ads"),
    ],
)
def test_unknown_content_types_are_passed_through(
    event_factory: EventFactory, content: dict[str, Any], kind: str, text: str
) -> None:
    record = event_factory.emit("say", chat="@4", text="x")
    whole = {"type": "rcvMsgContent", "msgContent": content}
    event = parse(with_item(record, content=whole), DIRECT_CONTEXT)

    assert isinstance(event, MessageEvent)
    assert (event.type, event.category, event.text) == (kind, "custom", text)
    assert event.data["content"] == content


@pytest.mark.parametrize(("text", "expected"), [("/'role 2'", "/role 2"), (" /'help' ", "/help"), ("/'a' b", "/'a' b")])
def test_a_quoted_command_is_read_as_the_apps_send_it(event_factory: EventFactory, text: str, expected: str) -> None:
    assert message(event_factory, text=text).text == expected


def test_ttl_edited_and_forwarded_are_in_metadata(event_factory: EventFactory) -> None:
    record = event_factory.emit("say", chat="@4", text="x", ttl=60)
    meta = {**record.raw["chatItems"][0]["chatItem"]["meta"], "itemForwarded": {"type": "unknown"}, "itemEdited": True}
    event = parse(with_item(record, meta=meta), DIRECT_CONTEXT)

    assert isinstance(event, MessageEvent)
    assert {**event.metadata, "shared_id": ""} == {
        "item_id": 2001, "shared_id": "", "ttl": 60, "edited": True, "forwarded": True
    }  # fmt: skip


def test_a_change_is_an_edit_or_the_message_itself_by_its_key(event_factory: EventFactory) -> None:
    item = event_factory.perform("say", chat="@4", text="helo")
    record = event_factory.emit("edit", chat="@4", item_id=item, text="hello")
    edit = parse(record, EventContext(DIRECT_CONTEXT.conversation, "edit:1:x", "shop"))

    assert isinstance(edit, EditEvent)
    assert (edit.message.id, edit.message.text, edit.sender.uid) == (str(item), "hello", "4")
    assert isinstance(parse(record, DIRECT_CONTEXT), MessageEvent)


def test_deletion_has_message_and_sender(event_factory: EventFactory) -> None:
    item = event_factory.perform("say", chat="@4", text="oops")
    deleted = parse(event_factory.emit("delete", chat="@4", item_id=item), DIRECT_CONTEXT)
    spam = event_factory.perform("say", chat="#31", name="bob", text="spam")
    moderated = parse(event_factory.emit("moderate", chat="#31", item_id=spam, by="alice"), GROUP_CONTEXT)

    assert isinstance(deleted, DeleteEvent)
    assert deleted.message is not None
    assert (deleted.message_id, deleted.message.text) == (str(item), "oops")
    assert isinstance(moderated, DeleteEvent)
    assert (moderated.message_id, moderated.sender.uid) == (str(spam), "4")


@pytest.mark.parametrize("added", [True, False])
def test_reactions(event_factory: EventFactory, added: bool) -> None:
    item = event_factory.perform("say", chat="#31", name="bob", text="hi")
    event = parse(
        event_factory.emit("react", chat="#31", item_id=item, emoji="🦊", name="alice", added=added), GROUP_CONTEXT
    )

    assert isinstance(event, ReactionEvent)
    assert (event.message_id, event.reaction, event.added, event.sender.uid) == (str(item), "🦊", added, "4")


def test_who_comes_goes_and_gets_another_role(event_factory: EventFactory) -> None:
    chat = {"chat": "#31"}
    event_factory.perform("join", name="carol", **chat)
    joined = parse(event_factory.latest("joinedGroupMember"), GROUP_CONTEXT)
    role = parse(event_factory.emit("set_role", name="carol", role="moderator", by="alice", **chat), GROUP_CONTEXT)
    left = parse(event_factory.emit("leave", name="carol", **chat), GROUP_CONTEXT)
    kicked = parse(event_factory.emit("remove", name="bob", by="alice", **chat), GROUP_CONTEXT)
    expelled = parse(event_factory.emit("expel", by="alice", **chat), GROUP_CONTEXT)
    events = [joined, role, left, kicked, expelled]

    assert all(isinstance(event, MembershipEvent) for event in events)
    assert [(event.action, event.members[0].name, event.sender.name) for event in events] == [  # type: ignore[attr-defined]
        ("joined", "carol", "carol"),
        ("scope_changed", "carol", "alice"),
        ("left", "carol", "carol"),
        ("kicked", "bob", "alice"),
        ("kicked", "shop", "alice"),
    ]
    assert isinstance(role, MembershipEvent)
    assert (role.old_scope, role.scope) == ("member", "moderator")


@pytest.mark.parametrize(("blocked", "action"), [(True, "banned"), (False, "unbanned")])
def test_who_is_blocked_for_all(event_factory: EventFactory, blocked: bool, action: str) -> None:
    raw = event_factory.latest("userJoinedGroup").raw
    record = {"groupInfo": raw["groupInfo"], "byMember": raw["hostMember"], "member": raw["hostMember"]}
    event = parse(Record("memberBlockedForAll", {**record, "blocked": blocked}), GROUP_CONTEXT)

    assert isinstance(event, MembershipEvent)
    assert event.action == action


def test_new_contacts_customers_and_requests(event_factory: EventFactory) -> None:
    connected = parse(event_factory.latest("contactConnected"), DIRECT_CONTEXT)
    event_factory.perform("business", name="dave")
    customer = parse(event_factory.latest("acceptingBusinessRequest"), GROUP_CONTEXT)
    raw = {"contactRequest": {"contactRequestId": 71, "profile": {"profileId": 1, "displayName": "erin"}}}
    request = parse(Record("receivedContactRequest", raw), DIRECT_CONTEXT)

    assert isinstance(connected, ContactEvent)
    assert (connected.action, connected.sender.uid) == ("connected", "4")
    assert isinstance(customer, ContactEvent)
    assert customer.group is not None
    assert (customer.group.type, customer.sender.name, customer.sender.role) == ("business", "dave", "customer")
    assert isinstance(request, ContactEvent)
    assert (request.action, request.sender.uid, request.sender.name) == ("request", "request-71", "erin")
    assert request.sender.metadata["request_id"] == 71


def test_other_events_are_unknown_events_with_sender(event_factory: EventFactory) -> None:
    gone = parse(event_factory.emit("leave_contact", chat="@4"), DIRECT_CONTEXT)
    event_factory.perform("add_group", name="Other", members=["alice"], invited=True)
    invited = parse(event_factory.latest("receivedGroupInvitation"), DIRECT_CONTEXT)
    strange = parse(Record("rcvFileComplete", {"type": "rcvFileComplete", "chatItem": 5}), DIRECT_CONTEXT)
    events: list[Event] = [gone, invited, strange]

    assert [event.kind for event in events if isinstance(event, UnknownEvent)] == [
        "contactDeletedByContact", "receivedGroupInvitation", "rcvFileComplete"
    ]  # fmt: skip
    assert [event.sender.uid for event in events] == ["4", "4", ""]
    assert invited.raw["memberRole"] == "admin"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b"{}", b'{"type": 5}', b'{"type": "newChatItems"}', b'{"type": "chatItemUpdated"}',
     b'{"type": "newChatItems", "chatItems": [{}]}', b'{"type": "chatItemReaction"}', b'{"type": "contactConnected"}',
     b'{"type": "leftMember", "groupInfo": {"groupId": 3}}', b'{"type": "receivedContactRequest"}',
     b'{"type": "groupChatItemsDeleted", "chatItemIDs": [true]}', b'{"type": "acceptingBusinessRequest"}',
     b'{"type": "chatItemsDeleted", "chatItemDeletions": []}'],
)  # fmt: skip
def test_what_has_another_shape_does_not_parse(body: bytes) -> None:
    with pytest.raises(PayloadError):
        parse(read_record(body), DIRECT_CONTEXT)


def test_what_is_read_again_from_its_stored_form_is_the_same(event_factory: EventFactory) -> None:
    record = event_factory.emit("say", chat="@4", text="hello")

    assert parse(read_record(json.dumps(record.raw).encode()), DIRECT_CONTEXT) == parse(record, DIRECT_CONTEXT)
