"""Uploads and downloads: streamed, typed by their content, and served with headers that prevent scripts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import flask
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import NEED_DATA, Data, Epilogue, Event, Field, File, MultipartDecoder

from cometbot.channels.platform.chat_service import ChatService
from cometbot.channels.platform.config import FileLimits, Limits
from cometbot.channels.platform.errors import ApiError
from cometbot.channels.platform.ids import ALL_BOTS
from cometbot.channels.platform.platform import PlatformSettings
from cometbot.channels.platform.serializers import KIND_FOLDERS, JsonObject, file_json
from cometbot.channels.platform.views.access import client_address
from cometbot.chat import ChatFile, Upload
from cometbot.errors import FileTooLarge, StorageFull
from cometbot.http.file_response import make_file_response
from cometbot.http.limits import LimitedReader, open_body
from cometbot.http.rate_limiter import RateLimiter
from cometbot.store.database import ACK_TIMEOUT

_CHUNK_SIZE = 64 * 1024
_MAX_FORM_MEMORY = 4 * _CHUNK_SIZE
_MAX_PARTS = 200
_FILE_FIELD = "file"
_MULTIPART_OVERHEAD = 64 * 1024

_CACHE_CONTROL = "private, max-age=86400"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileViews:
    """The views for files."""

    service: ChatService
    settings: PlatformSettings
    request_rates: RateLimiter
    on_storage_full: Callable[[], None]
    warning_rates: RateLimiter = field(default_factory=lambda: RateLimiter(1, 60))

    def upload(self, owner: str, *, is_bot: bool = False) -> list[JsonObject]:
        """Store the files in the request's body, and return them as File objects in the order of the parts.

        All files are stored, or none. Raises :class:`ApiError` and :class:`HttpError`.
        """
        limits = self.service.limits
        limit = max(limits.file.by_kind.values()) + _MULTIPART_OVERHEAD
        request = flask.request
        with ExitStack() as rollback:
            with open_body(request.environ, limit=limit, timeout=self.settings.body_timeout) as stream:
                try:
                    parts = FileParts(stream, request.headers.get("Content-Type", ""))
                    uploads = self._receive(parts, limits, rollback)
                except ApiError:
                    stream.drain()
                    raise
            stored_files = self._store(uploads, owner, is_limited=not is_bot)
            rollback.pop_all()
        for upload in uploads:
            upload.finalize()
        return [file_json(file) for file in stored_files]

    def _receive(self, parts: FileParts, limits: Limits, rollback: ExitStack) -> list[Upload]:
        uploads: list[Upload] = []
        max_files = limits.message.max_attached_files
        for part in parts:
            if len(uploads) == max_files:
                raise ApiError(400, f"Too many files, max allowed amount is {max_files}.")
            uploads.append(self._receive_one(part, limits.file))
            rollback.callback(uploads[-1].discard)
        if not uploads:
            raise ApiError(400, "No files found to upload.")
        return uploads

    def _receive_one(self, part: PartReader, limits: FileLimits) -> Upload:
        try:
            return self.service.chat.files.receive(part, name=part.name, limits=limits.by_kind)
        except FileTooLarge as error:
            part.drain()
            message = f"Max allowed size for {KIND_FOLDERS[error.kind]} are {error.limit} bytes, but got {part.size}."
            raise ApiError(400, message) from None
        except StorageFull as error:
            self.on_storage_full()
            if self.warning_rates.acquire("full") == 0:
                _log.error(
                    "cannot store an upload: %s. Set COMETBOT_STORAGE or COMETBOT_FREE_SPACE, or free disk space.",
                    error,
                )
            raise ApiError(507, "The file cannot be stored: the storage is full.") from error
        except OSError as error:
            if self.warning_rates.acquire("failed") == 0:
                _log.error("cannot write a file: %s. Check the folder COMETBOT_DATA and its disk.", error)
            raise ApiError(503, "The file could not be written. Try again later.", {"Retry-After": "10"}) from error

    def _store(self, uploads: Sequence[Upload], owner: str, *, is_limited: bool) -> list[ChatFile]:
        with self.service.database.write(timeout=ACK_TIMEOUT) as connection:
            stored_files = [self.service.chat.files.save(connection, ALL_BOTS, upload, owner) for upload in uploads]
            storage_limit = self.settings.max_user_storage
            if is_limited and self.service.chat.files.get_total_size(connection, ALL_BOTS, owner) > storage_limit:
                raise ApiError(
                    413, f"Your files take more than {storage_limit} bytes together; use fewer or smaller ones."
                )
            return stored_files

    def download(self, folder: str, name: str) -> flask.Response:
        """Return the file at ``static/<folder>/<name>``. The id in the name cannot be guessed, and gives access."""
        self.request_rates.check(client_address(), "Too many requests")
        with self.service.database.read() as connection:
            file = self.service.chat.files.get(connection, ALL_BOTS, name.partition(".")[0])
        if file is None or file_json(file)["path"] != f"static/{folder}/{name}":
            raise ApiError(404, "There is no such file.")
        path = self.service.chat.files.path(file)
        if not path.is_file():
            raise ApiError(404, "There is no such file.")
        response = make_file_response(
            path,
            kind=file.kind,
            mime_type=file.mime_type,
            name=file.name or name,
            size=file.size,
            etag=file.id,
        )
        response.headers["Cache-Control"] = _CACHE_CONTROL
        return response


class PartReader:
    """The content of a file part. ``size`` counts the bytes read so far."""

    def __init__(self, name: str, parts: FileParts) -> None:
        self.name = name
        self.size = 0
        self._parts = parts
        self._buffer = b""
        self._is_complete = False

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, none at the end. Raises :class:`ApiError` and :class:`HttpError`."""
        while not self._buffer and not self._is_complete:
            self._buffer, self._is_complete = self._parts.next_data()
        chunk, self._buffer = self._buffer[:size], self._buffer[size:]
        self.size += len(chunk)
        return chunk

    def drain(self) -> None:
        """Read to the end, so that ``size`` is the size of the file."""
        while self.read(_CHUNK_SIZE):
            pass


