"""Messages and events: stored once, in one order, found page by page."""

from __future__ import annotations

import threading

import pytest

from cometbot.chat import (
    EVENT_CREATED,
    MESSAGE_CREATED,
    MESSAGE_DELETED,
    MESSAGE_UPDATED,
    Chat,
    Draft,
    PostResult,
)
from cometbot.errors import AlreadyExists, BadCursor, ChatError, NotFound
from tests.contract.chat.conftest import SCOPE, MakeChat, Room, collecting


def test_a_message_is_found_as_it_was_posted(room: Room) -> None:
    message = room.post("hello", metadata={"page": "/faq"}, client_id="c1")
    with room.chat.database.read() as connection:
        assert room.chat.messages.get(connection, SCOPE, message.id) == message
        assert room.chat.messages.find_by_client_id(connection, SCOPE, room.id, "c1") == message
        assert room.chat.messages.find_by_client_id(connection, SCOPE, room.id, "") is None
    assert (message.conversation, message.sender, message.payload) == (
        room.id,
        room.ann.id,
        {"type": "text", "text": "hello"},
    )
    assert (message.metadata, message.client_id, message.is_bot, message.edited_at) == (
        {"page": "/faq"},
        "c1",
        False,
        None,
    )


def test_a_message_without_metadata_or_client_id_has_none(room: Room) -> None:
    message = room.post("hello", is_bot=True)
    assert (message.metadata, message.client_id, message.is_bot) == (None, "", True)


def test_what_is_posted_twice_under_one_client_id_is_stored_once(room: Room) -> None:
    first = room.post("hello", client_id="c1")
    with room.chat.database.write() as connection:
        again = room.chat.messages.post(
            connection, SCOPE, room.id, Draft(room.ann.id, {"type": "text", "text": "changed"}, client_id="c1")
        )
        elsewhere = room.chat.conversations.create(connection, SCOPE, room.ann.id)
        other = room.chat.messages.post(connection, SCOPE, elsewhere.id, Draft(room.ann.id, {}, client_id="c1"))
    assert again == PostResult(first, is_new=False)
    assert other.is_new
    assert room.texts() == ["hello"]


