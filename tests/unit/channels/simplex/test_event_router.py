"""What the bot gets to know of a CLI's events, in whose conversation, and under what key."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest

from cometbot import Bot, Context, MembershipEvent
from cometbot.channels.base import IncomingEvent
from cometbot.channels.simplex.event_router import EventRouter, RoutedEvent
from cometbot.channels.simplex.protocol import Record, decode_frame

from .event_factory import EventFactory


@pytest.fixture
def bot() -> Bot:
    bot = Bot("shop", description="Sells.")

    @bot.command("track")
    def track(ctx: Context, number: int) -> str:
        return ""

    return bot


@pytest.fixture
def event_factory() -> EventFactory:
    return EventFactory()


@pytest.fixture
def alice(event_factory: EventFactory) -> str:
    chat: str = event_factory.perform("connect", name="alice")
    return chat


@pytest.fixture
def team(event_factory: EventFactory, alice: str) -> str:
    chat: str = event_factory.perform("add_group", name="Team", members=["alice", "bob"])
    return chat


@pytest.fixture
def router(bot: Bot) -> EventRouter:
    return EventRouter("default", bot)


def incoming(router: EventRouter, record: Record) -> list[IncomingEvent]:
    return [routed.incoming for routed in router.route(record)]


def test_message_has_key_sender_and_body(router: EventRouter, event_factory: EventFactory, alice: str) -> None:
    record = event_factory.emit("say", chat=alice, text="hello")
    [found] = incoming(router, record)
    meta = record.raw["chatItems"][0]["chatItem"]["meta"]

    assert found.key == f"message:{meta['itemId']}:{meta['itemSharedMsgId']}"
    assert (found.conversation.id, found.sender) == ("contact_4", "4")
    assert json.loads(found.body) == record.raw


def test_each_item_is_stored_in_its_conversation(router: EventRouter, event_factory: EventFactory, alice: str) -> None:
    one, bob = event_factory.emit("say", chat=alice, text="one"), event_factory.perform("connect", name="bob")
    two = event_factory.emit("say", chat=bob, text="two")
    both = Record("newChatItems", {**one.raw, "chatItems": one.raw["chatItems"] + two.raw["chatItems"]})
    found = incoming(router, both)

    assert [item.conversation.id for item in found] == ["contact_4", "contact_5"]
    assert [len(json.loads(item.body)["chatItems"]) for item in found] == [1, 1]


def test_fetched_item_has_same_key_as_its_event(router: EventRouter, event_factory: EventFactory, alice: str) -> None:
    record = event_factory.emit("say", chat=alice, text="hello")
    [told] = router.route(record)
    [fetched] = router.route_item(record.raw["chatItems"][0])

    assert fetched.incoming.key == told.incoming.key


def test_own_messages_and_chat_events_are_ignored(router: EventRouter, event_factory: EventFactory, alice: str) -> None:
    record = event_factory.emit("say", chat=alice, text="hello")
    whole = record.raw["chatItems"][0]
    for kind, direction in (("sndMsgContent", "directSnd"), ("rcvDirectE2EEInfo", "directRcv"), ("later", "directRcv")):
        item = {**whole["chatItem"], "content": {"type": kind}, "chatDir": {"type": direction}}
        changed = Record(record.type, {**record.raw, "chatItems": [{**whole, "chatItem": item}]})
        assert incoming(router, changed) == []


def test_deleted_items_are_ignored(router: EventRouter, event_factory: EventFactory, alice: str) -> None:
    item = event_factory.perform("say", chat=alice, text="oops")
    event_factory.perform("delete", chat=alice, item_id=item)

    assert list(router.route_item(event_factory.perform("lines", chat=alice)[0])) == []


def test_bots_are_ignored_unless_handle_bots(event_factory: EventFactory) -> None:
    robot = event_factory.perform("connect", name="robot", is_bot=True)
    record = event_factory.emit("say", chat=robot, text="beep")

    assert incoming(EventRouter("default", Bot("shop")), record) == []
    assert incoming(EventRouter("default", Bot("shop", handle_bots=True)), record)


@pytest.mark.parametrize(
    ("text", "mention", "is_wanted"),
    [
        ("what a day", False, False),
        ("status?", True, True),
        ("/track 5", False, True),
        ("  /TRACK 5", False, True),
        ("/'track 5'", False, True),
        ("/help", False, True),
        ("/ban everybody", False, False),
        ("/", False, False),
        ("see /track", False, False),
    ],
)
def test_group_messages_to_the_bot_are_routed(
    router: EventRouter, event_factory: EventFactory, team: str, text: str, mention: bool, is_wanted: bool
) -> None:
    record = event_factory.emit("say", chat=team, name="bob", text=text, mention=mention)

    assert bool(incoming(router, record)) is is_wanted


def test_group_replies_to_the_bot_are_routed(router: EventRouter, event_factory: EventFactory, team: str) -> None:
    said = event_factory.state.add_item(team, {"type": "groupSnd"}, {"type": "text", "text": "All good"})
    record = event_factory.emit("say", chat=team, name="bob", text="really?", quote_id=said["meta"]["itemId"])

    assert len(incoming(router, record)) == 1


def test_all_groups_routes_every_group_message(bot: Bot, event_factory: EventFactory, team: str) -> None:
    record = event_factory.emit("say", chat=team, name="bob", text="what a day")

    assert len(incoming(EventRouter("default", bot, all_groups=True), record)) == 1


def test_business_and_support_messages_are_routed(router: EventRouter, event_factory: EventFactory, team: str) -> None:
    customer = event_factory.perform("business", name="dave")
    member = next(iter(event_factory.state.group(int(team[1:]))["members"]))

    assert incoming(router, event_factory.emit("say", chat=customer, name="dave", text="hello"))
    [support] = incoming(router, event_factory.emit("say", chat=f"{team}(_support:{member})", name="bob", text="help"))
    assert support.conversation.target == f"{team[1:]}(_support:{member})"


def test_a_message_that_is_being_written_is_not_stored(
    router: EventRouter, event_factory: EventFactory, alice: str
) -> None:
    record = event_factory.emit("say", chat=alice, text="He", live=True)

    assert incoming(router, record) == []


def test_finished_live_message_falls_back_to_edit(router: EventRouter, event_factory: EventFactory, alice: str) -> None:
    item = event_factory.perform("say", chat=alice, text="He", live=True)
    assert list(router.route(event_factory.emit("edit", chat=alice, item_id=item, text="Hel", live=True))) == []
    [routed] = router.route(event_factory.emit("edit", chat=alice, item_id=item, text="Hello"))

    assert routed.incoming.key.startswith(f"message:{item}:")
    assert routed.fallback is not None
    assert routed.fallback.key.startswith(f"edit:{item}:")


def test_edit_of_old_message_is_never_a_message(bot: Bot, event_factory: EventFactory, alice: str) -> None:
    item = event_factory.perform("say", chat=alice, text="helo")
    record = event_factory.emit("edit", chat=alice, item_id=item, text="hello")
    [routed] = EventRouter("default", bot, clock=lambda: time.time() + 48 * 3600).route(record)

    assert routed.incoming.key.startswith(f"edit:{item}:")
    assert routed.fallback is None


def test_edit_keys_are_unique_and_stable(router: EventRouter, event_factory: EventFactory, alice: str) -> None:
    item = event_factory.perform("say", chat=alice, text="a")
    first = event_factory.emit("edit", chat=alice, item_id=item, text="b")
    second = event_factory.emit("edit", chat=alice, item_id=item, text="c")

    def key(record: Record) -> str:
        [routed] = router.route(record)
        assert routed.fallback is not None
        return routed.fallback.key

    assert key(first) == key(first) != key(second)


def test_deletions_by_others_come_one_by_one(
    router: EventRouter, event_factory: EventFactory, alice: str, team: str
) -> None:
    items = [event_factory.perform("say", chat=alice, text=text) for text in "ab"]
    records = [event_factory.emit("delete", chat=alice, item_id=item) for item in items]
    pairs = [record.raw["chatItemDeletions"][0] for record in records]
    both = Record("chatItemsDeleted", {**records[0].raw, "chatItemDeletions": pairs})

    assert [found.key for found in incoming(router, both)] == [f"delete:{item}" for item in items]
    own = Record("chatItemsDeleted", {**both.raw, "byUser": True})
    assert incoming(router, own) == []


def test_group_deletions_by_id_are_routed(router: EventRouter, event_factory: EventFactory, team: str) -> None:
    item = event_factory.perform("say", chat=team, name="bob", text="spam")
    record = event_factory.emit("moderate", chat=team, item_id=item, by="alice")
    more = Record(record.type, {**record.raw, "chatItemIDs": [item, item + 1, "x", True]})

    assert [found.key for found in incoming(router, more)] == [f"delete:{item}", f"delete:{item + 1}"]


def test_repeated_reaction_has_new_key(router: EventRouter, event_factory: EventFactory, alice: str) -> None:
    item = event_factory.perform("say", chat=alice, text="hello")
    records = [
        event_factory.emit("react", chat=alice, item_id=item, emoji="🎉", added=added) for added in (True, False, True)
    ]

    assert len({found.key for record in records for found in incoming(router, record)}) == 3


@pytest.mark.parametrize("emoji", ["x" * 15_000, "a\0b", "🎉" * 5000, "\n"])
def test_what_others_write_into_a_key_does_it_no_harm(
    router: EventRouter, event_factory: EventFactory, alice: str, emoji: str
) -> None:
    item = event_factory.perform("say", chat=alice, text="hello")
    [found] = incoming(router, event_factory.emit("react", chat=alice, item_id=item, emoji=emoji))

    assert found.key.startswith("reaction:")
    assert len(found.key) <= 200
    assert found.key.isprintable()


@pytest.mark.parametrize("depth", [20, 300, 5000])
def test_what_somebody_nested_deep_is_stored(
    router: EventRouter, event_factory: EventFactory, alice: str, depth: int
) -> None:
    record = event_factory.emit(
        "say", chat=alice, text="hello", content={"type": "deep", "text": "hello", "it": "DEEP"}
    )
    text = json.dumps({"resp": record.raw}).replace('"DEEP"', "[" * depth + "]" * depth)
    received = decode_frame(text).record
    assert received is not None
    [found] = incoming(router, received)

    assert json.loads(found.body) == received.raw


def test_in_a_group_only_reactions_to_the_bots_words_count(
    router: EventRouter, event_factory: EventFactory, team: str
) -> None:
    others = event_factory.perform("say", chat=team, name="bob", text="hi")
    own = event_factory.state.add_item(team, {"type": "groupSnd"}, {"type": "text", "text": "hi"})["meta"]["itemId"]

    assert incoming(router, event_factory.emit("react", chat=team, item_id=others, emoji="👍", name="alice")) == []
    assert incoming(router, event_factory.emit("react", chat=team, item_id=own, emoji="👍", name="alice"))


def test_contacts_requests_and_members_are_routed(
    router: EventRouter, event_factory: EventFactory, alice: str, team: str
) -> None:
    assert incoming(router, event_factory.latest("contactConnected"))[0].conversation.id == "contact_4"
    event_factory.perform("business", name="dave")
    assert incoming(router, event_factory.latest("acceptingBusinessRequest"))[0].conversation.is_group
    event_factory.perform("join", chat=team, name="carol")
    assert incoming(router, event_factory.latest("joinedGroupMember"))[0].key.startswith("joinedGroupMember:")
    assert incoming(router, event_factory.emit("leave", chat=team, name="carol"))
    request = Record("receivedContactRequest", {"type": "receivedContactRequest", "contactRequest": _request()})
    [asked] = incoming(router, request)
    assert (asked.conversation.id, asked.sender) == ("request-71", "request-71")
    later = {**_request(), "createdAt": "2026-03-02T10:00:00Z"}
    [other] = incoming(router, Record("receivedContactRequest", {**request.raw, "contactRequest": later}))
    assert asked.key.startswith("request:71:")
    assert other.key != asked.key, "a number may be given again"


def _request() -> dict[str, Any]:
    return {"contactRequestId": 71, "localDisplayName": "erin", "profile": {"profileId": 1, "displayName": "erin"}}


def test_untyped_events_need_an_event_handler(
    router: EventRouter, bot: Bot, event_factory: EventFactory, alice: str
) -> None:
    record = event_factory.emit("leave_contact", chat=alice)
    assert record.type == "contactDeletedByContact"
    assert incoming(router, record) == []

    @bot.event(MembershipEvent)
    def listen(ctx: Context) -> None: ...

    assert incoming(router, record)[0].conversation.id == "contact_4"
    assert incoming(router, event_factory.emit("rename", chat=alice, name="Alice B"))


@pytest.mark.parametrize("tag", ["hostConnected", "subscriptionStatus", "chatItemsStatusesUpdated", "fromTheFuture"])
def test_what_belongs_to_no_chat_is_left_out(router: EventRouter, tag: str) -> None:
    assert list(router.route(Record(tag, {"type": tag, "chatItems": 5}))) == []


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "newChatItems"},
        {"type": "newChatItems", "chatItems": None},
        {"type": "newChatItems", "chatItems": [None, 5, {}, {"chatInfo": {"type": "direct"}}]},
        {"type": "chatItemUpdated", "chatItem": []},
        {"type": "chatItemsDeleted", "chatItemDeletions": [{}]},
        {"type": "chatItemReaction", "reaction": "👍"},
        {"type": "contactConnected", "contact": {"contactId": "4"}},
        {"type": "receivedContactRequest", "contactRequest": {}},
        {"type": "groupChatItemsDeleted", "groupInfo": {"groupId": 3}, "chatItemIDs": None},
    ],
    ids=range(9),
)
def test_what_cannot_be_read_is_left_out_and_nothing_else(
    router: EventRouter, raw: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found: list[RoutedEvent] = list(router.route(Record(raw["type"], raw)))

    assert found == []


def test_unreadable_item_does_not_drop_others(router: EventRouter, event_factory: EventFactory, alice: str) -> None:
    record = event_factory.emit("say", chat=alice, text="hello")
    mixed = Record(record.type, {**record.raw, "chatItems": [{}, *record.raw["chatItems"], None]})

    assert len(incoming(router, mixed)) == 1
