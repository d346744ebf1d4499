"""Conversations and who takes part in them."""

from __future__ import annotations

import threading

import pytest

from cometbot.chat import (
    CONVERSATION_DELETED,
    CONVERSATION_UPDATED,
    PARTICIPANT_ADDED,
    PARTICIPANT_REMOVED,
    Chat,
    ChatConversation,
    Scope,
)
from cometbot.errors import AlreadyExists, BadCursor, NotFound
from tests.contract.chat.conftest import SCOPE, MakeChat, Room, collecting


def test_who_makes_a_conversation_owns_it_and_takes_part(room: Room) -> None:
    with room.chat.database.read() as connection:
        found = room.chat.conversations.get(connection, SCOPE, room.id)
        assert found == room.conversation
        assert found.owner == room.ann.id
        assert room.chat.conversations.has_participant(connection, SCOPE, room.id, room.ann.id)
        assert not room.chat.conversations.has_participant(connection, SCOPE, room.id, room.bob.id)
        assert room.chat.conversations.get_participant(connection, SCOPE, room.id, room.ann.id) == room.ann
        assert room.chat.conversations.get_participant(connection, SCOPE, room.id, room.bob.id) is None


def test_an_id_is_given_once_and_may_hold_slashes(chat: Chat) -> None:
    with chat.database.write() as connection:
        made = chat.conversations.create(connection, SCOPE, "ann", id="order/42\\x", data={"title": "Order"})
        assert made.id == "order/42\\x"
        assert made.data == {"title": "Order"}
        with pytest.raises(AlreadyExists):
            chat.conversations.create(connection, SCOPE, "bob", id="order/42\\x")


def test_refused_id_keeps_its_owner(chat: Chat) -> None:
    with chat.database.write() as connection:
        first = chat.conversations.create(connection, SCOPE, "ann", id="order-42")
        with pytest.raises(AlreadyExists):
            chat.conversations.create(connection, SCOPE, "bob", id="order-42")
        assert chat.conversations.get(connection, SCOPE, "order-42") == first
        assert not chat.conversations.has_participant(connection, SCOPE, "order-42", "bob")


def test_concurrent_creations_yield_one_conversation(make_chat: MakeChat) -> None:
    chats = [make_chat(), make_chat()]
    gate = threading.Barrier(2)
    found: list[ChatConversation | None] = []

    def create(chat: Chat) -> None:
        gate.wait(60)
        try:
            with chat.database.write() as connection:
                found.append(chat.conversations.create(connection, SCOPE, "ann", id="order-42"))
        except AlreadyExists:
            found.append(None)

    threads = [threading.Thread(target=create, args=(chat,)) for chat in chats]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [conversation.id for conversation in found if conversation] == ["order-42"]
    assert len(found) == 2


def test_update_merges_and_is_signalled(room: Room) -> None:
    with room.chat.database.write() as connection:
        room.chat.conversations.update(connection, SCOPE, room.id, {"title": "Mugs", "x": 1})
    with collecting(room.chat) as (connection, signals):
        conversation = room.chat.conversations.update(connection, SCOPE, room.id, {"x": None})
        assert conversation is not None
        assert room.chat.conversations.get(connection, SCOPE, room.id) == conversation
        assert room.chat.conversations.update(connection, SCOPE, "none", {"title": "x"}) is None
    assert conversation.data == {"title": "Mugs"}
    assert conversation.updated_at > room.conversation.updated_at
    assert [(signal.kind, signal.topic, signal.position) for signal in signals] == [
        (CONVERSATION_UPDATED, room.conversation.topic, 2)
    ]


def test_participants_are_paged_in_joining_order(room: Room) -> None:
    conversations = room.chat.conversations
    with room.chat.database.write() as connection:
        others = [room.chat.users.create(connection, SCOPE, {}, id=name).id for name in ("zoe", "cid", "bea")]
        for user in others:
            conversations.add_participant(connection, SCOPE, room.id, user)
        page = conversations.list_participants(connection, SCOPE, room.id, limit=3)
        seen = [user.id for user in page.items]
        conversations.add_participant(connection, SCOPE, room.id, room.bob.id)
        while page.next:
            page = conversations.list_participants(connection, SCOPE, room.id, cursor=page.next, limit=3)
            seen += [user.id for user in page.items]
    assert seen == [room.ann.id, *others, room.bob.id]


def test_adding_twice_joins_once_and_signals_twice(room: Room) -> None:
    with collecting(room.chat) as (connection, signals):
        room.chat.conversations.add_participant(connection, SCOPE, room.id, room.bob.id)
        room.chat.conversations.add_participant(connection, SCOPE, room.id, room.bob.id)
        page = room.chat.conversations.list_participants(connection, SCOPE, room.id)
    assert [user.id for user in page.items] == [room.ann.id, room.bob.id]
    assert [(signal.kind, signal.data) for signal in signals] == [
        (PARTICIPANT_ADDED, {"user": room.bob.id}),
        (PARTICIPANT_ADDED, {"user": room.bob.id}),
    ]


def test_removed_participant_is_signalled_after_removal(room: Room) -> None:
    conversations = room.chat.conversations
    with room.chat.database.write() as connection:
        conversations.add_participant(connection, SCOPE, room.id, room.bob.id)
    with collecting(room.chat) as (connection, signals):
        conversations.remove_participant(connection, SCOPE, room.id, room.bob.id)
        conversations.remove_participant(connection, SCOPE, room.id, room.bob.id)
        assert [(signal.kind, signal.data) for signal in signals] == [(PARTICIPANT_REMOVED, {"user": room.bob.id})]
        assert not conversations.has_participant(connection, SCOPE, room.id, room.bob.id)


