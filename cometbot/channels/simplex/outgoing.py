"""Files from the web on their way out: loaded to where the CLI can read them, looked at, removed when uploaded."""

from __future__ import annotations

import hashlib
import logging
import mimetypes
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cometbot import private_files
from cometbot.channels.simplex.files import Folder, safe_name
from cometbot.channels.simplex.pictures import film_preview, make_preview
from cometbot.channels.simplex.protocol import Record
from cometbot.channels.simplex.protocol.contents import (
    NO_PICTURE,
    Content,
    check_size,
    file_content,
    image_content,
    video_content,
    voice_content,
)
from cometbot.channels.simplex.recordings import seconds_of
from cometbot.channels.simplex.schemas import read
from cometbot.channels.simplex.views import File, FileTransfer, Item
from cometbot.content_types import kind_of, sniff_file
from cometbot.errors import MessageError, PayloadError, Rejected, Uncertain
from cometbot.temporary_folders import TemporaryFolder

_log = logging.getLogger(__name__)

FETCH_SECONDS = 120.0
"""How long one file may take to load; whoever waits for it asks again meanwhile."""

TRIES = 4
"""How often a file is asked for whose server fails in a way that may pass."""

VOICE_TYPES = ("audio/mp4", "audio/aac", "audio/mpeg")
VIDEO_TYPES = ("video/mp4", "video/quicktime")
VOICE_SECONDS = 300
"""Sounds in these types, up to this long, are voice messages; others would not play everywhere and are files."""

_MOST_LOADS = 32
_PREVIEW_LIMIT = 20_000_000
_PREVIEW_SECONDS = 4.0
_KEPT = 1000
_DAY = 24 * 3600.0


class Fetching(Protocol):
    """What loads files: a :class:`cometbot.http.fetching.Fetcher`, or whatever stands for one."""

    def fetch(self, url: str, to: Path, *, limit: int, timeout: float) -> str:
        """What the file is called, once it is whole at ``to``."""
        ...

    def close(self) -> None:
        """Load nothing more."""
        ...


@dataclass(frozen=True, slots=True)
class Brought:
    """A file that can be sent: where it lies, and the content of the message without a caption."""

    path: Path
    content: Content


class OutgoingFiles:
    """Brings files into ``folder``, each under the key of the message that it is for, ``limit`` bytes at most.

    A file is removed when the CLI says that it is uploaded, or could not be; what nobody speaks of any more, after a
    day (:meth:`sweep`).
    """

    def __init__(self, fetcher: Fetching, folder: Folder, limit: int) -> None:
        self._fetcher, self._place, self._folder, self._limit = fetcher, folder.here / "out", folder, limit
        self._guard = threading.Lock()
        self._loads: dict[str, _Load] = {}
        self._failures: OrderedDict[str, int] = OrderedDict()
        self._uploading: OrderedDict[int, Path] = OrderedDict()
        self._ended: OrderedDict[int, None] = OrderedDict()

    def bring(self, key: str, media: Mapping[str, Any], timeout: float) -> Brought:
        """The file that ``media`` (a ``url``, and if known ``kind`` and ``name``) speaks of.

        A file that takes longer than ``timeout`` goes on loading: ask again. Raises :class:`Uncertain` for that and
        for what may pass, :class:`Rejected` for what is not to be had, also after :data:`TRIES`.
        """
        load = self._load(key, media)
        load.join(max(timeout, 0.0))
        if load.is_alive():
            raise Uncertain("a file that is to be sent is still being loaded")
        if load.brought is not None and load.is_useful:
            return load.brought
        with self._guard:
            self._loads.pop(key, None)
        if isinstance(load.error, Uncertain) or load.brought is not None:
            self._count_failure(key, load.error)
            raise load.error or Uncertain("a file that was to be sent is gone; it is loaded again")
        self.drop(key)
        raise load.error or Rejected("the file could not be loaded", code="file_failed")

    def _load(self, key: str, media: Mapping[str, Any]) -> _Load:
        with self._guard:
            load = self._loads.get(key)
            if load is None:
                if sum(each.is_alive() for each in self._loads.values()) >= _MOST_LOADS:
                    raise Uncertain("too many files are being loaded at once; this one has to wait")
                load = self._loads[key] = _Load(self._fetcher, media, self._folder_of(key), self._limit)
                load.start()
            return load

    def _count_failure(self, key: str, error: Exception | None) -> None:
        with self._guard:
            count = self._failures.pop(key, 0) + 1
            if count < TRIES:
                self._failures[key] = count
            while len(self._failures) > _KEPT:
                self._failures.popitem(last=False)
        if count >= TRIES:
            self.drop(key)
            raise Rejected(f"the file could not be loaded, {TRIES} times: {error}", code="file_failed")

    def make_picture(self, url: str, timeout: float) -> str:
        """The picture at ``url`` as the small one of a link; empty if it is not to be had at once."""
        try:
            with TemporaryFolder("picture") as folder:
                path = folder / "picture"
                self._fetcher.fetch(url, path, limit=_PREVIEW_LIMIT, timeout=min(timeout, _PREVIEW_SECONDS))
                return make_preview(path)
        except (Rejected, Uncertain, ValueError, OSError) as error:
            _log.info("a link is shown without its picture: %s", error)
            return ""

    def with_preview(self, content: Mapping[str, Any], path: str) -> Mapping[str, Any]:
        """The content of a message with a file of this machine, with a real preview if its author gave none."""
        if content.get("image") != NO_PICTURE:
            return content
        try:
            image = film_preview() if content["type"] == "video" else make_preview(Path(path).expanduser())
            filled = {**content, "image": image}
            check_size(filled, {})
        except (ValueError, MessageError) as error:
            _log.info("a picture is sent without a preview: %s", error)
            return content
        return filled

    def find_there(self, brought: Brought) -> str:
        """What the CLI calls the file."""
        return self._folder.find_there(str(brought.path))

    def is_sent(self, key: str, file_id: int | None) -> None:
        """The message is with the CLI, which now uploads this file; without a number nobody will say when it has."""
        with self._guard:
            load = self._loads.pop(key, None)
            self._failures.pop(key, None)
            if load is None or load.brought is None or file_id is None:
                return
            is_over = file_id in self._ended
            if not is_over:
                self._uploading[file_id] = load.brought.path.parent
            while len(self._uploading) > _KEPT:
                self._uploading.popitem(last=False)
        if is_over:
            _remove(load.brought.path.parent)

    def drop(self, key: str) -> None:
        """The file is not needed."""
        with self._guard:
            self._loads.pop(key, None)
            self._failures.pop(key, None)
        _remove(self._folder_of(key))

    def hear(self, record: Record) -> None:
        """Take notice of an event, if it ends an upload."""
        if record.type not in ("sndFileCompleteXFTP", "sndFileError"):
            return
        try:
            transfer: FileTransfer | None = read(record, "fileTransferMeta")
            item: Item | None = read(record, "chatItem") or read(record, "chatItem_")
        except PayloadError:
            return
        if transfer is None:
            return
        if record.type == "sndFileError":
            _log.warning("the SimpleX CLI could not upload file %d", transfer.file_id)
        with self._guard:
            self._ended[transfer.file_id] = None
            while len(self._ended) > _KEPT:
                self._ended.popitem(last=False)
            folder = self._uploading.pop(transfer.file_id, None)
        _remove(folder or self._place_of(item.file if item else None))

    def _place_of(self, file: File | None) -> Path | None:
        """The folder of a file that an earlier process brought."""
        if file is None or not file.path:
            return None
        try:
            folder = self._folder.find_here(file.path).parent
        except Rejected:
            return None
        return folder if folder.parent == self._place else None

    def sweep(self) -> None:
        """Remove what has lain there for a day."""
        if not self._place.is_dir():
            return
        for folder in self._place.iterdir():
            try:
                if folder.is_dir() and folder.stat().st_mtime < time.time() - _DAY:
                    _remove(folder)
            except OSError:
                continue
        with self._guard:
            self._loads = {key: load for key, load in self._loads.items() if load.is_useful}

    def close(self) -> None:
        """Load nothing more."""
        self._fetcher.close()

    def _folder_of(self, key: str) -> Path:
        return self._place / hashlib.sha256(key.encode()).hexdigest()[:24]


