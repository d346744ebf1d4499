from __future__ import annotations

import pytest

from cometbot.simulator import Refusal, StoredMessage
from cometbot.simulator.message_store import MessageStore


def message(
    message_store: MessageStore,
    *,
    sent_at: int = 100,
    conversation: str = "group_a",
    muid: str = "",
    parent_id: str = "",
) -> StoredMessage:
    return message_store.add(
        StoredMessage(
            id=message_store.next_id(),
            conversation_id=conversation,
            sender="maria",
            receiver_type="group",
            receiver="a",
            category="message",
            type="text",
            data={"text": "x"},
            sent_at=sent_at,
            updated_at=sent_at,
            muid=muid,
            parent_id=parent_id,
        )
    )


def test_messages_are_found_by_id_conversation_thread_and_muid() -> None:
    message_store = MessageStore()
    first = message(message_store, muid="m1")
    second = message(message_store, conversation="group_b")
    reply = message(message_store, parent_id=first.id)
    assert message_store.get(first.id) == first
    assert list(message_store.messages("group_a")) == [first, reply]
    assert list(message_store.numbers(parent_id=first.id)) == [reply.number]
    assert message_store.find_by_muid("maria", "m1") == first
    assert message_store.find_by_muid("tom", "m1") is None
    assert list(message_store.messages()) == [first, second, reply]
    assert sorted(message_store.conversation_ids()) == ["group_a", "group_b"]


def test_a_clock_that_jumps_back_does_not_disorder_sent_at() -> None:
    message_store = MessageStore()
    message(message_store, sent_at=100)
    assert message(message_store, sent_at=90).sent_at == 100


def test_removing_leaves_no_trace() -> None:
    message_store = MessageStore()
    root = message(message_store)
    reply = message(message_store, parent_id=root.id, muid="m1")
    message_store.remove(reply)
    assert (list(message_store.numbers(parent_id=root.id)), message_store.find_by_muid("maria", "m1")) == ([], None)
    assert list(message_store.messages("group_a")) == [root]
    message_store.remove(root)
    assert (message_store.conversation_ids(), len(message_store)) == ([], 0)


@pytest.mark.parametrize("message_id", ["1", "", "x", "-1", "1.0", "²", "9" * 30])
def test_an_id_that_is_none_is_not_found(message_id: str) -> None:
    with pytest.raises(Refusal) as caught:
        MessageStore().get(message_id)
    assert (caught.value.code, caught.value.status) == ("ERR_MESSAGE_ID_NOT_FOUND", 404)
