"""Files on their way in: who waits for them, and how they ended."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from cometbot.channels.simplex.protocol.frames import Record
from cometbot.channels.simplex.schemas import read
from cometbot.channels.simplex.views import File, FileTransfer
from cometbot.errors import PayloadError

_KEPT = 1000
_STATES = {
    "rcvCancelled": "the transfer of the file was cancelled",
    "rcvAborted": "the transfer of the file was broken off",
    "rcvError": "the SimpleX CLI could not load the file",
}
_FAILURES = {
    "rcvFileError": "the SimpleX CLI could not load the file",
    "rcvFileSndCancelled": "the sender cancelled the file",
}


@dataclass(frozen=True, slots=True)
class Ended:
    """How a transfer ended: with a ``file``, or for a ``reason``."""

    file: File | None = None
    reason: str = ""


class Transfers:
    """What the CLI's events say of incoming files. The newest thousand ends are kept for who asks late."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ended: OrderedDict[int, Ended] = OrderedDict()

    def hear(self, record: Record) -> None:
        """Take notice of an event, if it is about a file."""
        try:
            found = _complete(record) if record.type == "rcvFileComplete" else _failed(record)
        except PayloadError:
            return
        if found is None:
            return
        file_id, ended = found
        with self._changed:
            self._ended[file_id] = ended
            while len(self._ended) > _KEPT:
                self._ended.popitem(last=False)
            self._changed.notify_all()

    def wait(self, file_id: int, timeout: float) -> Ended | None:
        """How the transfer ended; None if it has not within ``timeout`` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: file_id in self._ended, timeout)
            return self._ended.get(file_id)

    def forget(self, file_id: int) -> None:
        """Forget how an earlier transfer of a file ended, since it is asked for anew."""
        with self._changed:
            self._ended.pop(file_id, None)


def ended_file(file: File) -> Ended | None:
    """How a transfer ended by what the CLI says of its file now; None if it has not."""
    if file.status == "rcvComplete" and file.path:
        return Ended(file)
    return Ended(reason=_STATES[file.status]) if file.status in _STATES else None


def _complete(record: Record) -> tuple[int, Ended] | None:
    item = read(record, "chatItem")
    return (item.file.file_id, Ended(item.file)) if item is not None and item.file is not None else None


def _failed(record: Record) -> tuple[int, Ended] | None:
    if record.type not in _FAILURES:
        return None
    transfer: FileTransfer | None = read(record, "rcvFileTransfer")
    return None if transfer is None else (transfer.file_id, Ended(reason=_FAILURES[record.type]))
