from __future__ import annotations

import pytest

from cometbot.simulator import Refusal, StoredMessage
from cometbot.simulator.archive import Archive


def message(
    archive: Archive, *, sent_at: int = 100, conversation: str = "group_a", muid: str = "", parent_id: str = ""
) -> StoredMessage:
    return archive.add(
        StoredMessage(
            id=archive.next_id(),
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
    archive = Archive()
    first = message(archive, muid="m1")
    second = message(archive, conversation="group_b")
    reply = message(archive, parent_id=first.id)
    assert archive.get(first.id) == first
    assert list(archive.messages("group_a")) == [first, reply]
    assert list(archive.numbers(parent_id=first.id)) == [reply.number]
    assert archive.find_muid("maria", "m1") == first
    assert archive.find_muid("tom", "m1") is None
    assert list(archive.messages()) == [first, second, reply]
    assert sorted(archive.conversation_ids()) == ["group_a", "group_b"]


def test_a_clock_that_jumps_back_does_not_disorder_sent_at() -> None:
    archive = Archive()
    message(archive, sent_at=100)
    assert message(archive, sent_at=90).sent_at == 100


def test_removing_leaves_no_trace() -> None:
    archive = Archive()
    root = message(archive)
    reply = message(archive, parent_id=root.id, muid="m1")
    archive.remove(reply)
    assert (list(archive.numbers(parent_id=root.id)), archive.find_muid("maria", "m1")) == ([], None)
    assert list(archive.messages("group_a")) == [root]
    archive.remove(root)
    assert (archive.conversation_ids(), len(archive)) == ([], 0)


@pytest.mark.parametrize("message_id", ["1", "", "x", "-1", "1.0", "²", "9" * 30])
def test_an_id_that_is_none_is_not_found(message_id: str) -> None:
    with pytest.raises(Refusal) as caught:
        Archive().get(message_id)
    assert (caught.value.code, caught.value.status) == ("ERR_MESSAGE_ID_NOT_FOUND", 404)
