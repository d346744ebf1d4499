"""What the bot gets to know of a CLI's events, in whose conversation, and under what key."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest

from cometbot import Bot, Context, MembershipEvent
from cometbot.channels.base import Incoming
from cometbot.channels.simplex.arrivals import Arrival, Arrivals
from cometbot.channels.simplex.protocol import Record

from .telling import Teller


@pytest.fixture
def bot() -> Bot:
    bot = Bot("shop", description="Sells.")

    @bot.command("track")
    def track(ctx: Context, number: int) -> str:
        return ""

    return bot


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture
def alice(teller: Teller) -> str:
    chat: str = teller.do("connect", name="alice")
    return chat


@pytest.fixture
def team(teller: Teller, alice: str) -> str:
    chat: str = teller.do("add_group", name="Team", members=["alice", "bob"])
    return chat


@pytest.fixture
def arrivals(bot: Bot) -> Arrivals:
    return Arrivals("default", bot)


def incoming(arrivals: Arrivals, record: Record) -> list[Incoming]:
    return [arrival.incoming for arrival in arrivals.of(record)]


def test_a_message_comes_with_its_key_its_sender_and_the_event_as_it_was(
    arrivals: Arrivals, teller: Teller, alice: str
) -> None:
    record = teller.told("say", chat=alice, text="hello")
    [found] = incoming(arrivals, record)
    meta = record.raw["chatItems"][0]["chatItem"]["meta"]

    assert found.key == f"message:{meta['itemId']}:{meta['itemSharedMsgId']}"
    assert (found.conversation.id, found.sender) == ("contact_4", "4")
    assert json.loads(found.body) == record.raw


def test_each_item_of_an_event_is_stored_by_itself_in_its_own_conversation(
    arrivals: Arrivals, teller: Teller, alice: str
) -> None:
    one, bob = teller.told("say", chat=alice, text="one"), teller.do("connect", name="bob")
    two = teller.told("say", chat=bob, text="two")
    both = Record("newChatItems", {**one.raw, "chatItems": one.raw["chatItems"] + two.raw["chatItems"]})
    found = incoming(arrivals, both)

    assert [item.conversation.id for item in found] == ["contact_4", "contact_5"]
    assert [len(json.loads(item.body)["chatItems"]) for item in found] == [1, 1]


def test_an_item_that_was_fetched_has_the_key_of_the_one_that_was_told(
    arrivals: Arrivals, teller: Teller, alice: str
) -> None:
    record = teller.told("say", chat=alice, text="hello")
    [told] = arrivals.of(record)
    [fetched] = arrivals.of_item(record.raw["chatItems"][0])

    assert fetched.incoming.key == told.incoming.key


def test_what_the_bot_said_itself_and_what_only_happened_is_left_out(
    arrivals: Arrivals, teller: Teller, alice: str
) -> None:
    record = teller.told("say", chat=alice, text="hello")
    whole = record.raw["chatItems"][0]
    for kind, direction in (("sndMsgContent", "directSnd"), ("rcvDirectE2EEInfo", "directRcv"), ("later", "directRcv")):
        item = {**whole["chatItem"], "content": {"type": kind}, "chatDir": {"type": direction}}
        changed = Record(record.type, {**record.raw, "chatItems": [{**whole, "chatItem": item}]})
        assert incoming(arrivals, changed) == []


def test_what_was_taken_back_before_it_was_fetched_is_left_out(arrivals: Arrivals, teller: Teller, alice: str) -> None:
    item = teller.do("say", chat=alice, text="oops")
    teller.do("delete", chat=alice, item_id=item)

    assert list(arrivals.of_item(teller.do("lines", chat=alice)[0])) == []


def test_what_other_bots_write_is_left_out_unless_it_is_asked_for(teller: Teller) -> None:
    robot = teller.do("connect", name="robot", is_bot=True)
    record = teller.told("say", chat=robot, text="beep")

    assert incoming(Arrivals("default", Bot("shop")), record) == []
    assert incoming(Arrivals("default", Bot("shop", handle_bots=True)), record)


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
def test_in_a_group_the_bot_gets_what_is_said_to_it(
    arrivals: Arrivals, teller: Teller, team: str, text: str, mention: bool, is_wanted: bool
) -> None:
    record = teller.told("say", chat=team, name="bob", text=text, mention=mention)

    assert bool(incoming(arrivals, record)) is is_wanted


def test_in_a_group_the_bot_gets_answers_to_what_it_said(arrivals: Arrivals, teller: Teller, team: str) -> None:
    said = teller.state.add_item(team, {"type": "groupSnd"}, {"type": "text", "text": "All good"})
    record = teller.told("say", chat=team, name="bob", text="really?", quote_id=said["meta"]["itemId"])

    assert len(incoming(arrivals, record)) == 1


def test_it_gets_everything_in_a_group_if_it_is_told_to(bot: Bot, teller: Teller, team: str) -> None:
    record = teller.told("say", chat=team, name="bob", text="what a day")

    assert len(incoming(Arrivals("default", bot, all_groups=True), record)) == 1


def test_a_business_chat_and_a_support_talk_are_talks_with_the_bot(
    arrivals: Arrivals, teller: Teller, team: str
) -> None:
    customer = teller.do("business", name="dave")
    member = next(iter(teller.state.group(int(team[1:]))["members"]))

    assert incoming(arrivals, teller.told("say", chat=customer, name="dave", text="hello"))
    [support] = incoming(arrivals, teller.told("say", chat=f"{team}(_support:{member})", name="bob", text="help"))
    assert support.conversation.target == f"{team[1:]}(_support:{member})"


def test_a_message_that_is_being_written_is_not_stored(arrivals: Arrivals, teller: Teller, alice: str) -> None:
    record = teller.told("say", chat=alice, text="He", live=True)

    assert incoming(arrivals, record) == []


def test_the_end_of_such_a_message_is_the_message_and_an_edit_only_if_that_is_known(
    arrivals: Arrivals, teller: Teller, alice: str
) -> None:
    item = teller.do("say", chat=alice, text="He", live=True)
    assert list(arrivals.of(teller.told("edit", chat=alice, item_id=item, text="Hel", live=True))) == []
    [arrival] = arrivals.of(teller.told("edit", chat=alice, item_id=item, text="Hello"))

    assert arrival.incoming.key.startswith(f"message:{item}:")
    assert arrival.otherwise is not None
    assert arrival.otherwise.key.startswith(f"edit:{item}:")


def test_a_change_of_an_old_message_is_never_taken_for_a_new_one(bot: Bot, teller: Teller, alice: str) -> None:
    item = teller.do("say", chat=alice, text="helo")
    record = teller.told("edit", chat=alice, item_id=item, text="hello")
    [arrival] = Arrivals("default", bot, clock=lambda: time.time() + 48 * 3600).of(record)

    assert arrival.incoming.key.startswith(f"edit:{item}:")
    assert arrival.otherwise is None


def test_two_changes_have_two_keys_and_one_told_twice_has_one(arrivals: Arrivals, teller: Teller, alice: str) -> None:
    item = teller.do("say", chat=alice, text="a")
    first = teller.told("edit", chat=alice, item_id=item, text="b")
    second = teller.told("edit", chat=alice, item_id=item, text="c")

    def key(record: Record) -> str:
        [arrival] = arrivals.of(record)
        assert arrival.otherwise is not None
        return arrival.otherwise.key

    assert key(first) == key(first) != key(second)


def test_deletions_by_others_come_one_by_one(arrivals: Arrivals, teller: Teller, alice: str, team: str) -> None:
    items = [teller.do("say", chat=alice, text=text) for text in "ab"]
    records = [teller.told("delete", chat=alice, item_id=item) for item in items]
    pairs = [record.raw["chatItemDeletions"][0] for record in records]
    both = Record("chatItemsDeleted", {**records[0].raw, "chatItemDeletions": pairs})

    assert [found.key for found in incoming(arrivals, both)] == [f"delete:{item}" for item in items]
    own = Record("chatItemsDeleted", {**both.raw, "byUser": True})
    assert incoming(arrivals, own) == []


def test_deletions_in_a_group_may_tell_only_numbers(arrivals: Arrivals, teller: Teller, team: str) -> None:
    item = teller.do("say", chat=team, name="bob", text="spam")
    record = teller.told("moderate", chat=team, item_id=item, by="alice")
    more = Record(record.type, {**record.raw, "chatItemIDs": [item, item + 1, "x", True]})

    assert [found.key for found in incoming(arrivals, more)] == [f"delete:{item}", f"delete:{item + 1}"]


def test_a_reaction_taken_off_and_put_on_again_is_news(arrivals: Arrivals, teller: Teller, alice: str) -> None:
    item = teller.do("say", chat=alice, text="hello")
    records = [teller.told("react", chat=alice, item_id=item, emoji="🎉", added=added) for added in (True, False, True)]

    assert len({found.key for record in records for found in incoming(arrivals, record)}) == 3


@pytest.mark.parametrize("emoji", ["x" * 15_000, "a\0b", "🎉" * 5000, "\n"])
def test_what_others_write_into_a_key_does_it_no_harm(
    arrivals: Arrivals, teller: Teller, alice: str, emoji: str
) -> None:
    item = teller.do("say", chat=alice, text="hello")
    [found] = incoming(arrivals, teller.told("react", chat=alice, item_id=item, emoji=emoji))

    assert found.key.startswith("reaction:")
    assert len(found.key) <= 200
    assert found.key.isprintable()


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(("depth", "count"), [(20, 1), (300, 1), (5000, 0)])
def test_what_somebody_nested_deep_is_stored_or_left_out(
    arrivals: Arrivals, teller: Teller, alice: str, depth: int, count: int
) -> None:
    record = teller.told("say", chat=alice, text="hello")
    whole = record.raw["chatItems"][0]
    content = {"type": "rcvMsgContent", "msgContent": {"type": "deep", "text": "hello", "it": nested(depth)}}
    changed = {**record.raw, "chatItems": [{**whole, "chatItem": {**whole["chatItem"], "content": content}}]}
    found = incoming(arrivals, Record(record.type, changed))

    assert len(found) == count
    assert all(json.loads(item.body) for item in found)


def test_in_a_group_only_reactions_to_the_bots_words_count(arrivals: Arrivals, teller: Teller, team: str) -> None:
    others = teller.do("say", chat=team, name="bob", text="hi")
    own = teller.state.add_item(team, {"type": "groupSnd"}, {"type": "text", "text": "hi"})["meta"]["itemId"]

    assert incoming(arrivals, teller.told("react", chat=team, item_id=others, emoji="👍", name="alice")) == []
    assert incoming(arrivals, teller.told("react", chat=team, item_id=own, emoji="👍", name="alice"))


def test_new_contacts_requests_customers_and_members_are_told_of(
    arrivals: Arrivals, teller: Teller, alice: str, team: str
) -> None:
    assert incoming(arrivals, teller.of("contactConnected"))[0].conversation.id == "contact_4"
    teller.do("business", name="dave")
    assert incoming(arrivals, teller.of("acceptingBusinessRequest"))[0].conversation.is_group
    teller.do("join", chat=team, name="carol")
    assert incoming(arrivals, teller.of("joinedGroupMember"))[0].key.startswith("joinedGroupMember:")
    assert incoming(arrivals, teller.told("leave", chat=team, name="carol"))
    request = Record("receivedContactRequest", {"type": "receivedContactRequest", "contactRequest": _request()})
    [asked] = incoming(arrivals, request)
    assert (asked.conversation.id, asked.sender) == ("request-71", "request-71")
    later = {**_request(), "createdAt": "2026-03-02T10:00:00Z"}
    [other] = incoming(arrivals, Record("receivedContactRequest", {**request.raw, "contactRequest": later}))
    assert asked.key.startswith("request:71:")
    assert other.key != asked.key, "a number may be given again"


def _request() -> dict[str, Any]:
    return {"contactRequestId": 71, "localDisplayName": "erin", "profile": {"profileId": 1, "displayName": "erin"}}


def test_events_that_have_no_class_are_stored_only_for_a_bot_that_listens(
    arrivals: Arrivals, bot: Bot, teller: Teller, alice: str
) -> None:
    record = teller.told("leave_contact", chat=alice)
    assert record.type == "contactDeletedByContact"
    assert incoming(arrivals, record) == []

    @bot.event(MembershipEvent)
    def listen(ctx: Context) -> None: ...

    assert incoming(arrivals, record)[0].conversation.id == "contact_4"
    assert incoming(arrivals, teller.told("rename", chat=alice, name="Alice B"))


@pytest.mark.parametrize("tag", ["hostConnected", "subscriptionStatus", "chatItemsStatusesUpdated", "fromTheFuture"])
def test_what_belongs_to_no_chat_is_left_out(arrivals: Arrivals, tag: str) -> None:
    assert list(arrivals.of(Record(tag, {"type": tag, "chatItems": 5}))) == []


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
    arrivals: Arrivals, raw: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found: list[Arrival] = list(arrivals.of(Record(raw["type"], raw)))

    assert found == []


def test_one_item_that_cannot_be_read_takes_no_other_with_it(arrivals: Arrivals, teller: Teller, alice: str) -> None:
    record = teller.told("say", chat=alice, text="hello")
    mixed = Record(record.type, {**record.raw, "chatItems": [{}, *record.raw["chatItems"], None]})

    assert len(incoming(arrivals, mixed)) == 1