def test_concurrent_posts_of_one_client_id_store_once(make_chat: MakeChat) -> None:
    room = Room(make_chat())
    chats = [room.chat, make_chat(), make_chat()]
    gate = threading.Barrier(3)
    posted: list[PostResult] = []

    def post(chat: Chat) -> None:
        gate.wait(60)
        with chat.database.write() as connection:
            posted.append(chat.messages.post(connection, SCOPE, room.id, Draft("ann", {"text": "x"}, client_id="c")))

    threads = [threading.Thread(target=post, args=(chat,)) for chat in chats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(each.is_new for each in posted) == [False, False, True]
    assert len({each.message.id for each in posted}) == 1


def test_an_id_that_another_message_has_is_refused(room: Room) -> None:
    room.post("hello", id="m1")
    with pytest.raises(AlreadyExists):
        room.post("again", id="m1")


def test_nothing_is_posted_where_no_conversation_is(room: Room) -> None:
    with room.chat.database.write() as connection:
        with pytest.raises(NotFound):
            room.chat.messages.post(connection, SCOPE, "none", Draft("ann", {}))
        with pytest.raises(NotFound):
            room.chat.events.create(connection, SCOPE, "none", "ann", {})


def test_a_client_id_that_is_too_long_is_refused(room: Room) -> None:
    with pytest.raises(ChatError, match="500 characters"):
        room.post("hello", client_id="x" * 501)


def test_times_rise_strictly_whichever_process_posts(make_chat: MakeChat) -> None:
    room = Room(make_chat())
    chats = [room.chat, make_chat()]
    gate = threading.Barrier(4)

    def post(chat: Chat) -> None:
        gate.wait(60)
        for nth in range(10):
            room.post(f"{nth}", chat=chat)

    threads = [threading.Thread(target=post, args=(chats[nth % 2],)) for nth in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    with room.chat.database.read() as connection:
        found = room.chat.messages.list_before(connection, SCOPE, room.id, limit=100).items
        conversation = room.chat.conversations.get(connection, SCOPE, room.id)
    times = [message.at for message in found]
    assert len(times) == 40
    assert times == sorted(set(times))
    assert conversation is not None
    assert (conversation.last_at, conversation.position) == (times[-1], 40)


def test_times_rise_where_the_clock_stands_still(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cometbot.chat.queries.now_ms", lambda database: room.conversation.last_at - 5000)
    with room.chat.database.write() as connection:
        event = room.chat.events.create(connection, SCOPE, room.id, "ann", {})
    first, second = room.post("a"), room.post("b")
    last = room.conversation.last_at
    assert (event.at, first.at, second.at) == (last + 1, last + 2, last + 3)


def test_edit_sets_its_time_and_keeps_the_position(room: Room) -> None:
    first, second = room.post("a", metadata={"x": 1}), room.post("b")
    with collecting(room.chat) as (connection, signals):
        message = room.chat.messages.update(connection, SCOPE, first.id, {"type": "text", "text": "A"})
        assert message is not None
        assert room.chat.messages.get(connection, SCOPE, first.id) == message
        bare = room.chat.messages.update(connection, SCOPE, second.id, {"type": "text", "text": "B"}, {"y": 2})
        assert bare is not None
        none = room.chat.messages.update(connection, SCOPE, second.id, {"type": "text", "text": "B"}, None)
        assert none is not None
        assert room.chat.messages.update(connection, SCOPE, "none", {}) is None
    assert (message.at, message.metadata) == (first.at, {"x": 1})
    assert message.edited_at is not None
    assert message.edited_at > second.at
    assert (bare.metadata, none.metadata) == ({"y": 2}, None)
    assert [(signal.kind, signal.message) for signal in signals] == [
        (MESSAGE_UPDATED, message),
        (MESSAGE_UPDATED, bare),
        (MESSAGE_UPDATED, none),
    ]
    assert room.texts() == ["A", "B"]


def test_deleted_message_is_gone_and_signalled(room: Room) -> None:
    message = room.post("hello")
    with collecting(room.chat) as (connection, signals):
        assert room.chat.messages.delete(connection, SCOPE, message.id)
        assert room.chat.messages.get(connection, SCOPE, message.id) is None
        assert not room.chat.messages.delete(connection, SCOPE, message.id)
    assert [(signal.kind, signal.data) for signal in signals] == [
        (MESSAGE_DELETED, {"id": message.id, "sender": room.ann.id})
    ]


def test_pages_stay_as_they_are_while_messages_arrive_and_go(room: Room) -> None:
    texts = [str(nth) for nth in range(7)]
    messages = [room.post(text) for text in texts]
    pages = []
    with room.chat.database.read() as connection:
        page = room.chat.messages.list_newest(connection, SCOPE, room.id, limit=3)
    pages.append([message.payload["text"] for message in page.items])
    room.post("new")
    with room.chat.database.write() as connection:
        room.chat.messages.delete(connection, SCOPE, messages[4].id)  # the last one of the first page
    while page.next:
        with room.chat.database.read() as connection:
            page = room.chat.messages.list_newest(connection, SCOPE, room.id, cursor=page.next, limit=3)
        pages.append([message.payload["text"] for message in page.items])
    assert pages == [["6", "5", "4"], ["3", "2", "1"], ["0"]]


@pytest.mark.parametrize("cursor", ["nonsense", "WyJhIl0", "W10", "WzFlOTld"])
def test_a_cursor_that_is_none_is_refused(room: Room, cursor: str) -> None:
    with room.chat.database.read() as connection, pytest.raises(BadCursor):
        room.chat.messages.list_newest(connection, SCOPE, room.id, cursor=cursor)


def test_messages_before_and_after_a_time_come_oldest_first(room: Room) -> None:
    messages = [room.post(str(nth)) for nth in range(5)]
    with room.chat.database.read() as connection:
        newest = room.chat.messages.list_before(connection, SCOPE, room.id, limit=2)
        older = room.chat.messages.list_before(connection, SCOPE, room.id, messages[3].at, limit=5)
        newer = room.chat.messages.list_after(connection, SCOPE, room.id, messages[1].at, limit=2)
        rest = room.chat.messages.list_after(connection, SCOPE, room.id, messages[3].at, limit=2)
        assert room.chat.messages.list_after(connection, SCOPE, room.id, 10**30).items == []
        assert len(room.chat.messages.list_before(connection, SCOPE, room.id, 10**30).items) == 5
    assert newest.items == messages[3:]
    assert newest.next
    assert older.items == messages[:3]
    assert not older.next
    assert newer.items == messages[2:4]
    assert newer.next
    assert rest.items == messages[4:]
    assert not rest.next


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, "m0 m1 m2 m3 m4 of 5"),
        ({"limit": 2}, "m3 m4 of 5"),
        ({"limit": 2, "page": 2}, "m1 m2 of 5"),
        ({"limit": 2, "page": 3}, "m0 of 5"),
        ({"limit": 2, "page": 4}, " of 5"),
        ({"limit": 2, "page": 0}, "m3 m4 of 5"),
        ({"limit": 2, "page": -7}, "m3 m4 of 5"),
        ({"limit": 2, "page": 10**30}, " of 5"),
        ({"limit": 0}, " of 5"),
        ({"limit": -1}, " of 5"),
        ({"limit": 10**9}, "m0 m1 m2 m3 m4 of 5"),
        ({"sender": "helper"}, "m1 m3 of 2"),
        ({"sender": "nobody"}, " of 0"),
        ({"since": 10**30}, " of 0"),
        ({"since": -1}, "m0 m1 m2 m3 m4 of 5"),
    ],
)
def test_numbered_pages_count_from_the_newest(room: Room, asked: dict[str, int], expected: str) -> None:
    for nth in range(5):
        room.post(f"m{nth}", by="helper" if nth in (1, 3) else room.ann.id)
    with room.chat.database.read() as connection:
        found = room.chat.messages.list_numbered(connection, SCOPE, room.id, **asked)  # type: ignore[arg-type]
    assert f"{' '.join(message.payload['text'] for message in found.items)} of {found.total}" == expected


