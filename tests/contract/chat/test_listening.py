"""The feed: what happens in one process is heard in every other one, once and in order."""

from __future__ import annotations

import threading
import time

import pytest
import sqlalchemy as sa

from cometbot.chat import (
    CONVERSATION_DELETED,
    EPHEMERAL_LIMIT,
    EVENT_CREATED,
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    MESSAGE_UPDATED,
    PARTICIPANT_ADDED,
    PARTICIPANT_REMOVED,
    Chat,
    Draft,
    Listener,
    Topic,
    listening,
)
from cometbot.store.tables import chat_feed
from tests.contract.chat.conftest import SCOPE, MakeChat, Room, heard


def texts(listener: Listener, count: int) -> list[str]:
    return [signal.message.payload["text"] for signal in heard(listener, count) if signal.message]


def wait_until(condition: object, timeout: float = 60.0) -> None:
    assert callable(condition)
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.005)


@pytest.fixture
def others(make_chat: MakeChat, room: Room) -> Chat:
    """The same chat server in another process."""
    return make_chat()


@pytest.fixture
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CHECK", 0.1)


def test_a_message_is_heard_in_the_process_where_it_was_posted(room: Room) -> None:
    listener = room.chat.feed.listen(room.conversation.topic)
    message = room.say("hello")
    [signal] = heard(listener, 1)
    assert (signal.kind, signal.message, signal.position) == (MESSAGE_CREATED, message, 1)
    assert listener.get(0) is None
    assert not listener.is_closed