class FileParts:
    """The file parts named ``file`` of a multipart body. Other parts are skipped.

    Each part must be read before the next one is requested; the rest of it is skipped. Raises :class:`ApiError` for a
    body that is not multipart, is incomplete, or has too many parts.
    """

    def __init__(self, stream: LimitedReader, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get("boundary", "")
        if kind.lower() != "multipart/form-data" or not 0 < len(boundary) <= 200:
            raise ApiError(400, "request has no multipart/form-data Content-Type")
        self._stream = stream
        self._decoder = MultipartDecoder(
            boundary.encode("latin-1", "replace"), max_form_memory_size=_MAX_FORM_MEMORY, max_parts=_MAX_PARTS
        )

    def __iter__(self) -> Iterator[PartReader]:
        while not isinstance(event := self._next_event(), Epilogue):
            if isinstance(event, File | Field):
                part = PartReader(event.filename if isinstance(event, File) else "", self)
                if isinstance(event, File) and event.name == _FILE_FIELD:
                    yield part
                part.drain()

    def next_data(self) -> tuple[bytes, bool]:
        """Return the next chunk of the current part, and whether it is the last one."""
        event = self._next_event()
        if not isinstance(event, Data):
            raise _malformed_form()
        return bytes(event.data), not event.more_data

    def _next_event(self) -> Event:
        try:
            event = self._decoder.next_event()
            while event is NEED_DATA:
                self._decoder.receive_data(self._stream.read(_CHUNK_SIZE) or None)
                event = self._decoder.next_event()
        except RequestEntityTooLarge as error:
            raise ApiError(413, "The form has too many parts, or one with too long a head.") from error
        except (ValueError, LookupError) as error:
            raise _malformed_form() from error
        return event


def _malformed_form() -> ApiError:
    return ApiError(400, "The form is malformed or incomplete.", {"Connection": "close"})