def test_since_is_later_than_that_time_and_not_at_it(room: Room) -> None:
    first, second = room.post("a"), room.post("b")
    with room.chat.database.read() as connection:
        assert room.chat.messages.list_numbered(connection, SCOPE, room.id, since=first.at).items == [second]
        assert room.chat.messages.list_numbered(connection, SCOPE, room.id, since=first.at - 1).total == 2


def test_the_last_message_of_each_conversation(room: Room) -> None:
    room.post("a")
    last = room.post("b")
    with room.chat.database.write() as connection:
        empty = room.chat.conversations.create(connection, SCOPE, room.ann.id)
        assert room.chat.messages.get_newest(connection, [room.conversation, empty]) == {room.id: last}


def test_event_is_stored_apart_from_messages(room: Room) -> None:
    with collecting(room.chat) as (connection, signals):
        event = room.chat.events.create(connection, SCOPE, room.id, room.ann.id, {"clicked": "buy"}, id="e1")
        assert room.chat.events.get(connection, SCOPE, "e1") == event
        with pytest.raises(AlreadyExists):
            room.chat.events.create(connection, SCOPE, room.id, room.ann.id, {}, id="e1")
    assert (event.sender, event.payload) == (room.ann.id, {"clicked": "buy"})
    assert [(signal.kind, signal.event) for signal in signals] == [(EVENT_CREATED, event)]
    assert room.texts() == []


def test_what_a_view_does_in_one_transaction_is_done_or_not_done(room: Room) -> None:
    def fail() -> None:
        with room.chat.database.write() as connection:
            room.chat.messages.post(connection, SCOPE, room.id, Draft(room.ann.id, {"text": "lost"}))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with room.chat.database.read() as connection:
        found = room.chat.conversations.get(connection, SCOPE, room.id)
    assert found == room.conversation
    assert room.texts() == []


def test_new_message_is_signalled(room: Room) -> None:
    with collecting(room.chat) as (connection, signals):
        posted = room.chat.messages.post(connection, SCOPE, room.id, Draft(room.ann.id, {"text": "x"}))
    [signal] = signals
    assert (signal.kind, signal.message, signal.position) == (MESSAGE_CREATED, posted.message, 1)
