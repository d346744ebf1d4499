"""A journal on disk of the changes on CometChat that a run has to undo, because a killed process cannot undo any."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cometbot import private_files
from cometbot.errors import ConfigurationError

PENDING_UNDO_TEXT = (
    "An earlier cometbot dev --public-url was killed before it restored CometChat. Run: cometbot dev --restore"
)
"""The message of a run that finds a journal with entries."""


@dataclass(frozen=True, slots=True)
class UndoEntry:
    """A bot that a run has changed: its temporary URL, and its registration ``before``, in CometChat's own fields.

    ``before`` is None if it was not a bot. It contains passwords, so ``repr`` does not show it.
    """

    uid: str
    url: str
    before: Mapping[str, Any] | None

    def __repr__(self) -> str:
        return f"UndoEntry({self.uid!r})"


def journal_path(folder: Path, app_id: str) -> Path:
    """Return the path of an app's journal, in the folder of ``COMETBOT_DATA``."""
    return folder / f"undo-{app_id}.jsonl"


def has_pending_undo(folder: Path) -> bool:
    """Return True if this folder has a journal with entries from a run that did not restore everything."""
    for path in folder.glob("undo-*.jsonl"):
        with contextlib.suppress(ConfigurationError), UndoJournal(path) as journal:
            if journal.entries:
                return True
    return False


class UndoJournal:
    """The journal of one app, in a file that only its owner may read. One process at a time may open it.

    Each change is on disk when the call returns. Raises :class:`ConfigurationError` if another process has the journal
    open, or if it cannot be written. A journal without entries is deleted on close.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            private_files.make_folder(path.parent)
            self._file = _open_locked(path)
        except BlockingIOError:
            raise ConfigurationError(
                "another cometbot dev --public-url is running for this app. Stop it first."
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"cannot write {path}, the record of what to restore on CometChat: {error.strerror}. "
                "Set COMETBOT_DATA to a writable folder."
            ) from error
        self._entries: dict[str, UndoEntry] = {}
        for line in self._file:
            self._read(line)

    def __enter__(self) -> UndoJournal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def entries(self) -> Mapping[str, UndoEntry]:
        """The entries to undo, by uid."""
        return dict(self._entries)

    def add(self, entry: UndoEntry) -> None:
        """Record a change before it is made. Replaces an older entry for the same bot."""
        self._write({"uid": entry.uid, "url": entry.url, "before": entry.before})
        self._entries[entry.uid] = entry

    def remove(self, uid: str) -> None:
        """Remove the entry of a bot that was restored."""
        self._write({"uid": uid})
        self._entries.pop(uid, None)

    def close(self) -> None:
        """Release the journal for other processes, and delete the file if it has no entries."""
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
            return  # its writer was killed while writing, before it changed anything
        if "url" in entry:
            self._entries[uid] = UndoEntry(uid, str(entry["url"]), entry.get("before"))
        else:
            self._entries.pop(uid, None)

    def _write(self, entry: Mapping[str, Any]) -> None:
        # The line break comes first, so that an incomplete last line does not corrupt this one.
        self._file.write(f"\n{json.dumps(entry)}\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def _open_locked(path: Path) -> IO[str]:
    """Open and lock the file. Raises ``BlockingIOError`` if another process holds the lock."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same_file(path, file):
                return file
        except BaseException:
            file.close()
            raise
        file.close()  # another process has just deleted it


def _is_same_file(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
