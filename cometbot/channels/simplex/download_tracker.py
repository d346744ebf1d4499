"""Incoming file transfers: their results, and waiting for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from cometbot.channels.simplex.models import File, FileTransfer
from cometbot.channels.simplex.protocol.frames import Record
from cometbot.channels.simplex.protocol.objects import find, read_object
from cometbot.channels.simplex.schemas import require_field
from cometbot.errors import PayloadError

_MAX_RESULTS = 1000
_FAILED_STATES = {
    "rcvCancelled": "the transfer of the file was cancelled",
    "rcvAborted": "the transfer of the file was broken off",
    "rcvError": "the SimpleX CLI could not load the file",
}
_FAILURE_EVENTS = {
    "rcvFileError": "the SimpleX CLI could not load the file",
    "rcvFileSndCancelled": "the sender cancelled the file",
}


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """The result of a transfer: a ``file``, or the ``reason`` of its failure."""

    file: File | None = None
    reason: str = ""


class DownloadTracker:
    """Collects the results of incoming files from the CLI's events. The newest thousand are stored for late callers."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._results: OrderedDict[int, DownloadResult] = OrderedDict()

    def handle_event(self, record: Record) -> None:
        """Record the result of a transfer if the event is about one."""
        try:
            found = _read_result(record)
        except PayloadError:
            return
        if found is None:
            return
        file_id, result = found
        with self._changed:
            self._results[file_id] = result
            while len(self._results) > _MAX_RESULTS:
                self._results.popitem(last=False)
            self._changed.notify_all()

    def wait(self, file_id: int, timeout: float) -> DownloadResult | None:
        """Return the result of the transfer, or None if it has not ended within ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: file_id in self._results, timeout)
            return self._results.get(file_id)

    def discard(self, file_id: int) -> None:
        """Discard the result of an earlier transfer, before the file is requested again."""
        with self._changed:
            self._results.pop(file_id, None)


def make_download_result(file: File) -> DownloadResult | None:
    """Return the result of a download from the file's status, or None if it has not ended."""
    if file.status == "rcvComplete" and file.path:
        return DownloadResult(file)
    return DownloadResult(reason=_FAILED_STATES[file.status]) if file.status in _FAILED_STATES else None


def _read_result(record: Record) -> tuple[int, DownloadResult] | None:
    """Return a file's id and result, or None if the event is about something else."""
    if record.type == "rcvFileComplete":
        file = read_object(File, find(record.raw, "chatItem.chatItem.file"))
        return file.file_id, DownloadResult(file)
    if record.type in _FAILURE_EVENTS:
        transfer: FileTransfer = require_field(record, "rcvFileTransfer")
        return transfer.file_id, DownloadResult(reason=_FAILURE_EVENTS[record.type])
    return None
