"""Outgoing files from the web: downloaded to where the CLI can read them, classified, and removed after the upload."""

from __future__ import annotations

import hashlib
import logging
import mimetypes
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cometbot import private_files
from cometbot.channels.base import StoredFiles
from cometbot.channels.simplex.files import SharedFolder, make_safe_name
from cometbot.channels.simplex.media import make_content, make_preview, make_video_preview
from cometbot.channels.simplex.protocol import Record, contents
from cometbot.channels.simplex.protocol.objects import find_object
from cometbot.content_types import media_kind, sniff_file
from cometbot.errors import MessageError, OutcomeUnknown, Rejected
from cometbot.http.file_fetcher import FileFetcher
from cometbot.temporary_folders import TemporaryFolder

_log = logging.getLogger(__name__)

DOWNLOAD_TIMEOUT = 120.0
"""Timeout of one download in seconds. The sender of the message retries meanwhile."""

MAX_ATTEMPTS = 4
"""Maximum attempts to download a file whose server fails in a way that may be temporary."""

_MAX_DOWNLOADS = 32
_MAX_PREVIEW_SOURCE_BYTES = 20_000_000
_PREVIEW_TIMEOUT = 4.0
_MAX_AGE = 24 * 3600.0


class StoredFilesFirst:
    """Fetches files that this server serves itself from where they are stored, and others with ``fetcher``.

    ``files`` are set once delivery has them.
    """

    def __init__(self, fetcher: FileFetcher) -> None:
        self._fetcher = fetcher
        self.files: StoredFiles | None = None

    def fetch(self, url: str, to: Path, *, limit: int, timeout: float) -> str:
        """Write the file at ``url`` to ``to`` and return its name. Raises the errors of ``fetcher``."""
        found = self.files.open_url(url) if self.files is not None else None
        if found is None:
            return self._fetcher.fetch(url, to, limit=limit, timeout=timeout)
        name, size, content = found
        with content, private_files.open_file(to, "wb") as file:
            if size > limit:
                raise Rejected(f"the file has {size} bytes, and the limit is {limit}", code="file_too_large")
            shutil.copyfileobj(content, file)
        return name

    def close(self) -> None:
        """Cancel downloads and refuse new ones."""
        self._fetcher.close()


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """A file that can be sent: its path, and the content of the message without a caption."""

    path: Path
    content: contents.Content


class OutgoingFiles:
    """Downloads files of up to ``limit`` bytes into ``folder``, each under the key of its message.

    A file is removed when the CLI reports that it was uploaded or that the upload failed. Files without such a report
    are removed after a day (:meth:`delete_expired`).
    """

    def __init__(self, fetcher: FileFetcher, folder: SharedFolder, limit: int) -> None:
        self._fetcher, self._folder, self._limit = StoredFilesFirst(fetcher), folder, limit
        self._upload_folder = folder.local_path / "out"
        self._lock = threading.Lock()
        self._downloads: dict[str, _Download] = {}

    def attach_files(self, files: StoredFiles) -> None:
        """Take files that bots have sent from ``files``."""
        self._fetcher.files = files

    def prepare(self, key: str, media: Mapping[str, Any], timeout: float) -> PreparedFile:
        """Return the file that ``media`` describes (``url``, and optionally ``kind`` and ``name``).

        A file that is not there within ``timeout`` seconds goes on downloading: call this again. Raises
        :class:`OutcomeUnknown` for that and for temporary failures, and :class:`Rejected` for permanent ones and after
        :data:`MAX_ATTEMPTS`.
        """
        download = self._get_download(key, media)
        download.join(max(timeout, 0.0))
        if download.is_alive():
            raise OutcomeUnknown("the file is still downloading")
        if download.is_usable and download.prepared is not None:
            return download.prepared
        error = download.error or OutcomeUnknown("the downloaded file is gone; it is downloaded again")
        if isinstance(error, OutcomeUnknown) and download.attempt < MAX_ATTEMPTS:
            raise error
        self.discard(key)
        if isinstance(error, OutcomeUnknown):
            raise Rejected(f"the file could not be downloaded in {MAX_ATTEMPTS} attempts: {error}", code="file_failed")
        raise error

    def _get_download(self, key: str, media: Mapping[str, Any]) -> _Download:
        """Return the download of a message's file. It is started if there is none, and again if it failed."""
        with self._lock:
            download = self._downloads.get(key)
            if download is None or not download.is_usable:
                if sum(each.is_alive() for each in self._downloads.values()) >= _MAX_DOWNLOADS:
                    raise OutcomeUnknown(f"cannot download the file yet: {_MAX_DOWNLOADS} others are downloading")
                attempt = download.attempt + 1 if download else 1
                folder = self._make_folder_path(key)
                download = self._downloads[key] = _Download(self._fetcher, media, folder, self._limit, attempt)
                download.start()
            return download

    def make_link_preview(self, url: str, timeout: float) -> str:
        """Return the picture at ``url`` as a preview for a link; empty if it is not available at once."""
        try:
            with TemporaryFolder("picture") as folder:
                path = folder / "picture"
                self._fetcher.fetch(url, path, limit=_MAX_PREVIEW_SOURCE_BYTES, timeout=min(timeout, _PREVIEW_TIMEOUT))
                return make_preview(path)
        except (Rejected, OutcomeUnknown, ValueError, OSError) as error:
            _log.info("sending a link without its picture: %s", error)
            return ""

    def add_preview(self, content: Mapping[str, Any], path: str) -> Mapping[str, Any]:
        """Return the content of a message with a local file, with a real preview in place of the placeholder."""
        if content.get("image") != contents.PLACEHOLDER_IMAGE:
            return content
        try:
            image = make_video_preview() if content["type"] == "video" else make_preview(Path(path).expanduser())
            content_with_preview = {**content, "image": image}
            contents.check_size(content_with_preview, {})
        except (ValueError, MessageError) as error:
            _log.info("sending a file without a preview: %s", error)
            return content
        return content_with_preview

    def mark_sent(self, key: str) -> None:
        """Record that the CLI has the message. An event reports the end of the upload."""
        with self._lock:
            self._downloads.pop(key, None)

    def discard(self, key: str) -> None:
        """Delete the file and its state."""
        with self._lock:
            self._downloads.pop(key, None)
        _remove(self._make_folder_path(key))

    def handle_event(self, record: Record) -> None:
        """Remove a file if the event reports the end of its upload."""
        if record.type not in ("sndFileCompleteXFTP", "sndFileError"):
            return
        transfer = find_object(record.raw, "fileTransferMeta")
        if record.type == "sndFileError":
            _log.warning("the SimpleX CLI could not upload file %s", transfer.get("fileId"))
        _remove(self._find_upload_folder(transfer.get("filePath")))

    def _find_upload_folder(self, path: object) -> Path | None:
        """Return the folder of a file that was downloaded to be sent, by the CLI's path of the file."""
        try:
            folder = self._folder.to_local_path(str(path)).parent
        except Rejected:
            return None
        return folder if folder.parent == self._upload_folder else None

    def delete_expired(self) -> None:
        """Remove files that are older than a day."""
        if not self._upload_folder.is_dir():
            return
        for folder in self._upload_folder.iterdir():
            try:
                if folder.is_dir() and folder.stat().st_mtime < time.time() - _MAX_AGE:
                    _remove(folder)
            except OSError:
                continue
        with self._lock:
            downloads = self._downloads.items()
            self._downloads = {key: each for key, each in downloads if each.is_alive() or each.folder.is_dir()}

    def close(self) -> None:
        """Cancel downloads and refuse new ones."""
        self._fetcher.close()

    def _make_folder_path(self, key: str) -> Path:
        return self._upload_folder / hashlib.sha256(key.encode()).hexdigest()[:24]


