"""What a run has changed on CometChat and is to put back, kept on the disk: whoever is killed can put nothing back."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from cometbot import private_files
from cometbot.errors import ConfigurationError

PENDING_UNDO_TEXT = (
    "An earlier cometbot dev --public-url was killed before it could put CometChat back; "
    "cometbot dev --put-back does that now."
)
"""What a run says that finds such a ledger."""


@dataclass(frozen=True, slots=True)
class UndoEntry:
    """One bot that a run has changed: the URL that it was given, and how it was ``before``, as CometChat spells it.

    ``before`` None: it was no bot. With passwords, and so shown by no repr.
    """

    uid: str
    url: str
    before: Mapping[str, Any] | None

    def __repr__(self) -> str:
        return f"Note({self.uid!r})"


def journal_path(folder: Path, app_id: str) -> Path:
    """The ledger of one app on CometChat, in the folder of ``COMETBOT_DATA``."""
    return folder / f"to-put-back-{app_id}.jsonl"


def has_pending_undo(folder: Path) -> bool:
    """Whether a run that ended without putting everything back has left a ledger in this folder."""
    for path in folder.glob("to-put-back-*.jsonl"):
        with contextlib.suppress(ConfigurationError), UndoJournal(path) as journal:
            if journal.entries:
                return True
    return False


class UndoJournal:
    """The notes of one app, in a file that only its owner may read, and only one process at a time may use.

    Each change is on the disk when the call returns. Raises :class:`ConfigurationError` if another process has it, or
    if it cannot be written. A ledger without notes leaves no file behind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            private_files.make_folder(path.parent)
            self._file = _open_locked(path)
        except BlockingIOError:
            raise ConfigurationError(
                "another cometbot dev --public-url works with this app already; end that one first"
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be written ({error.strerror}), so nothing would know what to put back on CometChat; "
                "set COMETBOT_DATA to a folder that can"
            ) from error
        self._entries: dict[str, UndoEntry] = {}
        for line in self._file:
            self._read(line)

    def __enter__(self) -> UndoJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def entries(self) -> Mapping[str, UndoEntry]:
        """What is to be put back, by uid."""
        return dict(self._entries)

    def add(self, entry: UndoEntry) -> None:
        """Note a change that is about to be made; it takes the place of an older one of the same bot."""
        self._write({"uid": entry.uid, "url": entry.url, "before": entry.before})
        self._entries[entry.uid] = entry

    def remove(self, uid: str) -> None:
        """Forget a bot, which is as it was."""
        self._write({"uid": uid})
        self._entries.pop(uid, None)

    def close(self) -> None:
        """Let others use it; the file goes if nothing is noted in it."""
        if self._file.closed:
            return
        if not self._entries:
            self._path.unlink(missing_ok=True)
        self._file.close()

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            uid = str(entry["uid"])
        except (ValueError, KeyError, TypeError):
            return  # its writer was killed on the way, before anything was changed
        if "url" in entry:
            self._entries[uid] = UndoEntry(uid, str(entry["url"]), entry.get("before"))
        else:
            self._entries.pop(uid, None)

    def _write(self, entry: Mapping[str, Any]) -> None:
        # The line break comes first: a line that was broken off must not swallow this one.
        self._file.write(f"\n{json.dumps(entry)}\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _open_locked(path: Path) -> IO[str]:
    """The file, open and locked. Raises ``BlockingIOError`` where somebody else has the lock."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same_file(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # its last user removed it just now


def _is_same_file(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