def test_nobody_is_added_to_a_conversation_that_does_not_exist(chat: Chat) -> None:
    with pytest.raises(NotFound), chat.database.write() as connection:
        chat.conversations.add_participant(connection, SCOPE, "none", "ann")


def test_a_deleted_conversation_leaves_nothing(room: Room) -> None:
    message = room.post("hello")
    with room.chat.database.write() as connection:
        event = room.chat.events.create(connection, SCOPE, room.id, room.ann.id, {})
    with collecting(room.chat) as (connection, signals):
        assert room.chat.conversations.delete(connection, SCOPE, room.id)
        assert [(signal.kind, signal.topic, signal.position) for signal in signals] == [
            (CONVERSATION_DELETED, room.conversation.topic, 0)
        ]
        assert room.chat.conversations.get(connection, SCOPE, room.id) is None
        assert room.chat.messages.get(connection, SCOPE, message.id) is None
        assert room.chat.events.get(connection, SCOPE, event.id) is None
        assert not room.chat.conversations.has_participant(connection, SCOPE, room.id, room.ann.id)
        assert not room.chat.conversations.delete(connection, SCOPE, room.id)
        again = room.chat.conversations.create(connection, SCOPE, room.ann.id, id=room.id)
        assert room.chat.messages.list_newest(connection, SCOPE, again.id).items == []


def test_owned_conversations_are_listed_newest_first(chat: Chat) -> None:
    conversations = chat.conversations
    with chat.database.write() as connection:
        ids = [conversations.create(connection, SCOPE, "ann", id=f"c{nth}").id for nth in range(5)]
        conversations.create(connection, SCOPE, "bob", id="bobs")
        page = conversations.list_owned(connection, SCOPE, "ann", limit=2)
        seen = [conversation.id for conversation in page.items]
        conversations.create(connection, SCOPE, "ann", id="c9")
        while page.next:
            page = conversations.list_owned(connection, SCOPE, "ann", cursor=page.next, limit=2)
            seen += [conversation.id for conversation in page.items]
        assert seen == list(reversed(ids))
        oldest = conversations.list_owned(connection, SCOPE, "ann", limit=2, oldest_first=True)
        rest = conversations.list_owned(connection, SCOPE, "ann", cursor=oldest.next, oldest_first=True)
        assert [conversation.id for conversation in [*oldest.items, *rest.items]] == [*ids, "c9"]
        assert conversations.count_owned(connection, SCOPE, "ann") == 6
        assert len(conversations.list(connection, SCOPE).items) == 7
        with pytest.raises(BadCursor):
            conversations.list_owned(connection, SCOPE, "ann", cursor="WzFd")
        with pytest.raises(BadCursor):
            conversations.list_participants(connection, SCOPE, "c1", cursor="?")


def test_nothing_crosses_a_scope(room: Room) -> None:
    """The same ids behind another bot, and behind another channel, are other things."""
    chat, message = room.chat, room.post("ours")
    with chat.database.write() as connection:
        event = chat.events.create(connection, SCOPE, room.id, room.ann.id, {"ours": 1})
    for stranger in (Scope("door", "other"), Scope("other", "helpdesk"), Scope("third")):
        with chat.database.write() as connection:
            assert chat.users.get(connection, stranger, room.ann.id) is None
            assert chat.users.update(connection, stranger, room.ann.id, {"name": "x"}) is None
            assert not chat.users.delete(connection, stranger, room.ann.id)
            assert chat.users.list(connection, stranger).items == []
            assert chat.conversations.get(connection, stranger, room.id) is None
            assert chat.conversations.update(connection, stranger, room.id, {"x": 1}) is None
            assert not chat.conversations.delete(connection, stranger, room.id)
            assert chat.conversations.list(connection, stranger).items == []
            assert chat.conversations.list_owned(connection, stranger, room.ann.id).items == []
            assert chat.conversations.count_owned(connection, stranger, room.ann.id) == 0
            assert not chat.conversations.has_participant(connection, stranger, room.id, room.ann.id)
            assert chat.conversations.list_participants(connection, stranger, room.id).items == []
            chat.conversations.remove_participant(connection, stranger, room.id, room.ann.id)
            assert chat.messages.get(connection, stranger, message.id) is None
            assert chat.messages.update(connection, stranger, message.id, {}) is None
            assert not chat.messages.delete(connection, stranger, message.id)
            assert chat.messages.list_newest(connection, stranger, room.id).items == []
            assert chat.messages.list_numbered(connection, stranger, room.id).total == 0
            assert chat.messages.list_after(connection, stranger, room.id, 0).items == []
            assert chat.events.get(connection, stranger, event.id) is None
            with pytest.raises(NotFound):
                chat.feed_table.add(connection, stranger, room.id, "x", {})
            chat.users.get_or_create(connection, stranger, room.ann.id, {"name": "Another"})
    with chat.database.read() as connection:
        assert chat.users.get(connection, SCOPE, room.ann.id) == room.ann
        assert chat.messages.get(connection, SCOPE, message.id) == message
    assert room.texts() == ["ours"]
