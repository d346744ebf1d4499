"""How files end, for those who wait and those who ask late."""

from __future__ import annotations

import threading

import pytest

from cometbot.channels.simplex.protocol import Record
from cometbot.channels.simplex.transfers import Transfers


def complete(file_id: int, path: str = "a.txt") -> Record:
    file = {"fileId": file_id, "fileName": "a.txt", "fileSize": 1, "fileStatus": {"type": "rcvComplete"},
            "fileSource": {"filePath": path}}  # fmt: skip
    meta = {"itemId": 20, "itemTs": "2026-03-01T10:00:05Z"}
    item = {"chatDir": {"type": "directRcv"}, "meta": meta, "content": {"type": "rcvMsgContent"}, "file": file}
    chat = {"type": "direct", "contact": {"contactId": 4}}
    return Record("rcvFileComplete", {"chatItem": {"chatInfo": chat, "chatItem": item}})


def failed(tag: str, file_id: int) -> Record:
    return Record(tag, {"rcvFileTransfer": {"fileId": file_id, "fileInvitation": {"fileName": "", "fileSize": 1}}})


def test_who_waits_is_told() -> None:
    transfers = Transfers()
    timer = threading.Timer(0.05, transfers.hear, [complete(5)])
    timer.start()
    ended = transfers.wait(5, 10)
    timer.join()

    assert ended is not None
    assert ended.file is not None
    assert ended.file.path == "a.txt"


@pytest.mark.parametrize(
    ("tag", "reason"), [("rcvFileError", "could not load"), ("rcvFileSndCancelled", "sender cancelled")]
)
def test_a_failure_says_why(tag: str, reason: str) -> None:
    transfers = Transfers()
    transfers.hear(failed(tag, 5))
    ended = transfers.wait(5, 0)

    assert ended is not None
    assert reason in ended.reason


def test_other_files_other_events_and_what_cannot_be_read_are_no_end() -> None:
    transfers = Transfers()
    for record in (complete(6), failed("rcvFileWarning", 5), Record("rcvFileError", {}), Record("rcvFileComplete", {}),
                   Record("rcvFileError", {"rcvFileTransfer": 5}), Record("newChatItems", {})):  # fmt: skip
        transfers.hear(record)

    assert transfers.wait(5, 0.01) is None


def test_an_end_is_forgotten_when_the_file_is_asked_for_anew_and_very_old_ones_by_themselves() -> None:
    transfers = Transfers()
    for number in range(1, 1102):
        transfers.hear(complete(number))
    transfers.forget(1101)

    assert transfers.wait(1101, 0) is None
    assert transfers.wait(1, 0) is None
    assert transfers.wait(1100, 0) is not None
