"""The marks of streams: what each commit stores of them."""

from __future__ import annotations

from typing import Any

import pytest

from cometbot.delivery.stream_marks import StreamMarks
from cometbot.messages import Operation, Text
from cometbot.models import Conversation
from cometbot.store.outbox import FIRST_MARK_ORDINAL, Draft, MarkChanges

HERE = Conversation("fake", "test", "helpdesk", "c", "maria")


def make_draft(key: int, text: str = "half") -> Draft:
    return Draft("m1", 0, FIRST_MARK_ORDINAL + key, HERE, [{"text": text}], target=key)


@pytest.fixture
def marks() -> StreamMarks:
    return StreamMarks("m1", 0)


def save(marks: StreamMarks) -> MarkChanges | None:
    changes = marks.get_changes()
    if changes is not None:
        marks.discard_saved(changes)
    return changes


def test_prepared_mark_is_stored_once(marks: StreamMarks) -> None:
    draft = make_draft(0)
    marks.prepare(0, draft)
    assert save(marks) == MarkChanges("m1", 0, prepared=[draft], dropped=[])
    assert save(marks) is None


def test_newer_mark_is_stored_although_a_commit_of_the_older_ends_later(marks: StreamMarks) -> None:
    older, newer = make_draft(0, "half"), make_draft(0, "half more")
    marks.prepare(0, older)
    changes: Any = marks.get_changes()
    marks.prepare(0, newer)
    marks.discard_saved(changes)
    assert save(marks) == MarkChanges("m1", 0, prepared=[newer], dropped=[])


@pytest.mark.parametrize(
    ("operation", "ordinal", "stream_id"),
    [
        (Operation(conversation=HERE, kind="edit", message=Text("whole"), target=4), 5, ""),
        (Operation(conversation=HERE, message=Text("whole"), stream_id="s"), 4, "s"),
        (Operation(conversation=HERE, message=Text("whole"), stream_id="s"), 5, "s"),
    ],
    ids=["edit", "send", "send after what the source said"],
)
def test_complete_text_deletes_the_mark(marks: StreamMarks, operation: Operation, ordinal: int, stream_id: str) -> None:
    marks.name(4, stream_id)
    marks.prepare(4, make_draft(4))
    save(marks)
    marks.complete(operation, ordinal)
    assert save(marks) == MarkChanges("m1", 0, prepared=[], dropped=[FIRST_MARK_ORDINAL + 4])
    assert marks.finish() == []


@pytest.mark.parametrize(
    "operation",
    [
        Operation(conversation=HERE, message=Text("another")),
        Operation(conversation=HERE, kind="edit", message=Text("another"), target=3),
        Operation(conversation=HERE, kind="edit", message=Text("another"), target=4, target_event="m0.0"),
    ],
    ids=["send", "edit", "edit of an earlier message"],
)
def test_another_operation_leaves_the_mark(marks: StreamMarks, operation: Operation) -> None:
    draft = make_draft(4)
    marks.prepare(4, draft)
    marks.complete(operation, 5)
    assert marks.finish() == [draft]


def test_broken_stream_is_marked_once(marks: StreamMarks) -> None:
    prepared, broken = make_draft(0, "half"), make_draft(0, "half more")
    marks.prepare(0, prepared)
    save(marks)
    marks.break_off(0, broken)
    assert marks.take_broken() == [broken]
    assert save(marks) == MarkChanges("m1", 0, prepared=[], dropped=[FIRST_MARK_ORDINAL])
    assert marks.get_sent(0) == FIRST_MARK_ORDINAL
    marks.prepare(0, prepared)
    assert marks.take_broken() == marks.finish() == []


def test_end_of_the_message_marks_all_streams_and_may_be_repeated(marks: StreamMarks) -> None:
    growing, broken = make_draft(3), make_draft(1)
    marks.prepare(3, growing)
    marks.break_off(1, broken)
    for _ in range(2):
        assert marks.finish() == [broken, growing]
        changes = marks.get_changes()
        assert changes == MarkChanges("m1", 0, [], [FIRST_MARK_ORDINAL + 1, FIRST_MARK_ORDINAL + 3])
