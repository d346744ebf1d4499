"""How files end, for those who wait and those who ask late."""

from __future__ import annotations

import threading

import pytest

from cometbot.channels.simplex.download_tracker import DownloadTracker
from cometbot.channels.simplex.protocol import Record


def complete(file_id: int, path: str = "a.txt") -> Record:
    file = {"fileId": file_id, "fileName": "a.txt", "fileSize": 1, "fileStatus": {"type": "rcvComplete"},
            "fileSource": {"filePath": path}}  # fmt: skip
    meta = {"itemId": 20, "itemTs": "2026-03-01T10:00:05Z"}
    item = {"chatDir": {"type": "directRcv"}, "meta": meta, "content": {"type": "rcvMsgContent"}, "file": file}
    chat = {"type": "direct", "contact": {"contactId": 4}}
    return Record("rcvFileComplete", {"chatItem": {"chatInfo": chat, "chatItem": item}})


def failed(tag: str, file_id: int) -> Record:
    return Record(tag, {"rcvFileTransfer": {"fileId": file_id, "fileInvitation": {"fileName": "", "fileSize": 1}}})


def test_waiter_gets_the_result() -> None:
    downloads = DownloadTracker()
    timer = threading.Timer(0.05, downloads.handle_event, [complete(5)])
    timer.start()
    ended = downloads.wait(5, 10)
    timer.join()

    assert ended is not None
    assert ended.file is not None
    assert ended.file.path == "a.txt"


@pytest.mark.parametrize(
    ("tag", "reason"), [("rcvFileError", "could not load"), ("rcvFileSndCancelled", "sender cancelled")]
)
def test_failure_has_a_reason(tag: str, reason: str) -> None:
    downloads = DownloadTracker()
    downloads.handle_event(failed(tag, 5))
    ended = downloads.wait(5, 0)

    assert ended is not None
    assert reason in ended.reason


def test_unrelated_events_end_no_download() -> None:
    downloads = DownloadTracker()
    for record in (complete(6), failed("rcvFileWarning", 5), Record("rcvFileError", {}), Record("rcvFileComplete", {}),
                   Record("rcvFileError", {"rcvFileTransfer": 5}), Record("newChatItems", {})):  # fmt: skip
        downloads.handle_event(record)

    assert downloads.wait(5, 0.01) is None


def test_results_are_discarded_on_retry_and_when_old() -> None:
    downloads = DownloadTracker()
    for number in range(1, 1102):
        downloads.handle_event(complete(number))
    downloads.discard(1101)

    assert downloads.wait(1101, 0) is None
    assert downloads.wait(1, 0) is None
    assert downloads.wait(1100, 0) is not None