def test_a_message_is_heard_in_another_process_soon(room: Room, others: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CHECK", 60.0)  # so that it is not found but told
    listener = others.feed.listen(room.conversation.topic)
    first = None
    while first is None:  # until the other process is all ears
        room.say("first")
        first = listener.get(0.5)
    began = time.monotonic()
    message = room.say("hello")
    found = None
    while found is None or found.message != message:
        found = listener.get(60)
    assert time.monotonic() - began < 30


def test_all_that_happens_is_told_in_its_order(room: Room, others: Chat) -> None:
    listener = others.feed.listen(room.conversation.topic, after=0)
    message = room.say("hello")
    with room.chat.database.write() as connection:
        event, signals = room.chat.events.create(connection, SCOPE, room.id, room.ann.id, {"clicked": 1})
        signals += room.chat.conversations.add(connection, SCOPE, room.id, room.bob.id)
        edited = room.chat.messages.update(connection, SCOPE, message.id, {"text": "HELLO"})
        assert edited is not None
        signals += edited[1]
        signals += room.chat.conversations.remove(connection, SCOPE, room.id, room.bob.id)
        signals.append(room.chat.feed.add(connection, SCOPE, room.id, "event_of_bot", {"typing": True}))
    room.chat.feed.publish(signals)
    found = heard(listener, 6)
    assert [signal.kind for signal in found] == [
        MESSAGE_CREATED,
        EVENT_CREATED,
        PARTICIPANT_ADDED,
        MESSAGE_UPDATED,
        PARTICIPANT_REMOVED,
        "event_of_bot",
    ]
    assert [signal.position for signal in found] == [1, 2, 3, 4, 5, 6]
    assert found[0].message is not None
    assert found[0].message.id == message.id
    assert (found[1].event, found[3].message) == (event, edited[0])
    assert (found[2].data, found[4].data, found[5].data) == (
        {"user": room.bob.id},
        {"user": room.bob.id},
        {"typing": True},
    )
    assert [signal.at for signal in found] == sorted({signal.at for signal in found})


def test_a_message_that_is_gone_is_told_of_no_more_but_its_end_is(room: Room) -> None:
    message = room.say("hello")
    room.say("stays")
    with room.chat.database.write() as connection:
        room.chat.messages.delete(connection, SCOPE, message.id)
    listener = room.chat.feed.listen(room.conversation.topic, after=0)
    found = heard(listener, 2)
    assert [signal.kind for signal in found] == [MESSAGE_CREATED, MESSAGE_DELETED]
    assert found[1].data == {"id": message.id, "sender": room.ann.id}


def test_who_was_away_hears_what_it_missed(room: Room) -> None:
    listener = room.chat.feed.listen(room.conversation.topic)
    room.say("1")
    [signal] = heard(listener, 1)
    listener.close()
    room.say("2")
    room.say("3")
    again = room.chat.feed.listen(room.conversation.topic, after=signal.position)
    room.say("4")
    assert texts(again, 3) == ["2", "3", "4"]


def test_who_comes_now_hears_nothing_old(room: Room) -> None:
    room.say("old")
    listener = room.chat.feed.listen(room.conversation.topic)
    room.say("new")
    assert texts(listener, 1) == ["new"]


@pytest.mark.usefixtures("quick_checks")
def test_what_nobody_told_of_is_found(room: Room, others: Chat) -> None:
    listener = others.feed.listen(room.conversation.topic)
    with room.chat.database.write() as connection:
        room.chat.messages.post(connection, SCOPE, room.id, Draft("ann", {"text": "untold"}))
    assert texts(listener, 1) == ["untold"]


def test_every_listener_of_a_conversation_hears_each_signal_once(room: Room, others: Chat) -> None:
    listeners = [chat.feed.listen(room.conversation.topic, after=0) for chat in (room.chat, others) for _ in range(3)]
    said = [str(nth) for nth in range(30)]
    threads = [
        threading.Thread(target=lambda part=part: [room.say(text) for text in part])  # type: ignore[misc]
        for part in (said[:15], said[15:])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = room.texts()
    assert [texts(listener, 30) for listener in listeners] == [expected] * 6
    assert [listener.get(0) for listener in listeners] == [None] * 6


def test_conversations_are_apart(room: Room) -> None:
    with room.chat.database.write() as connection:
        other = room.chat.conversations.create(connection, SCOPE, room.bob.id)
    listener, elsewhere = room.chat.feed.listen(room.conversation.topic), room.chat.feed.listen(other.topic)
    room.say("hello")
    assert texts(listener, 1) == ["hello"]
    assert elsewhere.get(0.1) is None


def test_one_listener_follows_several_conversations_and_stops_following(room: Room) -> None:
    with room.chat.database.write() as connection:
        other = room.chat.conversations.create(connection, SCOPE, room.ann.id)
        later = room.chat.conversations.create(connection, SCOPE, room.ann.id)
    listener = room.chat.feed.listen(room.conversation.topic, other.topic)
    listener.follow(later.topic)
    listener.unfollow(other.topic)
    with room.chat.database.write() as connection:
        signals = [
            room.chat.feed.add(connection, SCOPE, conversation.id, "said", {"in": nth})
            for nth, conversation in enumerate((room.conversation, other, later))
        ]
    room.chat.feed.publish(signals)
    assert sorted(signal.data["in"] for signal in heard(listener, 2)) == [0, 2]
    assert listener.get(0.1) is None


def test_what_passes_is_heard_and_not_kept(room: Room, others: Chat) -> None:
    near = room.chat.feed.listen(room.conversation.topic)
    far = others.feed.listen(room.conversation.topic)
    found = None
    while found is None:
        room.chat.feed.tell(room.conversation.topic, "typing", {"on": True, "ünï": "code"})
        found = far.get(0.5)
    for signal in (found, *heard(near, 1)):
        assert (signal.kind, signal.position, signal.data) == ("typing", 0, {"on": True, "ünï": "code"})
    late = room.chat.feed.listen(room.conversation.topic, after=0)
    assert late.get(0.1) is None


def test_what_concerns_a_user_is_heard_by_that_user(room: Room) -> None:
    topic = Topic.of_user(SCOPE, room.ann.id)
    listener = room.chat.feed.listen(topic, room.conversation.topic)
    room.chat.feed.tell(Topic.of_user(SCOPE, room.bob.id), "chat", {"id": "no"})
    room.chat.feed.tell(topic, "chat", {"id": "new"})
    [signal] = heard(listener, 1)
    assert (signal.topic, signal.data) == (topic, {"id": "new"})


def test_too_much_is_not_told_in_passing(room: Room) -> None:
    room.chat.feed.tell(room.conversation.topic, "delta", {"text": "x" * (EPHEMERAL_LIMIT - 20)})
    with pytest.raises(ValueError, match="in parts"):
        room.chat.feed.tell(room.conversation.topic, "delta", {"text": "x" * EPHEMERAL_LIMIT})


def test_the_end_of_a_conversation_is_heard(room: Room, others: Chat) -> None:
    near = room.chat.feed.listen(room.conversation.topic)
    far = others.feed.listen(room.conversation.topic)
    with room.chat.database.write() as connection:
        signals = room.chat.conversations.delete(connection, SCOPE, room.id)
    assert signals is not None
    room.chat.feed.publish(signals)
    for listener in (near, far):
        [signal] = heard(listener, 1)
        assert (signal.kind, signal.topic) == (CONVERSATION_DELETED, room.conversation.topic)
        assert listener.get(0) is None


@pytest.mark.usefixtures("quick_checks")
def test_the_end_of_a_conversation_is_found_where_nobody_told_of_it(room: Room, others: Chat) -> None:
    listener = others.feed.listen(room.conversation.topic)
    with room.chat.database.write() as connection:
        room.chat.conversations.delete(connection, SCOPE, room.id)
    [signal] = heard(listener, 1)
    assert signal.kind == CONVERSATION_DELETED
    assert listener.get(0.3) is None, "told once"


def made_anew(room: Room, id: str) -> None:
    """Another conversation takes the id of one that is deleted, and nobody is told."""
    with room.chat.database.write() as connection:
        assert room.chat.conversations.delete(connection, SCOPE, id)
    with room.chat.database.write() as connection:
        room.chat.conversations.create(connection, SCOPE, room.bob.id, id=id)


def is_over(listener: Listener) -> bool:
    """Whether all that it hears is that its conversation is gone."""
    [signal] = heard(listener, 1)
    return signal.kind == CONVERSATION_DELETED and listener.get(0.2) is None


@pytest.mark.parametrize("said_before", [0, 2])
def test_a_listener_hears_nothing_kept_of_a_new_conversation_of_the_same_id(room: Room, said_before: int) -> None:
    for _ in range(said_before):
        room.say("by ann")
    listener = room.chat.feed.listen(room.conversation.topic)
    made_anew(room, room.id)
    for text in "abcd":
        room.say(text, by=room.bob.id)
    assert is_over(listener)
    room.say("e", by=room.bob.id)
    assert listener.get(0.2) is None


def test_a_listener_hears_nothing_in_passing_of_a_new_conversation_of_the_same_id(room: Room, others: Chat) -> None:
    listener = room.chat.feed.listen(room.conversation.topic)
    made_anew(room, room.id)
    fresh = room.chat.feed.listen(room.conversation.topic)
    room.chat.feed.tell(room.conversation.topic, "delta", {"text": "bob's secret"})
    [signal] = heard(fresh, 1)
    assert signal.data == {"text": "bob's secret"}
    assert is_over(listener)


@pytest.mark.usefixtures("quick_checks")
def test_a_listener_of_a_conversation_that_was_replaced_ends_where_nobody_told_of_it(room: Room, others: Chat) -> None:
    room.say("by ann")
    listener = others.feed.listen(room.conversation.topic)
    made_anew(room, room.id)
    fresh = others.feed.listen(room.conversation.topic)
    assert is_over(listener)
    room.say("by bob", by=room.bob.id)
    assert texts(fresh, 1) == ["by bob"]


def test_who_listens_to_the_new_conversation_is_not_ended_with_the_old_one(room: Room) -> None:
    with room.chat.database.write() as connection:
        signals = room.chat.conversations.delete(connection, SCOPE, room.id)
    with room.chat.database.write() as connection:
        room.chat.conversations.create(connection, SCOPE, room.bob.id, id=room.id)
    listener = room.chat.feed.listen(room.conversation.topic)
    room.chat.feed.publish(signals or ())  # late
    room.say("by bob", by=room.bob.id)
    assert texts(listener, 1) == ["by bob"]


def test_who_comes_back_after_a_position_hears_nothing_of_another_conversation(room: Room) -> None:
    listener = room.chat.feed.listen(room.conversation.topic, after=0)
    made_anew(room, room.id)
    room.say("by bob", by=room.bob.id)
    assert is_over(listener)


@pytest.mark.usefixtures("quick_checks")
def test_where_nothing_has_happened_yet_nothing_is_heard(room: Room) -> None:
    listener = room.chat.feed.listen(room.conversation.topic)
    assert listener.get(0.5) is None


def test_what_one_listener_does_not_take_waits_in_the_database(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CAPACITY", 4)
    ann = Topic.of_user(SCOPE, room.ann.id)
    listener, other = room.chat.feed.listen(room.conversation.topic, after=0), room.chat.feed.listen(ann)
    said = [str(nth) for nth in range(15)]
    for text in said:
        room.say(text)
    wait_until(lambda: not listener.has_room)
    room.chat.feed.tell(room.conversation.topic, "typing", {})  # dropped: there is no room
    room.chat.feed.tell(ann, "chat", {})
    heard(other, 1)  # so the one before it was brought, too
    assert listener._signals.qsize() == 4
    assert texts(listener, 15) == said


@pytest.mark.usefixtures("quick_checks")
def test_a_listener_that_takes_nothing_is_ended(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CAPACITY", 2)
    monkeypatch.setattr(listening, "SLOW", 0.2)
    lazy = room.chat.feed.listen(room.conversation.topic)
    brisk = room.chat.feed.listen(room.conversation.topic)
    for text in "abc":
        room.say(text)
        assert texts(brisk, 1) == [text]
    wait_until(lambda: room.chat.feed.count == 1)
    assert texts(lazy, 2) == ["a", "b"]
    assert lazy.get(60) is None
    assert lazy.is_closed
    room.say("d")
    assert texts(brisk, 1) == ["d"]


def test_a_closed_listener_comes_to_its_end_and_is_forgotten(room: Room) -> None:
    with room.chat.feed.listen(room.conversation.topic) as listener:
        assert room.chat.feed.count == 1
    assert room.chat.feed.count == 0
    assert listener.get(60) is None
    assert listener.is_closed
    assert listener.get(60) is None


def test_closing_ends_all_listeners_and_lets_nobody_in(room: Room) -> None:
    listeners = [room.chat.feed.listen(room.conversation.topic) for _ in range(3)]
    room.say("last")
    wait_until(lambda: all(listener._signals.qsize() for listener in listeners))
    room.chat.close()
    room.chat.close()
    for listener in [*listeners, room.chat.feed.listen(room.conversation.topic)]:
        while listener.get(60) is not None:
            pass
        assert listener.is_closed


def test_thousands_of_listeners_cost_no_threads(room: Room) -> None:
    room.chat.feed.listen(room.conversation.topic)
    before = threading.active_count()
    listeners = [room.chat.feed.listen(Topic.of_user(SCOPE, str(nth))) for nth in range(3000)]
    assert threading.active_count() <= before
    room.chat.feed.tell(Topic.of_user(SCOPE, "2999"), "chat", {})
    assert heard(listeners[2999], 1)[0].kind == "chat"


def test_old_rows_are_purged_and_new_ones_stay(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cometbot.chat.feed.PURGE_BATCH", 2)
    for text in "abcde":
        room.say(text)
    with room.chat.database.write() as connection:
        old = sa.update(chat_feed).where(chat_feed.c.position <= 4).values(at=1)
        connection.execute(old)
    room.chat.tidy()
    listener = room.chat.feed.listen(room.conversation.topic, after=0)
    assert texts(listener, 1) == ["e"]
    assert room.texts() == list("abcde")


def test_a_full_listener_still_hears_that_its_conversation_is_gone(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "CAPACITY", 2)
    listener = room.chat.feed.listen(room.conversation.topic)
    for number in range(5):
        room.say(f"number {number}")
    wait_until(lambda: not listener.has_room)
    with room.chat.database.write() as connection:
        signals = room.chat.conversations.delete(connection, SCOPE, room.id)
    room.chat.feed.publish(signals or ())
    kinds = []
    while not kinds or kinds[-1] != CONVERSATION_DELETED:
        signal = listener.get(60)
        assert signal is not None
        kinds.append(signal.kind)
    listener.close()


def test_the_feed_goes_on_after_an_unforeseen_error(
    room: Room, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listener = room.chat.feed.listen(room.conversation.topic)
    room.say("before")
    assert texts(listener, 1) == ["before"]
    read, failed = listening.FeedRows.read, threading.Event()

    def fail(*arguments: object) -> object:
        failed.set()
        raise ValueError("a broken row")

    monkeypatch.setattr(listening.FeedRows, "read", fail)
    room.say("while it fails")
    assert failed.wait(60)
    monkeypatch.setattr(listening.FeedRows, "read", read)
    room.say("after")
    assert texts(listener, 2) == ["while it fails", "after"]
    assert "a broken row" in caplog.text
    listener.close()


def test_halves_of_characters_are_kept_as_what_every_reader_can_read(room: Room) -> None:
    assert room.say("half \ud83d whole 😀").payload["text"] == "half \ufffd whole 😀"
    with room.chat.database.read() as connection:
        [message] = room.chat.messages.page(connection, SCOPE, room.id).items
    assert message.payload["text"] == "half \ufffd whole 😀"