class _Load(threading.Thread):
    """Loads one file and looks at it; a thread of its own, since that may take longer than one try to send."""

    def __init__(self, fetcher: Fetching, media: Mapping[str, Any], folder: Path, limit: int) -> None:
        super().__init__(name="cometbot-simplex-file", daemon=True)
        self._fetcher, self._media, self._folder, self._limit = fetcher, media, folder, limit
        self.brought: Brought | None = None
        self.error: Rejected | Uncertain | None = None

    @property
    def is_useful(self) -> bool:
        """Whether there is a file, or may be soon."""
        return self.is_alive() or (self.brought is not None and self.brought.path.is_file())

    def run(self) -> None:
        """Load it."""
        try:
            self.brought = self._bring()
        except (Rejected, Uncertain) as error:
            self.error = error
        except OSError as error:
            self.error = Rejected(f"the file cannot be written into {self._folder.parent}: {error.strerror}")
        except Exception as error:
            _log.exception("a file could not be loaded for an unforeseen reason")
            self.error = Rejected(f"the file could not be loaded ({type(error).__name__})")

    def _bring(self) -> Brought:
        self._make_folders()
        raw = self._folder / "loading"
        name = self._fetcher.fetch(self._media["url"], raw, limit=self._limit, timeout=FETCH_SECONDS)
        name = str(self._media.get("name") or name)
        with raw.open("rb") as file:
            mime_type = sniff_file(file, name)
        content = _content_of(raw, mime_type, str(self._media.get("kind") or ""))
        path = self._folder / _named(safe_name(name), mime_type)
        raw.replace(path)
        private_files.share_like(path, self._folder)
        return Brought(path, content)

    def _make_folders(self) -> None:
        """Create the file's folder with the access of the folder that is shared with the CLI."""
        shared = self._folder.parents[1]
        private_files.make_folder(shared)
        for folder in (self._folder.parent, self._folder):
            if not folder.exists():
                private_files.make_folder(folder)
                private_files.share_like(folder, shared)


def _content_of(path: Path, mime_type: str, wanted: str) -> Content:
    """What the file is sent as: as what its bytes are, unless it is wanted as a plain file."""
    kind = "file" if wanted == "file" else kind_of(mime_type)
    if kind == "image":
        try:
            return image_content("", make_preview(path))
        except ValueError as error:
            _log.info("a picture is sent as a file: %s", error)
    if kind == "audio" and mime_type in VOICE_TYPES:
        seconds = seconds_of(path)
        if 0 < seconds <= VOICE_SECONDS:
            return voice_content(seconds)
    if kind == "video" and mime_type in VIDEO_TYPES:
        return video_content("", film_preview(), seconds_of(path))
    return file_content()


def _named(name: str, mime_type: str) -> str:
    """``name`` with an ending by which other systems know what it is."""
    if kind_of(mime_type) == "file" and "." in name:
        return name
    if mimetypes.guess_type(name, strict=False)[0] == mime_type:
        return name
    return name + _ENDINGS.get(mime_type, mimetypes.guess_extension(mime_type) or "")


_ENDINGS = {"audio/mp4": ".m4a", "audio/mpeg": ".mp3", "video/quicktime": ".mov", "application/octet-stream": ""}


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
