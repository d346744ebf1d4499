"""Users: made once, changed field by field, and gone with all that was theirs."""

from __future__ import annotations

import io
import threading

import pytest

from cometbot.chat import (
    CONVERSATION_DELETED,
    MESSAGE_DELETED,
    PARTICIPANT_REMOVED,
    Chat,
    ChatUser,
    Scope,
    users,
)
from cometbot.errors import AlreadyExists, BadCursor, ChatError
from tests.contract.chat.conftest import SCOPE, MakeChat, Room, collecting


def test_a_new_user_has_an_id_and_what_was_said_of_it(chat: Chat) -> None:
    with chat.database.write() as connection:
        made = chat.users.create(connection, SCOPE, {"name": "Ann", "picture": None})
        assert chat.users.get(connection, SCOPE, made.id) == made
    assert made.data == {"name": "Ann"}
    assert len(made.id) == 26
    assert made.created_at == made.updated_at == made.seen_at


def test_an_id_is_given_once(chat: Chat) -> None:
    with chat.database.write() as connection:
        chat.users.create(connection, SCOPE, {}, id="ann/7")
        with pytest.raises(AlreadyExists):
            chat.users.create(connection, SCOPE, {}, id="ann/7")


def test_get_or_create_user_updates_only_given_data(chat: Chat) -> None:
    with chat.database.write() as connection:
        first, is_new = chat.users.get_or_create(connection, SCOPE, "ann", {"name": "Ann", "profile": "free"})
        assert is_new
        second, is_new = chat.users.get_or_create(connection, SCOPE, "ann", {"name": "Anna"})
        assert not is_new
        same, _ = chat.users.get_or_create(connection, SCOPE, "ann", {})
    assert second.data == {"name": "Anna", "profile": "free"}
    assert second.created_at == first.created_at
    assert second.updated_at > first.updated_at
    assert same == second