class _Download(threading.Thread):
    """Downloads and classifies one file. It has a thread of its own, since it may take longer than one send attempt."""

    def __init__(self, fetcher: FileFetcher, media: Mapping[str, Any], folder: Path, limit: int, attempt: int) -> None:
        super().__init__(name="cometbot-simplex-file", daemon=True)
        self._fetcher, self._media, self.folder, self._limit = fetcher, media, folder, limit
        self.attempt = attempt
        self.prepared: PreparedFile | None = None
        self.error: Rejected | OutcomeUnknown | None = None

    @property
    def is_usable(self) -> bool:
        """True if the file exists or is being downloaded."""
        return self.is_alive() or (self.prepared is not None and self.prepared.path.is_file())

    def run(self) -> None:
        """Download and prepare the file; store the result or the error."""
        try:
            self.prepared = self._download_and_prepare()
        except (Rejected, OutcomeUnknown) as error:
            self.error = error
        except OSError as error:
            self.error = Rejected(f"cannot write the file into {self.folder.parent}: {error.strerror}")
        except Exception as error:
            _log.exception("unexpected error while downloading a file")
            self.error = Rejected(f"the file could not be downloaded ({type(error).__name__})")

    def _download_and_prepare(self) -> PreparedFile:
        self._make_folders()
        raw = self.folder / "loading"
        name = self._fetcher.fetch(self._media["url"], raw, limit=self._limit, timeout=DOWNLOAD_TIMEOUT)
        name = str(self._media.get("name") or name)
        with raw.open("rb") as file:
            mime_type = sniff_file(file, name)
        content = make_content(raw, mime_type, str(self._media.get("kind") or ""))
        path = self.folder / _add_extension(make_safe_name(name), mime_type)
        raw.replace(path)
        private_files.copy_access(path, self.folder)
        return PreparedFile(path, content)

    def _make_folders(self) -> None:
        """Create the file's folder with the access rights of the folder that is shared with the CLI."""
        shared = self.folder.parents[1]
        private_files.make_folder(shared)
        for folder in (self.folder.parent, self.folder):
            if not folder.exists():
                private_files.make_folder(folder)
                private_files.copy_access(folder, shared)


def _add_extension(name: str, mime_type: str) -> str:
    """Return ``name`` with an extension that matches ``mime_type``."""
    if media_kind(mime_type) == "file" and "." in name:
        return name
    if mimetypes.guess_type(name, strict=False)[0] == mime_type:
        return name
    return name + _EXTENSIONS.get(mime_type, mimetypes.guess_extension(mime_type) or "")


_EXTENSIONS = {"audio/mp4": ".m4a", "audio/mpeg": ".mp3", "video/quicktime": ".mov", "application/octet-stream": ""}


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
