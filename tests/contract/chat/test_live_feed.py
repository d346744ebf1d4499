"""The feed: what happens in one process is heard in every other one, once and in order."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
import sqlalchemy as sa

from cometbot.chat import (
    CONVERSATION_DELETED,
    EVENT_CREATED,
    MAX_EPHEMERAL_SIZE,
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    MESSAGE_UPDATED,
    PARTICIPANT_ADDED,
    PARTICIPANT_REMOVED,
    Chat,
    Draft,
    Listener,
    Topic,
    live_feed,
)
from cometbot.store.tables import chat_feed
from tests.contract.chat.conftest import SCOPE, MakeChat, Room, collecting, next_signals


def next_texts(listener: Listener, count: int) -> list[str]:
    return [signal.message.payload["text"] for signal in next_signals(listener, count) if signal.message]


def wait_until(condition: object, timeout: float = 60.0) -> None:
    assert callable(condition)
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.005)


@pytest.fixture
def other_process(make_chat: MakeChat, room: Room) -> Chat:
    """The same chat server in another process."""
    return make_chat()


@pytest.fixture
def short_poll_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "POLL_INTERVAL", 0.1)


def test_message_reaches_listeners_of_the_same_process(room: Room) -> None:
    listener = room.chat.feed.listen(room.conversation.topic)
    message = room.post("hello")
    [signal] = next_signals(listener, 1)
    assert (signal.kind, signal.message, signal.position) == (MESSAGE_CREATED, message, 1)
    assert listener.get(0) is None
    assert not listener.is_closed


def test_message_reaches_listeners_of_other_processes(
    room: Room, other_process: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_feed, "POLL_INTERVAL", 60.0)  # so that it is not found but told
    listener = other_process.feed.listen(room.conversation.topic)
    first = None
    while first is None:  # until the other process is all ears
        room.post("first")
        first = listener.get(0.5)
    began = time.monotonic()
    message = room.post("hello")
    found = None
    while found is None or found.message != message:
        found = listener.get(60)
    assert time.monotonic() - began < 30


def test_signals_arrive_in_order(room: Room, other_process: Chat) -> None:
    listener = other_process.feed.listen(room.conversation.topic, after=0)
    message = room.post("hello")
    with collecting(room.chat) as (connection, signals):
        event = room.chat.events.create(connection, SCOPE, room.id, room.ann.id, {"clicked": 1})
        room.chat.conversations.add_participant(connection, SCOPE, room.id, room.bob.id)
        edited = room.chat.messages.update(connection, SCOPE, message.id, {"text": "HELLO"})
        room.chat.conversations.remove_participant(connection, SCOPE, room.id, room.bob.id)
        room.chat.feed_table.add(connection, SCOPE, room.id, "event_of_bot", {"typing": True})
    room.chat.feed.publish(signals)
    found = next_signals(listener, 6)
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
    assert (found[1].event, found[3].message) == (event, edited)
    assert (found[2].data, found[4].data, found[5].data) == (
        {"user": room.bob.id},
        {"user": room.bob.id},
        {"typing": True},
    )
    assert [signal.at for signal in found] == sorted({signal.at for signal in found})


def test_deleted_message_is_signalled_only_as_deleted(room: Room) -> None:
    message = room.post("hello")
    room.post("stays")
    with room.chat.database.write() as connection:
        room.chat.messages.delete(connection, SCOPE, message.id)
    listener = room.chat.feed.listen(room.conversation.topic, after=0)
    found = next_signals(listener, 2)
    assert [signal.kind for signal in found] == [MESSAGE_CREATED, MESSAGE_DELETED]
    assert found[1].data == {"id": message.id, "sender": room.ann.id}


def test_reconnected_listener_receives_missed_signals(room: Room) -> None:
    listener = room.chat.feed.listen(room.conversation.topic)
    room.post("1")
    [signal] = next_signals(listener, 1)
    listener.close()
    room.post("2")
    room.post("3")
    again = room.chat.feed.listen(room.conversation.topic, after=signal.position)
    room.post("4")
    assert next_texts(again, 3) == ["2", "3", "4"]


def test_new_listener_receives_no_old_signals(room: Room) -> None:
    room.post("old")
    listener = room.chat.feed.listen(room.conversation.topic)
    room.post("new")
    assert next_texts(listener, 1) == ["new"]


@pytest.mark.usefixtures("short_poll_interval")
def test_poll_finds_unannounced_messages(room: Room, other_process: Chat) -> None:
    listener = other_process.feed.listen(room.conversation.topic)
    with room.chat.database.write() as connection:
        room.chat.messages.post(connection, SCOPE, room.id, Draft("ann", {"text": "untold"}))
    assert next_texts(listener, 1) == ["untold"]


def test_each_listener_receives_each_signal_once(room: Room, other_process: Chat) -> None:
    listeners = [
        chat.feed.listen(room.conversation.topic, after=0) for chat in (room.chat, other_process) for _ in range(3)
    ]
    said = [str(nth) for nth in range(30)]
    threads = [
        threading.Thread(target=lambda part=part: [room.post(text) for text in part])  # type: ignore[misc]
        for part in (said[:15], said[15:])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    expected = room.texts()
    assert [next_texts(listener, 30) for listener in listeners] == [expected] * 6
    assert [listener.get(0) for listener in listeners] == [None] * 6


def test_conversations_are_apart(room: Room) -> None:
    with room.chat.database.write() as connection:
        other = room.chat.conversations.create(connection, SCOPE, room.bob.id)
    listener, elsewhere = room.chat.feed.listen(room.conversation.topic), room.chat.feed.listen(other.topic)
    room.post("hello")
    assert next_texts(listener, 1) == ["hello"]
    assert elsewhere.get(0.1) is None


def test_listener_follows_and_unfollows_conversations(room: Room) -> None:
    with room.chat.database.write() as connection:
        other = room.chat.conversations.create(connection, SCOPE, room.ann.id)
        later = room.chat.conversations.create(connection, SCOPE, room.ann.id)
    listener = room.chat.feed.listen(room.conversation.topic, other.topic)
    listener.follow(later.topic)
    listener.unfollow(other.topic)
    with collecting(room.chat) as (connection, signals):
        for nth, conversation in enumerate((room.conversation, other, later)):
            room.chat.feed_table.add(connection, SCOPE, conversation.id, "said", {"in": nth})
    room.chat.feed.publish(signals)
    assert sorted(signal.data["in"] for signal in next_signals(listener, 2)) == [0, 2]
    assert listener.get(0.1) is None


def test_ephemeral_signal_is_received_and_not_stored(room: Room, other_process: Chat) -> None:
    near = room.chat.feed.listen(room.conversation.topic)
    far = other_process.feed.listen(room.conversation.topic)
    found = None
    while found is None:
        room.chat.feed.publish_ephemeral(room.conversation.topic, "typing", {"on": True, "ünï": "code"})
        found = far.get(0.5)
    for signal in (found, *next_signals(near, 1)):
        assert (signal.kind, signal.position, signal.data) == ("typing", 0, {"on": True, "ünï": "code"})
    late = room.chat.feed.listen(room.conversation.topic, after=0)
    assert late.get(0.1) is None


def test_user_topic_reaches_that_user(room: Room) -> None:
    topic = Topic.of_user(SCOPE, room.ann.id)
    listener = room.chat.feed.listen(topic, room.conversation.topic)
    room.chat.feed.publish_ephemeral(Topic.of_user(SCOPE, room.bob.id), "chat", {"id": "no"})
    room.chat.feed.publish_ephemeral(topic, "chat", {"id": "new"})
    [signal] = next_signals(listener, 1)
    assert (signal.topic, signal.data) == (topic, {"id": "new"})


def test_oversized_ephemeral_signal_is_rejected(room: Room) -> None:
    room.chat.feed.publish_ephemeral(room.conversation.topic, "delta", {"text": "x" * (MAX_EPHEMERAL_SIZE - 20)})
    with pytest.raises(ValueError, match="Split it"):
        room.chat.feed.publish_ephemeral(room.conversation.topic, "delta", {"text": "x" * MAX_EPHEMERAL_SIZE})


def test_deleted_conversation_is_signalled(room: Room, other_process: Chat) -> None:
    near = room.chat.feed.listen(room.conversation.topic)
    far = other_process.feed.listen(room.conversation.topic)
    with collecting(room.chat) as (connection, signals):
        room.chat.conversations.delete(connection, SCOPE, room.id)
    room.chat.feed.publish(signals)
    for listener in (near, far):
        [signal] = next_signals(listener, 1)
        assert (signal.kind, signal.topic) == (CONVERSATION_DELETED, room.conversation.topic)
        assert listener.get(0) is None


@pytest.mark.usefixtures("short_poll_interval")
def test_poll_finds_deleted_conversation(room: Room, other_process: Chat) -> None:
    listener = other_process.feed.listen(room.conversation.topic)
    with room.chat.database.write() as connection:
        room.chat.conversations.delete(connection, SCOPE, room.id)
    [signal] = next_signals(listener, 1)
    assert signal.kind == CONVERSATION_DELETED
    assert listener.get(0.3) is None, "told once"


def recreate_conversation(room: Room, id: str) -> None:
    """Another conversation takes the id of one that is deleted, and nobody is told."""
    with room.chat.database.write() as connection:
        assert room.chat.conversations.delete(connection, SCOPE, id)
    with room.chat.database.write() as connection:
        room.chat.conversations.create(connection, SCOPE, room.bob.id, id=id)


def is_over(listener: Listener) -> bool:
    """Whether all that it hears is that its conversation is gone."""
    [signal] = next_signals(listener, 1)
    return signal.kind == CONVERSATION_DELETED and listener.get(0.2) is None


@pytest.mark.parametrize("message_count", [0, 2])
def test_stored_signals_of_a_reused_id_are_not_received(room: Room, message_count: int) -> None:
    for _ in range(message_count):
        room.post("by ann")
    listener = room.chat.feed.listen(room.conversation.topic)
    recreate_conversation(room, room.id)
    for text in "abcd":
        room.post(text, by=room.bob.id)
    assert is_over(listener)
    room.post("e", by=room.bob.id)
    assert listener.get(0.2) is None


def test_ephemeral_signals_of_a_reused_id_are_not_received(room: Room, other_process: Chat) -> None:
    listener = room.chat.feed.listen(room.conversation.topic)
    recreate_conversation(room, room.id)
    fresh = room.chat.feed.listen(room.conversation.topic)
    room.chat.feed.publish_ephemeral(room.conversation.topic, "delta", {"text": "bob's secret"})
    [signal] = next_signals(fresh, 1)
    assert signal.data == {"text": "bob's secret"}
    assert is_over(listener)


@pytest.mark.usefixtures("short_poll_interval")
def test_poll_ends_listener_of_replaced_conversation(room: Room, other_process: Chat) -> None:
    room.post("by ann")
    listener = other_process.feed.listen(room.conversation.topic)
    recreate_conversation(room, room.id)
    fresh = other_process.feed.listen(room.conversation.topic)
    assert is_over(listener)
    room.post("by bob", by=room.bob.id)
    assert next_texts(fresh, 1) == ["by bob"]


def test_listener_of_new_conversation_outlives_the_old_one(room: Room) -> None:
    with collecting(room.chat) as (connection, signals):
        room.chat.conversations.delete(connection, SCOPE, room.id)
    with room.chat.database.write() as connection:
        room.chat.conversations.create(connection, SCOPE, room.bob.id, id=room.id)
    listener = room.chat.feed.listen(room.conversation.topic)
    room.chat.feed.publish(signals)  # late
    room.post("by bob", by=room.bob.id)
    assert next_texts(listener, 1) == ["by bob"]


def test_resumed_listener_ignores_replaced_conversation(room: Room) -> None:
    listener = room.chat.feed.listen(room.conversation.topic, after=0)
    recreate_conversation(room, room.id)
    room.post("by bob", by=room.bob.id)
    assert is_over(listener)


@pytest.mark.usefixtures("short_poll_interval")
def test_empty_conversation_yields_no_signal(room: Room) -> None:
    listener = room.chat.feed.listen(room.conversation.topic)
    assert listener.get(0.5) is None


def test_full_listener_catches_up_from_the_database(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "QUEUE_LIMIT", 4)
    ann = Topic.of_user(SCOPE, room.ann.id)
    listener, other = room.chat.feed.listen(room.conversation.topic, after=0), room.chat.feed.listen(ann)
    said = [str(nth) for nth in range(15)]
    for text in said:
        room.post(text)
    wait_until(lambda: not listener.has_capacity)
    room.chat.feed.publish_ephemeral(room.conversation.topic, "typing", {})  # dropped: there is no room
    room.chat.feed.publish_ephemeral(ann, "chat", {})
    next_signals(other, 1)  # so the one before it was brought, too
    assert listener._signals.qsize() == 4
    assert next_texts(listener, 15) == said


@pytest.mark.usefixtures("short_poll_interval")
def test_slow_listener_is_closed(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "QUEUE_LIMIT", 2)
    monkeypatch.setattr(live_feed, "FULL_TIMEOUT", 0.2)
    lazy = room.chat.feed.listen(room.conversation.topic)
    brisk = room.chat.feed.listen(room.conversation.topic)
    for text in "abc":
        room.post(text)
        assert next_texts(brisk, 1) == [text]
    wait_until(lambda: len(room.chat.feed._all_listeners) == 1)
    assert next_texts(lazy, 2) == ["a", "b"]
    assert lazy.get(60) is None
    assert lazy.is_closed
    room.post("d")
    assert next_texts(brisk, 1) == ["d"]


def test_a_closed_listener_comes_to_its_end_and_is_forgotten(room: Room) -> None:
    with closing(room.chat.feed.listen(room.conversation.topic)) as listener:
        assert len(room.chat.feed._all_listeners) == 1
    assert len(room.chat.feed._all_listeners) == 0
    assert listener.get(60) is None
    assert listener.is_closed
    assert listener.get(60) is None


def test_close_ends_listeners_and_refuses_new_ones(room: Room) -> None:
    listeners = [room.chat.feed.listen(room.conversation.topic) for _ in range(3)]
    room.post("last")
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
    room.chat.feed.publish_ephemeral(Topic.of_user(SCOPE, "2999"), "chat", {})
    assert next_signals(listeners[2999], 1)[0].kind == "chat"


def test_old_rows_are_purged_and_new_ones_stay(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cometbot.chat.feed_table.PURGE_BATCH_LIMIT", 2)
    for text in "abcde":
        room.post(text)
    with room.chat.database.write() as connection:
        old = sa.update(chat_feed).where(chat_feed.c.position <= 4).values(at=1)
        connection.execute(old)
    room.chat.clean_up()
    listener = room.chat.feed.listen(room.conversation.topic, after=0)
    assert next_texts(listener, 1) == ["e"]
    assert room.texts() == list("abcde")


def test_full_listener_receives_conversation_deleted(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_feed, "QUEUE_LIMIT", 2)
    listener = room.chat.feed.listen(room.conversation.topic)
    for number in range(5):
        room.post(f"number {number}")
    wait_until(lambda: not listener.has_capacity)
    with collecting(room.chat) as (connection, signals):
        room.chat.conversations.delete(connection, SCOPE, room.id)
    room.chat.feed.publish(signals)
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
    room.post("before")
    assert next_texts(listener, 1) == ["before"]
    read, failed = live_feed.FeedTable.read, threading.Event()

    def fail(*arguments: object) -> object:
        failed.set()
        raise ValueError("a broken row")

    monkeypatch.setattr(live_feed.FeedTable, "read", fail)
    room.post("while it fails")
    assert failed.wait(60)
    monkeypatch.setattr(live_feed.FeedTable, "read", read)
    room.post("after")
    assert next_texts(listener, 2) == ["while it fails", "after"]
    assert "a broken row" in caplog.text
    listener.close()


def test_lone_surrogates_are_replaced(room: Room) -> None:
    assert room.post("half \ud83d whole 😀").payload["text"] == "half \ufffd whole 😀"
    with room.chat.database.read() as connection:
        [message] = room.chat.messages.list_newest(connection, SCOPE, room.id).items
    assert message.payload["text"] == "half \ufffd whole 😀"