def test_concurrent_get_or_create_yields_one_user(make_chat: MakeChat) -> None:
    chats = [make_chat(), make_chat()]
    gate = threading.Barrier(2)
    found: list[tuple[ChatUser, bool]] = []

    def ensure(chat: Chat) -> None:
        gate.wait(60)
        with chat.database.write() as connection:
            found.append(chat.users.get_or_create(connection, SCOPE, "ann", {"name": "Ann"}))

    threads = [threading.Thread(target=ensure, args=(chat,)) for chat in chats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(is_new for _, is_new in found) == [False, True]
    with chats[0].database.read() as connection:
        assert len(chats[0].users.list(connection, SCOPE, limit=1000).items) == 1


def test_update_merges_and_removes_none_values(chat: Chat) -> None:
    with chat.database.write() as connection:
        ann = chat.users.create(connection, SCOPE, {"name": "Ann", "profile": "x"})
        changed = chat.users.update(connection, SCOPE, ann.id, {"profile": None, "picture": "p"})
        assert changed is not None
        assert changed.data == {"name": "Ann", "picture": "p"}
        assert chat.users.get(connection, SCOPE, ann.id) == changed
        assert chat.users.update(connection, SCOPE, "nobody", {"name": "x"}) is None


def test_users_are_listed_page_by_page_while_others_come(chat: Chat) -> None:
    with chat.database.write() as connection:
        ids = [chat.users.create(connection, SCOPE, {}, id=f"u{nth}").id for nth in range(5)]
        page = chat.users.list(connection, SCOPE, limit=2)
        seen = [user.id for user in page.items]
        chat.users.create(connection, SCOPE, {}, id="zz")
        while page.next:
            page = chat.users.list(connection, SCOPE, cursor=page.next, limit=2)
            seen += [user.id for user in page.items]
        assert seen == [*ids, "zz"]
        assert len(chat.users.list(connection, SCOPE, limit=1000).items) == 6


@pytest.mark.parametrize("cursor", ["x", "äö", "W10", "WzFd", "WyJhIiwxXQ", "a" * 5000, "WzFlMzAsImEiXQ"])
def test_a_cursor_that_is_none_is_refused(chat: Chat, cursor: str) -> None:
    with chat.database.read() as connection, pytest.raises(BadCursor):
        chat.users.list(connection, SCOPE, cursor=cursor)


@pytest.mark.parametrize("odd", ["a\0b", "\ud800", "x" * 5000, "", "'; DROP TABLE chat_users; --", "../../etc"])
def test_an_odd_id_is_nobodys(chat: Chat, odd: str) -> None:
    with chat.database.write() as connection:
        assert chat.users.get(connection, SCOPE, odd) is None
        assert chat.users.update(connection, SCOPE, odd, {"name": "x"}) is None
        assert not chat.users.delete(connection, SCOPE, odd)
        assert not chat.conversations.has_participant(connection, SCOPE, odd, odd)
        assert chat.conversations.get(connection, SCOPE, odd) is None
        assert not chat.conversations.delete(connection, SCOPE, odd)
        assert chat.messages.get(connection, SCOPE, odd) is None
        assert not chat.messages.delete(connection, SCOPE, odd)
        assert chat.events.get(connection, SCOPE, odd) is None
        assert chat.files.get(connection, SCOPE, odd) is None
        assert chat.messages.list_newest(connection, SCOPE, odd).items == []
        assert chat.conversations.list_owned(connection, SCOPE, odd).items == []
        assert len(chat.users.list(connection, SCOPE, limit=1000).items) == 0


def test_an_id_that_is_too_long_is_refused_and_odd_data_are_kept(chat: Chat) -> None:
    with chat.database.write() as connection:
        with pytest.raises(ChatError, match="500 characters"):
            chat.users.create(connection, SCOPE, {}, id="x" * 501)
        ann = chat.users.create(connection, SCOPE, {"name": "a\0\ud800b"})
        found = chat.users.get(connection, SCOPE, ann.id)
    assert found is not None
    assert found.data == {"name": "a\0\ufffdb"}


def test_data_that_are_nested_without_end_are_refused(chat: Chat) -> None:
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with chat.database.write() as connection, pytest.raises(ChatError, match="not JSON"):
        chat.users.create(connection, SCOPE, deep)


def test_deleting_a_user_removes_only_own_data(room: Room) -> None:
    chat, ann, bob = room.chat, room.ann, room.bob
    with chat.database.write() as connection:
        chat.conversations.add_participant(connection, SCOPE, room.id, bob.id)
        own = chat.conversations.create(connection, SCOPE, bob.id)
        event = chat.events.create(connection, SCOPE, room.id, bob.id, {"clicked": 1})
        upload = chat.files.receive(io.BytesIO(b"hello"), name="a.txt", limits={"file": 10})
        file = chat.files.save(connection, SCOPE, upload, bob.id)
    kept, gone = room.post("by ann"), room.post("by bob", by=bob.id)
    room.post("by a bot of the same name", by=bob.id, is_bot=True)

    with collecting(chat) as (connection, signals):
        assert chat.users.delete(connection, SCOPE, bob.id)

    assert sorted((signal.kind, signal.topic.id) for signal in signals) == sorted(
        [(CONVERSATION_DELETED, own.id), (MESSAGE_DELETED, room.id), (PARTICIPANT_REMOVED, room.id)]
    )
    with chat.database.read() as connection:
        assert chat.users.get(connection, SCOPE, bob.id) is None
        assert chat.conversations.get(connection, SCOPE, own.id) is None
        assert not chat.conversations.has_participant(connection, SCOPE, room.id, bob.id)
        assert chat.messages.get(connection, SCOPE, gone.id) is None
        assert chat.events.get(connection, SCOPE, event.id) is None
        assert chat.files.get(connection, SCOPE, file.id) is None
        assert chat.messages.get(connection, SCOPE, kept.id) == kept
        assert chat.users.get(connection, SCOPE, ann.id) is not None
    assert room.texts() == ["by ann", "by a bot of the same name"]


def test_messages_of_deleted_user_go_in_batches(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "BATCH_LIMIT", 2)
    chat, bob = room.chat, room.bob
    for number in range(5):
        room.post(f"by bob {number}", by=bob.id)
    room.post("by ann")

    with collecting(chat) as (connection, signals):
        left = chat.users.start_delete(connection, SCOPE, bob.id)
        assert left is not None
        assert chat.users.get(connection, SCOPE, bob.id) is None
        assert chat.users.start_delete(connection, SCOPE, bob.id) is None
    assert signals == []
    with chat.database.write() as connection:
        chat.users.create(connection, SCOPE, {}, id=bob.id)
    room.post("by another bob", by=bob.id)

    sizes, is_over = [], False
    while not is_over:
        with chat.database.read() as connection:
            assert chat.users.find_unfinished_removals(connection, SCOPE.channel) == [left]
            assert chat.users.find_unfinished_removals(connection, "another door") == []
        with chat.database.write() as connection:
            told, is_over = chat.users.continue_delete(connection, left)
        assert {signal.kind for signal in told} == {MESSAGE_DELETED}
        sizes.append(len(told))
    assert sizes == [2, 2, 1]
    assert room.texts() == ["by ann", "by another bob"]
    with chat.database.write() as connection:
        assert chat.users.find_unfinished_removals(connection, SCOPE.channel) == []
        assert chat.users.continue_delete(connection, left) == ([], True)


def test_a_deleted_user_can_be_made_anew_under_the_same_id(chat: Chat) -> None:
    with chat.database.write() as connection:
        chat.users.create(connection, SCOPE, {"name": "Ann"}, id="ann")
        chat.users.delete(connection, SCOPE, "ann")
        again, is_new = chat.users.get_or_create(connection, SCOPE, "ann", {})
    assert is_new
    assert again.data == {}


def test_channel_users_own_conversations_of_several_bots(chat: Chat) -> None:
    platform = Scope("platform")
    with chat.database.write() as connection:
        ann = chat.users.create(connection, platform, {"name": "Ann"})
        ours = chat.conversations.create(connection, Scope("platform", "a"), ann.id)
        theirs = chat.conversations.create(connection, Scope("platform", "b"), ann.id)
        assert [found.id for found in chat.conversations.list_owned(connection, platform, ann.id).items] == [
            theirs.id,
            ours.id,
        ]
        assert chat.conversations.get(connection, platform, theirs.id) == theirs
        assert chat.conversations.get(connection, Scope("platform", "a"), theirs.id) is None
    with collecting(chat) as (connection, signals):
        assert chat.users.delete(connection, platform, ann.id)
        assert {signal.topic.id for signal in signals} == {ours.id, theirs.id}


def test_snapshot_reads_one_state(chat: Chat) -> None:
    with chat.database.write() as connection:
        ann = chat.users.create(connection, SCOPE, {"name": "Ann"})
    with chat.database.snapshot() as reading:
        before = chat.users.get(reading, SCOPE, ann.id)
        with chat.database.write() as connection:
            chat.users.update(connection, SCOPE, ann.id, {"name": "Eve"})
        assert chat.users.get(reading, SCOPE, ann.id) == before
    with chat.database.snapshot() as reading:
        assert chat.users.get(reading, SCOPE, ann.id) != before
